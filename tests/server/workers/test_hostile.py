"""What a worker that a client has made its own can do to the server: nothing.

In each test a server that believes its worker falls, and ours does not.
"""

from __future__ import annotations

import array
import itertools
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stead.errors import (
    KernelRefusedError,
    NotARegularFileError,
    ProcessTimeoutError,
    WorkerFailedError,
    WorkerLostError,
)
from stead.server.workers.answers import Reply, function_outcome, opened_file
from stead.server.workers.channel import WorkerChannel
from stead.server.workers.plain_data import write_plain
from stead.server.workers.wire import ANSWER, Kind

SECONDS = 60


def answer(number, body=b"", kind=Kind.RETURNED, *, size=None, may_go_on=True):
    """Return an answer as it travels; `size` if it is to lie about it."""
    length = len(body) if size is None else size
    return ANSWER.pack(number, length, kind, may_go_on) + body


def descriptors():
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def ask(workers, registrar):
    """Give what asks as a client, and returns the future."""

    def submit(function, *args, uid=70001, seconds=SECONDS):
        return workers.run(registrar.token(uid), function, args, seconds=seconds)

    return submit


@pytest.fixture
def is_served(ask, jobs):
    """Give what says that the client, and another, are served as if nothing was."""

    def served():
        mine = ask(jobs.whoami).result(SECONDS)[1]
        other = ask(jobs.whoami, uid=70002).result(SECONDS)[1]
        return ((70001,) * 3, (70002,) * 3) == (mine, other)

    return served


# --- a function that speaks for its worker --------------------------------------------


@pytest.mark.root
def test_a_pickle_is_not_read(ask, jobs, world, is_served, is_gone, until):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(world / "made by root"),)

    bomb = pickle.dumps(Bomb())
    pid = ask(jobs.whoami).result(SECONDS)[0]
    with pytest.raises(WorkerLostError, match="its answer makes no sense"):
        ask(jobs.say, answer(2, bomb)).result(SECONDS)
    until(lambda: is_gone(pid))
    assert not (world / "made by root").exists()
    pickle.loads(bomb)  # noqa: S301 - what a pool of processes does with an answer
    assert 0 == (world / "made by root").stat().st_uid
    assert is_served()


@pytest.mark.root
def test_a_length_of_four_gigabytes_is_not_believed(ask, jobs, is_served):
    claim = answer(1, size=2**32 - 1)
    with pytest.raises(WorkerLostError, match="4294967295 bytes, 67108864 are allowed"):
        ask(jobs.say, claim).result(SECONDS)
    naive = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "claim = sys.stdin.buffer.read()\n"
        "bytearray(int.from_bytes(claim[8:12], 'big'))\n"
    )
    fallen = subprocess.run(
        [sys.executable, "-c", naive], input=claim, capture_output=True, check=False
    )
    assert b"MemoryError" in fallen.stderr
    assert is_served()


@pytest.mark.root
def test_a_thousand_descriptors_fill_no_table_of_the_servers(
    ask, jobs, home, is_served
):
    path = home / "note"
    path.write_text("x")
    path.chmod(0o666)
    before = len(descriptors())
    future = ask(jobs.flood_with_descriptors, str(path))
    with pytest.raises(WorkerLostError, match="a descriptor that nobody asked for"):
        future.result(SECONDS)
    assert is_served()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        flood(theirs, path)
        _, naive, _, _ = socket.recv_fds(ours, 1, 1000)
    assert 250 == len(naive)
    for descriptor in naive:
        os.close(descriptor)
    # New workers have a few sockets each, and a file of the store may be open just now.
    assert len(descriptors()) < before + 25


def flood(sock, path):
    with path.open() as file:
        rights = array.array("i", [file.fileno()] * 250)
        sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


@pytest.mark.root
def test_half_an_answer_and_silence_is_too_late_and_holds_up_nobody(
    ask, jobs, is_served
):
    future = ask(jobs.say, answer(1, b"", size=100)[:10], seconds=3)
    assert is_served()
    with pytest.raises(ProcessTimeoutError):
        future.result(SECONDS)
    # Who waits for all that was announced waits as long as the client likes.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(answer(1, b"", size=100)[:10])
        ours.recv(100)
        ours.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ours.recv(100)


