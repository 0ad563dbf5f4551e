"""The witness as a process and on its disk: torn, killed, full, crowded, lied to."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.adapters.witness_stage import (
    LEAVES,
    ORIGIN,
    SIGNER,
    end,
    is_signed,
    root,
)

from stead.adapters.ed25519 import (
    make_key_file,
    read_key_file,
)
from stead.adapters.witness_files import LeafFile, WitnessFolder, notes_of
from stead.adapters.witness_link import StreamWitnessLink
from stead.adapters.witness_service import WitnessService
from stead.errors import (
    InvalidCheckpointError,
    InvalidRequestError,
    LedgerCorruptError,
    UnsafeConfigurationError,
    WitnessUnavailableError,
)
from stead.ledger.tree import (
    require_consistency,
    require_inclusion,
)
from stead.ledger.witness_wire import (
    LARGEST_FRAME,
    Ask,
    Extend,
    ProveConsistency,
    ProveInclusion,
    Refusal,
    Standing,
    Why,
    write_frame,
)


def test_it_signs_what_it_is_handed_and_says_so_again(witness):
    assert Standing(0, "") == witness.answer(Ask(ORIGIN))
    assert is_signed(witness.answer(Extend(ORIGIN, 0, LEAVES[:7])), 7)
    assert is_signed(witness.answer(Extend(ORIGIN, 7, LEAVES[7:20])), 20)
    assert is_signed(witness.answer(Ask(ORIGIN)), 20)


def test_what_it_has_may_be_sent_again_and_overlap(witness):
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    for start, stop, size in ((0, 7, 7), (2, 5, 7), (3, 9, 9), (0, 9, 9)):
        assert is_signed(
            witness.answer(Extend(ORIGIN, start, LEAVES[start:stop])), size
        )


def test_it_proves_inclusion_and_consistency(witness):
    witness.answer(Extend(ORIGIN, 0, LEAVES))
    for index, size in ((0, 1), (3, 4999), (4999, 5000)):
        proof = witness.answer(ProveInclusion(ORIGIN, index, size))
        require_inclusion(LEAVES[index], index, size, proof.hashes, root(size))
    for old, new in ((1, 5000), (4097, 4999), (5000, 5000)):
        proof = witness.answer(ProveConsistency(ORIGIN, old, new))
        require_consistency(old, root(old), new, root(new), proof.hashes)
    for asked in (
        ProveInclusion(ORIGIN, 5, 5001),
        ProveInclusion(ORIGIN, 5, 5),
        ProveConsistency(ORIGIN, 0, 4),
        ProveConsistency(ORIGIN, 1, 5001),
    ):
        assert Why.NOT_POSSIBLE is witness.answer(asked).why


@pytest.mark.parametrize("torn", [b"", b"x", bytes(31), bytes(32), bytes(77)])
def test_what_was_never_signed_is_cut_off_after_a_crash(open_witness, state, torn):
    witness = open_witness()
    note = witness.answer(Extend(ORIGIN, 0, LEAVES[:7])).note
    end(witness)
    with (state / "leaves").open("ab") as file:
        file.write(torn)
    with (state / "notes").open("ab") as file:
        file.write(note.encode()[: len(torn)])
    again = open_witness()
    assert Standing(7, note) == again.answer(Ask(ORIGIN))
    assert 7 * 32 == (state / "leaves").stat().st_size
    assert [note] == notes_of(state)
    assert is_signed(again.answer(Extend(ORIGIN, 7, LEAVES[7:9])), 9)


def test_a_start_does_without_the_edge_or_with_an_old_one(open_witness, state):
    witness = open_witness()
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    old = (state / "edge").read_bytes()
    witness.answer(Extend(ORIGIN, 7, LEAVES[7:9]))
    for left in (old, b"", b"rubbish", None):
        end(witness)
        (state / "edge").unlink(missing_ok=True)
        if left is not None:
            (state / "edge").write_bytes(left)
        witness = open_witness()
        assert 9 == witness.size


@pytest.mark.parametrize(
    ("bend", "says"),
    [
        (lambda s: os.truncate(s / "leaves", 32 * 6), "signed for 7 leaves"),
        (
            lambda s: (
                (s / "leaves").write_bytes(bytes(32 * 7)) and (s / "edge").unlink()
            ),
            "are not those that it has signed",
        ),
        (
            lambda s: (s / "notes").write_text(
                (s / "notes").read_text().replace("1-2-3", "1-2-4")
            ),
            "not signed with its key",
        ),
    ],
)
def test_a_state_that_is_not_what_was_signed_is_refused(
    open_witness, state, bend, says
):
    witness = open_witness()
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    end(witness)
    bend(state)
    with pytest.raises(LedgerCorruptError, match=says):
        open_witness()


def test_notes_are_kept_elsewhere_too_and_made_up_for(open_witness, state, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    witness = open_witness(elsewhere)
    first = witness.answer(Extend(ORIGIN, 0, LEAVES[:7])).note
    second = witness.answer(Extend(ORIGIN, 7, LEAVES[7:9])).note
    assert [first, second] == notes_of(elsewhere) == notes_of(state)
    end(witness)
    elsewhere.write_text(first + second[:50])  # a crash before it was all written
    open_witness(elsewhere).answer(Ask(ORIGIN))
    assert [first, second] == notes_of(elsewhere)


def test_a_full_disk_is_not_now_and_nothing_is_lost_of_it(open_witness, state):
    witness = open_witness()
    witness.answer(Extend(ORIGIN, 0, LEAVES[:7]))
    folder = witness.folder
    descriptor = os.open(state / "leaves", os.O_RDONLY)  # writes fail
    kept, folder._leaves = folder._leaves, descriptor
    answer = witness.answer(Extend(ORIGIN, 7, LEAVES[7:9]))
    folder._leaves = kept
    os.close(descriptor)
    assert (Refusal, Why.NOT_NOW, 7) == (type(answer), answer.why, answer.size)
    assert is_signed(witness.answer(Extend(ORIGIN, 7, LEAVES[7:9])), 9)


def test_one_folder_has_one_witness_and_nobody_else_writes_it(
    open_witness, state, monkeypatch
):
    monkeypatch.setattr("stead.adapters.witness_files._LOCK_SECONDS", 0.0)
    open_witness()
    with pytest.raises(InvalidRequestError, match="another witness"):
        WitnessFolder(state)
    state.chmod(0o777)
    with pytest.raises(UnsafeConfigurationError, match="others may write"):
        WitnessFolder(state)


def test_a_long_file_of_notes_is_not_read_whole(open_witness, state, monkeypatch):
    monkeypatch.setattr("stead.adapters.witness_files._TAIL", 1000)
    witness = open_witness()
    for at in range(20):
        note = witness.answer(Extend(ORIGIN, at, LEAVES[at : at + 1])).note
    end(witness)
    assert (state / "notes").stat().st_size > 3000
    assert Standing(20, note) == open_witness().answer(Ask(ORIGIN))


def test_a_file_of_notes_that_ends_with_something_else_is_left_alone(
    open_witness, state
):
    open_witness().folder.close()
    (state / "notes").write_bytes(b"\0" * 100_000)
    with pytest.raises(InvalidRequestError, match="does not end with notes"):
        WitnessFolder(state)
    assert 100_000 == (state / "notes").stat().st_size


# --- the key --------------------------------------------------------------------------


def test_a_key_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "key"
    public = make_key_file(path, "witness", bytes(range(32)))
    assert SIGNER.key == public == read_key_file(path).key
    assert 0o600 == path.stat().st_mode & 0o777
    with pytest.raises(FileExistsError):
        make_key_file(path, "witness", bytes(32))
    path.chmod(0o640)
    with pytest.raises(UnsafeConfigurationError):
        read_key_file(path)


def test_a_key_file_that_holds_no_key_is_refused(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"\xff" * 10)
    path.chmod(0o600)
    with pytest.raises(InvalidCheckpointError):
        read_key_file(path)


# --- over a socket --------------------------------------------------------------------


@pytest.fixture
def service(witness, tmp_path):
    tmp_path.chmod(0o755)
    ready, path = threading.Event(), tmp_path / "witness.sock"
    service = WitnessService(witness, witness.reports.append)
    thread = threading.Thread(target=service.listen, args=(path, (), ready.set))
    thread.start()
    assert ready.wait(60)
    yield path
    service.stop()
    thread.join(60)


@pytest.fixture
def link(service):
    link = StreamWitnessLink(service, seconds=60)
    yield link
    link.close()


def test_a_witness_answers_over_a_socket(link):
    assert is_signed(link.ask(Extend(ORIGIN, 0, LEAVES[:7])), 7)
    assert isinstance(link.ask(ProveInclusion(ORIGIN, 5, 7)).hashes, tuple)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\0\0\0\x01\xff",
        (LARGEST_FRAME + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x05\x02abcd",
    ],
)
def test_whoever_sends_rubbish_is_hung_up_on_and_nobody_else(service, link, rubbish):
    with socket.socket(socket.AF_UNIX) as hostile:
        hostile.settimeout(60)
        hostile.connect(str(service))
        hostile.sendall(rubbish)
        assert b"" == hostile.recv(100)
    assert is_signed(link.ask(Extend(ORIGIN, 0, LEAVES[:7])), 7)


def test_connections_are_bounded(service, monkeypatch):
    crowd = []
    try:
        for _ in range(32):
            one = socket.socket(socket.AF_UNIX)
            one.settimeout(60)
            one.connect(str(service))
            crowd.append(one)
        late = socket.socket(socket.AF_UNIX)
        late.settimeout(60)
        late.connect(str(service))
        crowd.append(late)
        assert b"" == late.recv(1)
    finally:
        for one in crowd:
            one.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_stranger_is_turned_away(witness):
    with tempfile.TemporaryDirectory(prefix="stead-test-") as folder:
        Path(folder).chmod(0o755)
        ready, path = threading.Event(), Path(folder) / "witness.sock"
        service = WitnessService(witness, witness.reports.append)
        thread = threading.Thread(
            target=service.listen, args=(path, (65_431,), ready.set)
        )
        thread.start()
        assert ready.wait(60)
        heard = {uid: _ask_as(uid, path) for uid in (65_431, 65_432)}
        service.stop()
        thread.join(60)
    # The one that may is answered; the other hears nothing.
    assert {65_431: 4, 65_432: 0} == heard
    assert ["uid 65432 was turned away"] == witness.reports


def _ask_as(uid, path):
    """Return how many bytes of an answer come to a process of this uid."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(60)
                asking.connect(str(path))
                with suppress(BrokenPipeError):
                    asking.sendall(write_frame(Ask(ORIGIN)))
                with suppress(ConnectionResetError):  # the question was not read
                    os._exit(len(asking.recv(4)))
                os._exit(0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01\x01",
        b"\0\0\0\x01\x42" * 2,
        b"\0\0",
    ],
)
def test_an_answer_that_is_none_is_a_witness_that_is_not_there(tmp_path, answer):
    path = tmp_path / "fake"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def lie():
            connected, _ = listener.accept()
            with connected:
                connected.recv(1000)
                connected.sendall(answer)

        thread = threading.Thread(target=lie)
        thread.start()
        link = StreamWitnessLink(path, seconds=60)
        with pytest.raises(WitnessUnavailableError):
            link.ask(Ask(ORIGIN))
        thread.join(60)


