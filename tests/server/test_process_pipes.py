"""Pipes to and from programs that do with them whatever they like."""

from __future__ import annotations

import fcntl
import gc
import os
import selectors
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from subprocess import PIPE

import pytest

from stead.errors import ProcessTimeoutError
from stead.server.acting.process_pipes import Ends, Exchange
from stead.server.acting.processes import ClientProcess, Life

SECONDS = 60
A_MOMENT = 0.2  # for what waits for ever, to be seen waiting
PAGE = 4096


@pytest.fixture
def pipe():
    """Give what opens a pipe, as two files without buffers, closed at the end."""
    with ExitStack() as undo:

        def make(size=None):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            if size is not None:
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, size)
            return tuple(
                undo.enter_context(os.fdopen(end, mode, buffering=0))
                for end, mode in ((reading, "rb"), (writing, "wb"))
            )

        yield make


@contextmanager
def ended_by(undo):
    """Watch work on a thread of its own, that `undo` ends if it waits."""
    ended = threading.Event()

    def begin(work):
        def whole():
            with suppress(BrokenPipeError, ProcessTimeoutError):
                work()
            ended.set()

        threads.append(threading.Thread(target=whole, daemon=True))
        threads[-1].start()
        return ended

    threads = []
    yield begin
    undo()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def fill(descriptor):
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, bytes(PAGE))
    os.set_blocking(descriptor, True)


def soon():
    return time.monotonic() + A_MOMENT


# --- what was there a moment ago --------------------------------------------------


def naive_reading(first, second):
    with selectors.DefaultSelector() as selector:
        for stream in (first, second):
            selector.register(stream, selectors.EVENT_READ)
        for key, _ in selector.select():
            os.read(key.fd, PAGE)


def our_reading(first, second):
    Exchange(None, {"stdout": first, "stderr": second}).run(None, soon())


@pytest.mark.parametrize(
    ("read", "is_bounded"), [(naive_reading, False), (our_reading, True)]
)
def test_output_that_is_taken_back_is_waited_for_no_longer_than_asked(
    pipe, read, is_bounded
):
    reading, writing = pipe()
    # One byte is seen in two places; where it is read first, the other has none.
    with os.fdopen(os.dup(reading.fileno()), "rb", buffering=0) as again:
        writing.write(b"x")
        with ended_by(lambda: writing.write(b"x")) as begin:
            ended = begin(partial(read, reading, again))
            assert is_bounded == ended.wait(SECONDS if is_bounded else A_MOMENT)


def naive_writing(stream, given):
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_WRITE)
        for key, _ in selector.select():
            os.write(key.fd, given)


def our_writing(stream, given):
    Exchange(stream, {}).run(given, soon())


@pytest.mark.parametrize(
    ("write", "is_bounded"), [(naive_writing, False), (our_writing, True)]
)
def test_input_for_which_there_is_less_room_than_seen_is_not_waited_with(
    pipe, write, is_bounded
):
    reading, writing = pipe(4 * PAGE)
    with ended_by(reading.close) as begin:
        ended = begin(partial(write, writing, bytes(16 * PAGE)))
        assert is_bounded == ended.wait(SECONDS if is_bounded else A_MOMENT)


def test_what_was_written_before_is_not_flushed_for_longer_than_asked(pipe):
    def stuck():
        reading, writing = pipe()
        fill(writing.fileno())
        stdin = os.fdopen(os.dup(writing.fileno()), "wb")
        stdin.write(b"before")
        return reading, writing, stdin

    reading, _, stdin = stuck()
    with ended_by(lambda: read_all(reading)) as begin:
        assert not begin(stdin.flush).wait(A_MOMENT)
    stdin.close()

    reading, writing, stdin = stuck()
    exchange = Exchange(stdin, {})
    with pytest.raises(ProcessTimeoutError):
        exchange.run(b" and now", soon())
    writing.close()
    assert os.get_blocking(stdin.fileno())
    read_all(reading)
    assert {} == exchange.run(None, time.monotonic() + SECONDS)
    assert b"before and now" == read_all(reading)
    assert stdin.closed


def read_all(reading):
    """Return what is there now."""
    os.set_blocking(reading.fileno(), False)
    came = b"".join(iter(lambda: reading.read(PAGE) or b"", b""))
    return came.lstrip(b"\0")