@pytest.mark.root
def test_an_answer_too_many_ends_the_worker_and_answers_nobody_else(
    ask, jobs, is_served
):
    twice = answer(1, write_plain("forged")) + answer(2, write_plain("forged too"))
    with pytest.raises(WorkerLostError, match="more than one answer"):
        ask(jobs.say, twice).result(SECONDS)
    # Who reads frames as they come takes the second for the next call's.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(twice)
        naive = [ours.recv(len(twice) // 2 - 2), ours.recv(100)]
    assert b"forged too" in naive[1]
    assert is_served()


@pytest.mark.root
def test_an_answer_before_the_question_ends_the_worker(
    ask, jobs, home, is_served, until, workers, is_gone
):
    before = ask(jobs.whoami).result(SECONDS)[0]
    (worker,) = workers._pool._places._workers()
    future = ask(
        jobs.say_from_a_child, answer(3, write_plain("early")), str(home / "x")
    )
    assert "proper" == future.result(SECONDS)
    (home / "x").touch()
    until(lambda: is_gone(before))
    until(lambda: worker not in list(workers._pool._places._workers()))
    assert is_served()


@pytest.mark.root
def test_an_answer_to_another_question_ends_the_worker(ask, jobs, is_served):
    with pytest.raises(WorkerLostError, match="what nobody asked"):
        ask(jobs.say, answer(2, write_plain("not yet asked"))).result(SECONDS)
    assert is_served()


@pytest.mark.root
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0, b""),
        (99, write_plain(None)),
        (Kind.OPENED, b""),
        (Kind.REFUSED, write_plain(13)),
        (Kind.RETURNED, b""),
        (Kind.RAISED, write_plain(("SystemExit", (), ""))),
        (Kind.RAISED, write_plain(("SteadError", ("x",), ""))),
        (Kind.RAISED, write_plain(("StopIteration", (), ""))),
        (Kind.RAISED, write_plain(("exec", ("1",), ""))),
        (Kind.RAISED, write_plain(("UnicodeDecodeError", ("x",), ""))),
        (Kind.RAISED, write_plain(("ValueError", ["x"], ""))),
        (Kind.RAISED, write_plain(("ValueError", ("x",)))),
        (Kind.FAILED, write_plain(("x", b"y"))),
        (Kind.NOT_PLAIN, write_plain(("x",))),
        (Kind.NOT_FOUND, write_plain("x")),
    ],
)
def test_an_answer_without_sense_is_an_error_and_ends_the_worker(
    ask, jobs, is_served, is_gone, until, kind, body
):
    before = ask(jobs.whoami).result(SECONDS)[0]
    with pytest.raises(WorkerLostError):
        ask(jobs.say, answer(2, body, kind), "go on").result(SECONDS)
    until(lambda: is_gone(before))
    assert is_served()


@pytest.mark.root
def test_a_worker_is_traced_and_read_by_nobody_of_its_client(ask, jobs, home, pid_in):
    busy = ask(jobs.wait_in, str(home / "pid"))
    pid_in(home / "pid")
    naive, ours = ask(jobs.attack, str(home / "pid")).result(SECONDS)
    assert (0, 0) == naive
    assert (-1, -1) == ours
    assert not busy.done()


def test_text_of_a_worker_stays_within_its_line():
    body = write_plain(("a\x1b[2J\nb" * 100, "one\nline\rand\x07another"))
    with pytest.raises(WorkerFailedError) as failed:
        function_outcome("jobs.f", Reply(1, Kind.FAILED, body, may_go_on=True), 100)
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 300
    assert "one\nline\\rand\\x07another" == failed.value.remote_traceback
    body = write_plain("too\nmuch")
    with pytest.raises(Exception, match=r"returned: too\\nmuch"):
        function_outcome("jobs.f", Reply(1, Kind.NOT_PLAIN, body, may_go_on=True), 100)


