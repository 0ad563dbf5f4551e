"""`stead witness`: the process that signs what a trail was."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from stead.adapters.witness_files import WitnessFolder
from stead.adapters.witness_link import StreamWitnessLink
from stead.adapters.witness_service import WitnessService
from stead.cli.audit_verify import KeyOption, verifier_of
from stead.cli.output import DryRunFlag, JsonFlag, errors_are_lines, printable, show
from stead.errors import InvalidProofError, InvalidRequestError, SteadError
from stead.ledger.checkpoint import Checkpoint, Note, origin_of, signed_checkpoint
from stead.ledger.tree import require_consistency
from stead.ledger.witness import Witness
from stead.ledger.witness_wire import (
    Ask,
    Proof,
    ProveConsistency,
    Refusal,
    Standing,
)
from stead.model.sid import Sid

witness = typer.Typer(help="The witness of a trail.", no_args_is_help=True)

_SEED: int = 32


@witness.command("key")
def key(
    path: Annotated[Path, typer.Argument(help="The file to make; it is not there.")],
    *,
    name: Annotated[str, typer.Option(help="What signatures call it.")] = "witness",
    as_json: JsonFlag = False,
) -> None:
    """Make a key that only its owner may read, and print its public half.

    Run it as the witness's own user: the server must not be able to read the file.
    """
    with errors_are_lines():
        from stead.adapters.ed25519 import (  # noqa: PLC0415 - an extra's
            make_key_file,
        )

        made = make_key_file(path, name, os.urandom(_SEED))
    show({"public": str(made)}, as_json=as_json, lines=lambda: [str(made)])


@witness.command("serve")
def serve(
    *,
    key_file: Annotated[Path, typer.Option("--key", help="The private key's file.")],
    state: Annotated[Path, typer.Option(help="Its folder; made if it is not there.")],
    socket: Annotated[
        Path | None, typer.Option(help="Path of the local socket to answer on.")
    ] = None,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Answer one server on stdin and stdout.")
    ] = False,
    notes: Annotated[
        Path | None,
        typer.Option(help="Append every note to this file too; on another disk."),
    ] = None,
    uid: Annotated[
        list[int] | None,
        typer.Option(help="A server's uid that may connect; may be repeated."),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(help="The SID of the store; else the first that comes has it."),
    ] = None,
    dry_run: DryRunFlag = False,
) -> None:
    """Keep a trail's leaves, and sign one history of it only.

    Run it as a user of its own, best on another machine (`--stdio`, by ssh). What a
    server sends that is no continuation of what was signed is refused and said on
    standard error.
    """
    with errors_are_lines():
        from stead.adapters.ed25519 import (  # noqa: PLC0415 - an extra's
            Ed25519Verifier,
            read_key_file,
        )

        if (socket is None) is not stdio:
            raise InvalidRequestError(
                "say where it answers", advice="give --socket or --stdio, one of them"
            )
        origin = "" if domain is None else origin_of(str(Sid.from_string(domain)))
        signer = read_key_file(key_file)
        if dry_run:
            show({}, as_json=False, lines=lambda: [str(signer.key)])
            return
        with WitnessFolder(state, notes) as folder:
            verifier = Ed25519Verifier(signer.key)
            made = Witness(folder, signer, verifier, _say, origin=origin)
            service = WitnessService(made, _say)
            if socket is None:
                service.speak(0, 1)
                return
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: service.stop())
            service.listen(socket.absolute(), uid or (), lambda: _say("ready"))


@witness.command("ask")
def ask(
    place: Annotated[
        list[str], typer.Argument(help="The witness's socket, or a command's words.")
    ],
    *,
    domain: Annotated[str, typer.Option(help="The SID of the store.")],
    witness_key: KeyOption = None,
    since: Annotated[
        Path | None,
        typer.Option(help="An older note of it: it must prove that it went on."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a witness what it signed last; with an older note, to prove it went on."""
    with errors_are_lines():
        origin = origin_of(str(Sid.from_string(domain)))
        verifier = None if witness_key is None else verifier_of(witness_key)
        link = StreamWitnessLink(place[0] if len(place) == 1 else place)
        try:
            standing = link.ask(Ask(origin))
            if not isinstance(standing, Standing) or not standing.note:
                raise _refused(standing)
            found = signed_checkpoint(standing.note, verifier, origin)
            if since is not None:
                text = since.read_text(encoding="utf-8")
                old = signed_checkpoint(text, verifier, origin)
                _require_gone_on(link, old, found)
        finally:
            link.close()
    data = {
        "size": found.size,
        "root": found.root.hex(),
        "note": standing.note,
        "signed": verifier is not None,
        "consistent": since is not None,
    }
    text = str(Note.from_string(standing.note))
    show(data, as_json=as_json, lines=lambda: text.removesuffix("\n").split("\n"))


def _require_gone_on(link: StreamWitnessLink, old: Checkpoint, new: Checkpoint) -> None:
    if old.size > new.size:
        raise InvalidProofError(f"the witness knows of {new.size} records only now")
    proof: tuple[bytes, ...] = ()
    if 0 < old.size < new.size:
        answer = link.ask(ProveConsistency(new.origin, old.size, new.size))
        if not isinstance(answer, Proof):
            raise _refused(answer)
        proof = answer.hashes
    require_consistency(old.size, old.root, new.size, new.root, proof)


def _refused(answer: object) -> SteadError:
    if isinstance(answer, Refusal):
        return InvalidRequestError(f"the witness refuses: {answer.reason}")
    return InvalidRequestError("the witness has signed nothing yet")


def _say(text: str) -> None:
    sys.stderr.write(f"stead witness: {printable(text)}\n")
    sys.stderr.flush()
