"""`stead audit verify`, `prove`, `archive`, `witness`, as operators use them."""

import os
import sqlite3
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from stead.adapters.ed25519 import Ed25519Verifier, read_key_file
from stead.adapters.witness_files import WitnessFolder
from stead.adapters.witness_service import WitnessService
from stead.errors import WitnessDisagreesError
from stead.ledger.witness import Witness
from stead.model.privilege import Privilege
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


@pytest.fixture
def key(stead, private):
    """Give the path of a witness's key, and its public half."""
    ran = stead("witness", "key", private / "key")
    assert (0, 0o600) == (ran.status, (private / "key").stat().st_mode & 0o777)
    return private / "key", ran.lines[0]


@pytest.fixture
def witness(private, key):
    """Give the path of a witness that answers."""
    with _serving(private, key[0]) as path:
        yield path


@contextmanager
def _serving(private, key):
    signer, ready = read_key_file(key), threading.Event()
    with WitnessFolder(private / "state", private / "notes") as folder:
        made = Witness(folder, signer, Ed25519Verifier(signer.key), print)
        service = WitnessService(made, print)
        path = private / "witness.sock"
        thread = threading.Thread(target=service.listen, args=(path, (), ready.set))
        thread.start()
        assert ready.wait(30)
        yield path
        service.stop()
        thread.join(30)


@pytest.fixture
def witnessed(store, witness, key):
    """Give a store whose trail was witnessed to its end."""
    with ProtectedServer(
        "notes",
        store=store,
        enforcement=Enforcement.TOKEN,
        witness=witness,
        witness_key=key[1],
    ) as server:
        server.accounts.add("carol")
        server.accounts.grant(f"S-1-22-1-{os.getuid()}", Privilege.SECURITY)
        return store, server.trail.verify().count


def _sql(store, statement, *values):
    with sqlite3.connect(store) as connection:
        rows = connection.execute(statement, values).fetchall()
    connection.close()
    return rows


def _known(private, key):
    return (
        "--witness-key", key[1], "--witness-state", private / "state",
        "--checkpoints", private / "notes",
    )  # fmt: skip


def test_a_trail_is_vouched_for_by_its_witness(stead, witnessed, private, key):
    found = stead("audit", "verify", *_known(private, key), "--json")
    assert (0, True, None) == (
        found.status,
        found.json["verified"],
        found.json["fault"],
    )
    assert found.json["vouched"] >= witnessed[1]
    lines = stead("audit", "verify", "--witness-key", key[1]).lines
    assert lines[0].startswith("trail verified: ")
    assert lines[2].startswith("vouched for by a signed checkpoint: the first ")
    doctor = stead("doctor").lines[-1]
    assert "a witness has signed" in doctor


def test_the_key_may_be_a_file_and_without_one_nothing_is_vouched(
    stead, witnessed, private, key
):
    (private / "public").write_text(key[1] + "\n")
    by_file = stead("audit", "verify", "--witness-key", private / "public", "--json")
    assert by_file.json["vouched"]
    bare = stead("audit", "verify").lines
    assert bare[2].endswith(" checkpoints agree, whoever signed them: --witness-key")


def test_a_changed_record_is_named_with_status_1(stead, witnessed, private, key):
    store, _ = witnessed
    body = _sql(store, "SELECT body FROM entry WHERE sequence = 6")[0][0]
    _sql(store, "UPDATE entry SET body = ? WHERE sequence = 6", body + b" ")
    found = stead("audit", "verify", *_known(private, key))
    assert 1 == found.status
    first, advice = found.err.splitlines()
    assert first.startswith(
        "stead: record 6 is another than the witness's (changed: record 6; "
    )
    assert advice.startswith("  what to do: keep this store as evidence")
    blind = stead("audit", "verify", "--json")
    assert (1, False) == (blind.status, blind.json["verified"])
    fault = blind.json["fault"]
    assert ("changed", 5, 6, False) == tuple(
        fault[name] for name in ("wrong", "first", "last", "exact")
    )