def test_text_of_a_worker_costs_the_server_no_more_than_a_traceback():
    text = "\0" * (1 << 20)
    assert 4 << 20 == len(repr(text)) - 2  # a server that shows all of it
    for kind, value in (
        (Kind.RAISED, ("ValueError", (), text)),
        (Kind.FAILED, (text, text)),
        (Kind.NOT_FOUND, (text, text)),
        (Kind.NOT_PLAIN, text),
    ):
        reply = Reply(1, kind, write_plain(value), may_go_on=True)
        with pytest.raises(Exception) as told:
            function_outcome("jobs.f", reply, 100)
        shown = [str(told.value), str(told.value.__cause__)]
        assert sum(map(len, shown)) < 70_000


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind != Kind.RETURNED])
def test_what_is_no_value_may_not_be_as_large_as_one(kind):
    size = (1 << 20) + 1
    ours, theirs = socket.socketpair()
    channel = WorkerChannel(ours, largest=64 << 20, takes_descriptor=False)
    with ours, theirs:
        theirs.send(answer(1, kind=kind, size=size))
        with pytest.raises(WorkerLostError, match="1048577 bytes, 1048576 are allowed"):
            channel.read()
    ours, theirs = socket.socketpair()
    channel = WorkerChannel(ours, largest=64 << 20, takes_descriptor=False)
    with ours, theirs:
        theirs.send(answer(1, kind=Kind.RETURNED, size=size))
        assert channel.read() is None


# --- an opener that is not ours any more ----------------------------------------------


@pytest.fixture
def pair():
    """Give an opener's channel, and the socket of who pretends to be the opener."""
    ours, theirs = socket.socketpair()
    channel = WorkerChannel(ours, largest=4096, takes_descriptor=True)
    yield channel, theirs
    for left in channel.leftovers():
        left.close()
    channel.close()
    theirs.close()


def hand_over(sock, data, *descriptors):
    rights = array.array("i", descriptors)
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


OPENED = answer(1, b"", Kind.OPENED)


def fifo(folder):
    os.mkfifo(folder / "fifo")
    return os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)


def others(folder, flags):
    (folder / "note").write_text("x")
    return os.open(folder / "note", flags)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (fifo, "neither a file nor a directory"),
        (lambda _: os.open("/dev/null", os.O_RDONLY), "neither a file nor a directory"),
        (lambda _: os.eventfd(0), "neither a file nor a directory"),
        (lambda _: os.open("/proc/self/stat", os.O_RDONLY), "neither a file"),
        (lambda at: others(at, os.O_RDWR), "open in another way"),
        (lambda at: others(at, os.O_WRONLY), "open in another way"),
        (lambda at: others(at, os.O_PATH), "open in another way"),
        (lambda at: others(at, os.O_RDONLY | os.O_APPEND), "open in another way"),
        (lambda at: others(at, os.O_RDONLY | os.O_NOATIME), "open in another way"),
    ],
)
def test_a_descriptor_must_be_what_was_asked_for(pair, tmp_path, make, why):
    channel, theirs = pair
    sent = make(tmp_path)
    hand_over(theirs, OPENED, sent)
    os.close(sent)
    before = descriptors()
    reply = channel.read()
    # What a server that believes its opener has now: open, as whatever it is.
    naive = reply.descriptor.fileno()
    os.fstat(naive)
    with pytest.raises(WorkerLostError, match=why):
        opened_file("/a", os.O_RDONLY, reply)
    reply.descriptor.close()
    assert descriptors() <= before


OPENER = """
import array, os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
os.setgroups([])
os.setresgid(70001, 70001, 70001)
os.setresuid(70001, 70001, 70001)
opened = os.open(f"/proc/{sys.argv[2]}/stat", os.O_RDONLY)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [opened]))]
print(os.pread(opened, 4096, 0).decode())
sock.sendmsg([bytes.fromhex(sys.argv[3])], rights)
"""


