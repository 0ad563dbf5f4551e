"""What verbs print, as lines for people or as JSON, and how they end.

Exit status: 0 done, 1 refused or failed, 2 usage.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from stead.errors import InvalidRequestError, RemoteError, SteadError

REFUSED: Final = 1
LONGEST_INPUT: Final = 4 * 1024 * 1024
"""Bytes of a file or of standard input that a verb reads; what is longer is none."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
]
StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="STEAD_STORE",
        help="The server's store, a file that only its owner may read.",
        show_envvar=True,
    ),
]


def show(data: Any, *, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    """Print data as JSON, or the lines that people read.

    Control characters never reach a terminal as they are: names come from clients.
    """
    if as_json:
        typer.echo(json.dumps(data, ensure_ascii=True))
    else:
        for line in lines():
            typer.echo(printable(line))


def printable(text: str) -> str:
    """Return text with everything a terminal could act on escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def show_exactly(text: str) -> None:
    """Print one line that programs read back: as it is, but escaped on a terminal."""
    # `typer.echo` would leave out of it what looks like a terminal's own sequences.
    sys.stdout.write(f"{printable(text) if sys.stdout.isatty() else text}\n")


def fail(error: SteadError | OSError) -> NoReturn:
    """Say in one line what went wrong, in another what to do, and end with status 1.

    Whoever no longer reads what is printed, as `head` does, has what it wanted: that
    is said to nobody.
    """
    if isinstance(error, BrokenPipeError) and not error.filename:
        _print_no_more()
        raise typer.Exit(REFUSED)
    # A server's refusal says no more than the number under which the trail says why.
    record = error.record if isinstance(error, RemoteError) else None
    where = "" if record is None else f" (record {record})"
    said = str(error) if isinstance(error, SteadError) else _machine_s(error)
    sys.stderr.write(f"stead: {printable(said)}{where}\n")
    advice = getattr(error, "advice", "")
    if advice:
        sys.stderr.write(f"  what to do: {printable(advice)}\n")
    raise typer.Exit(REFUSED)


def _machine_s(error: OSError) -> str:
    """Return what the machine says went wrong, without its number."""
    words = str(error.strerror or error)
    if error.filename is None:
        return words
    name = (
        os.fsdecode(error.filename)
        if isinstance(error.filename, bytes)
        else error.filename
    )
    return f"`{name}`: {words[:1].lower()}{words[1:]}"


def _print_no_more() -> None:
    """Have the interpreter find nothing to flush where nobody reads any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def errors_are_lines() -> Iterator[None]:
    """Turn our errors, and the machine's, into one line and status 1."""
    try:
        yield
    except (SteadError, OSError) as error:
        fail(error)


def read_text(name: str) -> str:
    """Read a file's text, or standard input where the name is `-`.

    Raises:
        InvalidRequestError: it cannot be read, is empty, longer than any that makes
            sense, or no text.
    """
    shown = "standard input" if name == "-" else f"`{name[:80]}`"
    if name == "-":
        binary = sys.stdin.buffer.read(LONGEST_INPUT + 1)
    else:
        try:
            with Path(name).open("rb") as file:
                binary = file.read(LONGEST_INPUT + 1)
        except OSError as error:
            advice = "name a file, or - for standard input"
            raise InvalidRequestError(
                f"{shown} cannot be read: {error.strerror}; {advice}"
            ) from error
    if len(binary) > LONGEST_INPUT:
        raise InvalidRequestError(f"{shown} is longer than {LONGEST_INPUT} bytes")
    if not binary.strip():
        raise InvalidRequestError(f"{shown} is empty")
    try:
        return binary.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{shown} is no text in UTF-8") from None