def test_a_trail_that_takes_no_more_records_is_verified_all_the_same(
    stead, witnessed, private, key
):
    store, _ = witnessed
    _sql(store, "DELETE FROM entry WHERE sequence > 10")
    found = stead("audit", "verify", *_known(private, key), "--json")
    assert "not recorded, as the owner of the file: " in found.err
    fault = found.json["fault"]
    assert (1, "truncated", 11, True) == (
        found.status, fault["wrong"], fault["first"], fault["exact"],
    )  # fmt: skip
    _sql(store, "UPDATE tree SET edge = 'rubbish'")
    assert 1 == stead("audit", "verify").status


def test_an_edited_checkpoint_is_told_apart_from_a_record(stead, witnessed, key):
    _sql(witnessed[0], "UPDATE checkpoint SET note = 'rubbish'")
    found = stead("audit", "verify", "--witness-key", key[1])
    assert 1 == found.status
    assert (
        "(checkpoint changed: no record is touched by this; nothing is vouched for)"
        in found.err
    )


def test_a_proof_is_checked_without_the_store(
    stead, witnessed, private, key, monkeypatch
):
    store, _ = witnessed
    domain = _sql(store, "SELECT domain FROM store")[0][0]
    proof = private / "proof"
    proof.write_text(stead("audit", "prove", 5).out)
    assert proof.read_text() == stead("audit", "prove", 5, "--json").json["proof"]
    monkeypatch.delenv("STEAD_STORE")
    arguments = ("audit", "check-proof", proof, "--witness-key", key[1])
    good = stead(*arguments, "--domain", domain)
    assert 0 == good.status
    assert good.lines[0].startswith("#5 ")
    assert good.lines[1].startswith("is record 5 of the ")
    assert 5 == stead(*arguments, "--json").json["number"]
    assert 1 == stead(*arguments, "--domain", "S-1-5-21-9-9-9").status
    proof.write_text(proof.read_text().replace("index 4", "index 3"))
    bent = stead(*arguments)
    assert (1, "stead: the proof leads to another root\n") == (bent.status, bent.err)


@pytest.mark.parametrize("number", [999_999, 1])
def test_what_no_witness_has_signed_is_not_proved(stead, number):
    ran = stead("audit", "prove", number)
    assert 1 == ran.status
    assert "is not among the 0 that a witness has signed" in ran.err


# --- archives -------------------------------------------------------------------------


def test_segments_are_archived_removed_and_the_rest_still_verifies(
    stead, witnessed, private, key
):
    would = stead("audit", "archive", private, "--seal", "--clear", "--dry-run")
    assert ["nothing to do"] == would.lines
    done = stead("audit", "archive", private, "--seal", "--json")
    assert (0, 1) == (done.status, len(done.json["archived"]))
    (archived,) = done.json["archived"]
    dry = stead("audit", "archive", private, "--clear", "--dry-run").lines
    assert [
        f"would remove segment 1, records 1 to {archived['last']} from the store"
    ] == dry
    gone = stead("audit", "archive", private, "--clear")
    assert [f"removed segment 1, records 1 to {archived['last']} from the store"] == (
        gone.lines
    )
    found = stead("audit", "verify", *_known(private, key), "--json")
    assert (0, archived["last"]) == (found.status, found.json["removed"])
    assert found.json["vouched"] == archived["last"]
    plain = stead("audit", "verify").lines
    assert (
        f"records 1 to {archived['last']} were removed on purpose, and that is told"
        in plain
    )
    checked = stead(
        "audit", "check-archive", archived["file"], "--witness-key", key[1], "--json"
    )
    assert (0, True) == (checked.status, checked.json["archives"][0]["signed"])
    gone = stead("audit", "prove", 5)
    assert (1, True) == (gone.status, "was removed from the store" in gone.err)


def test_archives_verify_together_and_in_order_only(stead, witnessed, private):
    files = []
    for _ in range(2):
        arguments = ("audit", "archive", private, "--seal", "--json")
        found = stead(*arguments)
        if not found.json["archived"]:  # where the witness has signed no more
            found = stead(*arguments, "--without-witness")
        files += [row["file"] for row in found.json["archived"]]
    good = stead("audit", "check-archive", *files)
    assert 0 == good.status
    assert f"{files[1]}: segment 2, " in good.lines[1]
    assert 1 == stead("audit", "check-archive", *files[::-1]).status
    first = Path(files[0])
    first.write_text(first.read_text().replace("carol", "mallo"))
    bent = stead("audit", "check-archive", files[0])
    assert (1, True) == (bent.status, "is changed" in bent.err)