@pytest.mark.root
def test_what_root_reads_of_procfs_is_shown_to_root(pair):
    """Show why procfs is refused: the kernel asks who reads, not who opened."""

    def stack(text):
        return int(text.rpartition(")")[2].split()[25])

    channel, theirs = pair
    done = subprocess.run(
        [sys.executable, "-c", OPENER, str(theirs.fileno()), str(os.getpid()),
         OPENED.hex()],
        check=True, text=True, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE,
    )  # fmt: skip
    reply = channel.read()
    with pytest.raises(WorkerLostError, match="neither a file nor a directory"):
        opened_file("/her/note", os.O_RDONLY, reply)
    naive = os.pread(reply.descriptor.fileno(), 4096, 0).decode()
    reply.descriptor.close()
    # Where the server's stack lies is not for the client to know.
    assert stack(done.stdout) == 0 < stack(naive)


@pytest.mark.parametrize("count", [2, 250])
def test_more_than_one_descriptor_is_none(pair, tmp_path, count):
    channel, theirs = pair
    path = tmp_path / "note"
    path.touch()
    with path.open() as file:
        hand_over(theirs, OPENED, *[file.fileno()] * count)
    with pytest.raises(WorkerLostError, match="a descriptor that nobody asked for"):
        channel.read()
    assert len(channel.leftovers()) <= 1


def test_a_descriptor_comes_with_the_first_byte_or_not_at_all(pair, tmp_path):
    channel, theirs = pair
    (tmp_path / "note").touch()
    with (tmp_path / "note").open() as file:
        theirs.send(OPENED[:3])
        assert channel.read() is None
        hand_over(theirs, OPENED[3:], file.fileno())
    with pytest.raises(WorkerLostError, match="a descriptor that nobody asked for"):
        channel.read()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.OPENED, b""),
        (Kind.RETURNED, write_plain(3)),
        (Kind.REFUSED, write_plain("13")),
        (Kind.REFUSED, write_plain(True)),
        (Kind.REFUSED, write_plain(0)),
        (Kind.REFUSED, write_plain(5000)),
        (Kind.REFUSED, b"?"),
        (77, b""),
    ],
)
def test_an_opener_that_makes_no_sense_is_an_error(kind, body):
    with pytest.raises(WorkerLostError):
        opened_file("/a", os.O_RDONLY, Reply(1, kind, body, may_go_on=True))


def test_a_refusal_with_a_descriptor_makes_no_sense(pair, tmp_path):
    channel, theirs = pair
    (tmp_path / "note").touch()
    with (tmp_path / "note").open() as file:
        hand_over(theirs, answer(1, write_plain(13), Kind.REFUSED), file.fileno())
    reply = channel.read()
    with pytest.raises(WorkerLostError):
        opened_file("/a", os.O_RDONLY, reply)
    reply.descriptor.close()


def test_refusals_of_an_opener_are_the_kernels(pair):
    channel, theirs = pair
    theirs.send(answer(1, write_plain(13), Kind.REFUSED))
    with pytest.raises(KernelRefusedError, match="refused `/a`: permission denied"):
        opened_file("/a", os.O_RDONLY, channel.read())
    theirs.send(answer(2, b"", Kind.NO_FILE))
    with pytest.raises(NotARegularFileError):
        opened_file("/a", os.O_RDONLY, channel.read())


# --- the channel itself ---------------------------------------------------------------


def test_an_answer_is_the_same_whole_and_byte_by_byte(pair):
    channel, theirs = pair
    data = answer(1, write_plain({"a": [1, 2]}))
    theirs.send(data)
    whole = channel.read()
    for position in range(len(data)):
        assert channel.read() is None
        theirs.send(data[position : position + 1])
        reply = channel.read()
    assert (whole.number, whole.kind, whole.body) == (
        reply.number,
        reply.kind,
        reply.body,
    )
    assert not channel.is_begun


def test_the_end_of_a_channel_is_noticed_and_nothing_is_asked_any_more(pair):
    channel, theirs = pair
    theirs.close()
    assert channel.read() is None
    assert channel.is_hung_up
    with pytest.raises(WorkerLostError, match="it takes no request"):
        channel.ask(1, b"x")


def test_a_worker_that_reads_nothing_keeps_nobody_waiting(pair):
    channel, _ = pair

    def ask_for_ever():
        for number in itertools.count():
            channel.ask(number, b"x" * 30_000)

    with pytest.raises(WorkerLostError, match="it takes no request"):
        ask_for_ever()