def test_a_witness_that_never_answers_is_not_waited_for(tmp_path):
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(WitnessUnavailableError):
            StreamWitnessLink(path, seconds=0.05).ask(Ask(ORIGIN))


@pytest.mark.parametrize("place", ["/no/such/socket", ["/no/such/program", "x"]])
def test_a_witness_that_is_not_there_is_said(place):
    with pytest.raises(WitnessUnavailableError, match="does not answer"):
        StreamWitnessLink(place).ask(Ask(ORIGIN))


# --- as a process ---------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Give the words that start a witness which speaks on its own ends."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)  # it is killed, and so runs unmeasured
    key = tmp_path / "key"
    make_key_file(key, "witness", bytes(range(32)))
    return [
        sys.executable, "-m", "stead", "witness", "serve", "--stdio",
        "--key", str(key), "--state", str(tmp_path / "state"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_witness_that_is_killed_goes_on_with_what_it_signed(command, state):
    size = 0
    for start in (0, 2000):
        link = StreamWitnessLink(command, seconds=60)
        standing = link.ask(Ask(ORIGIN))
        assert size <= standing.size <= size + 1000
        size = standing.size
        stop = threading.Timer(0.05, link._process.send_signal, [signal.SIGKILL])
        stop.start()
        try:
            for at in range(size, start + 1000):
                signed = link.ask(Extend(ORIGIN, at, LEAVES[at : at + 1]))
                assert is_signed(signed, at + 1)
                size = at + 1
        except WitnessUnavailableError:
            pass
        stop.join()
        link.close()
    link = StreamWitnessLink(command, seconds=60)
    standing = link.ask(Ask(ORIGIN))
    # What was answered is kept; one more may be, whose answer was lost.
    assert size <= standing.size <= size + 1
    assert is_signed(standing, standing.size)
    rest = link.ask(Extend(ORIGIN, size, LEAVES[size:]))
    assert is_signed(rest, 5000)
    link.close()
    file = LeafFile(state)
    assert b"".join(LEAVES) == file.read(0, 9999)
    assert 5000 == file.count()
    file.close()