def test_clearing_takes_the_privilege(stead, store, private):
    ran = stead("audit", "archive", private, "--seal")
    assert (1, True) == (ran.status, "SeSecurityPrivilege" in ran.err)


# --- the witness ----------------------------------------------------------------------


def test_a_witness_is_asked_and_proves_that_it_went_on(
    stead, witnessed, witness, private, key
):
    store, _ = witnessed
    domain = _sql(store, "SELECT domain FROM store")[0][0]
    arguments = ("witness", "ask", witness, "--domain", domain, "--witness-key", key[1])
    first = stead(*arguments)
    assert 0 == first.status
    assert f"stead/{domain}" == first.lines[0]
    (private / "old").write_text(first.out)
    with ProtectedServer(
        "notes",
        store=store,
        enforcement=Enforcement.TOKEN,
        witness=witness,
        witness_key=key[1],
    ):
        pass  # fmt: skip
    later = stead(*arguments, "--since", private / "old", "--json")
    assert (0, True, True) == (
        later.status, later.json["signed"], later.json["consistent"],
    )  # fmt: skip
    (private / "new").write_text(later.json["note"])
    assert 0 == stead(*arguments, "--since", private / "new").status
    other = stead("witness", "ask", witness, "--domain", "S-1-5-21-9-9-9")
    assert (1, True) == (other.status, "the witness refuses" in other.err)
    gone = stead("witness", "ask", private / "none", "--domain", domain)
    assert (1, True) == (gone.status, "does not answer" in gone.err)


def test_a_witness_says_what_it_needs(stead, private, key):
    for where in ((), ("--socket", private / "s", "--stdio")):
        ran = stead(
            "witness", "serve", "--key", key[0], "--state", private / "s", *where
        )
        assert (1, True) == (ran.status, "say where it answers" in ran.err)
    dry = stead(
        "witness", "serve", "--key", key[0], "--state", private / "s", "--stdio",
        "--dry-run",
    )  # fmt: skip
    assert [key[1]] == dry.lines
    assert not (private / "s").exists()
    odd = stead(
        "witness", "serve", "--key", key[0], "--state", private / "s", "--stdio",
        "--domain", "S-1", "--dry-run",
    )  # fmt: skip
    assert (1, True) == (odd.status, "not a sid" in odd.err)
    again = stead("witness", "key", private / "key")
    assert 1 == again.status


@pytest.mark.slow
def test_a_server_starts_its_witness_as_a_command(stead, store, private, key):
    words = [
        sys.executable, "-m", "stead", "witness", "serve", "--stdio",
        "--key", str(key[0]), "--state", str(private / "state"),
    ]  # fmt: skip
    with ProtectedServer(
        "notes", store=store, enforcement=Enforcement.TOKEN,
        witness=words, witness_key=key[1],
    ) as server:  # fmt: skip
        assert server.trail.standing().witnessed
    found = stead("audit", "verify", "--witness-key", key[1], "--json")
    assert (0, None) == (found.status, found.json["fault"])
    assert found.json["vouched"]
    another = [*words[:-1], str(private / "another"), "--domain", "S-1-5-21-9-9-9"]
    with pytest.raises(WitnessDisagreesError, match="witness of stead/S-1-5-21-9-9-9"):
        ProtectedServer(
            "notes", store=store, enforcement=Enforcement.TOKEN,
            witness=another, witness_key=key[1],
        )  # fmt: skip


def test_serve_takes_a_witness_without_a_target(stead, private, key, witness):
    ran = stead(
        "serve", "--store", private / "new.db", "--pipe", private / "pipe",
        "--witness", witness, "--witness-key", key[1], "--dry-run",
    )  # fmt: skip
    assert 0 == ran.status
    domain = _sql(private / "new.db", "SELECT domain FROM store")[0][0]
    asked = stead("witness", "ask", witness, "--domain", domain)
    assert (0, f"stead/{domain}") == (asked.status, asked.lines[0])
    alone = stead("serve", "--store", private / "new.db", "--witness", witness)
    assert (1, True) == (alone.status, "go together" in alone.err)