def test_a_pipe_that_nobody_can_have_read_is_closed_all_the_same(pipe):
    reading, writing = pipe()
    fill(writing.fileno())
    Exchange(writing, {}).run(None, soon())
    assert writing.closed
    assert not reading.closed


def test_its_ends_wait_again_when_the_time_is_up(pipe):
    outputs = {"stdout": pipe()[0], "stderr": pipe()[0]}
    os.set_blocking(outputs["stderr"].fileno(), False)
    with pytest.raises(ProcessTimeoutError):
        Exchange(None, outputs).run(None, 0)
    assert [True, False] == [
        os.get_blocking(stream.fileno()) for stream in outputs.values()
    ]


# --- what is forgotten ------------------------------------------------------------


def stuck_process(ends):
    """Return a process that has input left which nobody reads."""
    process = ClientProcess(Life("/bin/true", ends))
    process.stdin.write(b"left")
    return process


class Naive:
    """Closes its pipe as files do that are forgotten: what is left goes first."""

    def __init__(self, stdin):
        self.stdin = os.fdopen(stdin, "wb")
        self.stdin.write(b"left")

    def __del__(self):
        self.stdin.close()


class InACycle:
    def __init__(self, kept):
        self.kept, self.me = kept, self


@pytest.mark.parametrize(
    "keep",
    [
        lambda process: process,
        lambda process: process.stdin,
        InACycle,
        lambda process: InACycle(process.stdin),
    ],
)
def test_a_process_that_is_forgotten_keeps_nobody_waiting(pipe, keep):
    def forget():
        kept.clear()
        gc.collect()

    for make, is_bounded in (
        (Naive, False),
        (lambda end: keep(stuck_process(null_ends(end))), True),
    ):
        reading, writing = pipe()
        fill(writing.fileno())
        end = os.dup(writing.fileno())
        kept = [make(end)]
        with ended_by(lambda reading=reading: read_all(reading)) as begin:
            assert is_bounded == begin(forget).wait(SECONDS if is_bounded else A_MOMENT)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def null_ends(stdin):
    """Return ends of which the process's own are the caller's."""
    return Ends((0, 0, 0), frozenset({0}), stdin=stdin)


def test_ends_are_handed_over_once(pipe):
    _, writing = pipe()
    ends = null_ends(os.dup(writing.fileno()))
    taken, again = ends.take(), ends.take()
    os.close(taken[0])
    assert (None,) * 4 == again


# --- what is to be done at the end ------------------------------------------------


def test_an_act_that_fails_at_the_end_keeps_no_other_from_being_done(caplog):
    done = []

    def broken():
        raise ValueError("tiger")

    acts = [lambda: done.append("hold"), broken, lambda: done.append("place")]
    with pytest.raises(ValueError, match="tiger"):
        [naive() for naive in acts]
    assert ["hold"] == done
    life = Life("/bin/true", null_ends(None))
    for act in acts:
        life.when_over(act)
    done.clear()
    life.over(0)
    assert ["hold", "place"] == done
    assert "an act at the end of `/bin/true` failed" in caplog.text


# --- programs that try ------------------------------------------------------------

TAKES_BACK = """
import os
taking = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
while True:
    os.write(1, b"x")
    try:
        os.read(taking, 10)
    except BlockingIOError:
        pass
"""
FILLS = """
import os
filling = os.open("/proc/self/fd/0", os.O_WRONLY | os.O_NONBLOCK)
while True:
    try:
        os.read(0, 4096)
        os.write(filling, b"x" * 4096)
    except BlockingIOError:
        pass
"""


@pytest.mark.root
@pytest.mark.parametrize(
    ("program", "options", "given"),
    [
        (TAKES_BACK, {"stdout": PIPE}, None),
        (FILLS, {"stdin": PIPE}, bytes(10_000_000)),
    ],
)
def test_a_program_that_fights_for_its_pipes_bounds_no_exchange_of_ours(
    kernel_server, client_of, program, options, given
):
    alice = client_of(kernel_server, "alice")
    process = alice.start(["/usr/bin/python3", "-c", program], **options)
    with process, ended_by(process.kill) as begin:
        for _ in range(8):
            work = begin(lambda: process.communicate(given, timeout=A_MOMENT))
            assert work.wait(SECONDS)
            work.clear()
