"""Acting for clients from an event loop."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import threading
import time
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    KernelRefusedError,
    NotARegularFileError,
    ProcessTimeoutError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent

SECONDS = 60


@pytest.fixture
def theirs(kernel_server, client_of):
    return client_of(kernel_server, "alice")


@pytest.fixture
def folder(world):
    made = world / "alice"
    made.mkdir(mode=0o700)
    os.chown(made, 70001, 70001)
    return made


@pytest.fixture
def count_of(kernel_server):
    """Give what returns how many records of an event there are."""
    return lambda event: len(list(kernel_server.trail.find(Query(event=event))))


def run(work):
    return asyncio.run(asyncio.wait_for(work, SECONDS))


def wait_until(claim):
    deadline = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # between two looks, not for timing


def shell(script):
    return "/bin/sh", "-c", script


def test_without_the_kernel_nothing_acts_here_either(alice):
    for act in (
        lambda: alice.aio.open("/etc/hostname"),
        lambda: alice.aio.run(os.getpid),
        lambda: alice.aio.start(["id"]),
    ):
        with pytest.raises(EnforcementUnavailableError):
            run(act())


pytestmark = pytest.mark.root


# --- files and functions ----------------------------------------------------------


def test_files_are_opened_as_the_client(theirs, folder):
    async def work():
        with await theirs.aio.open(folder / "notes", "x") as file:
            file.write("hers")
        with await theirs.aio.open(folder / "notes") as file:
            assert "hers" == file.read()
        with pytest.raises(KernelRefusedError):
            await theirs.aio.open("/etc/shadow")
        with pytest.raises(NotARegularFileError):
            await theirs.aio.open(folder)

    run(work())
    assert 70001 == (folder / "notes").stat().st_uid


def test_functions_run_as_the_client_many_at_once(theirs, kernel_server, client_of):
    bob = client_of(kernel_server, "bob")

    async def work():
        calls = [who.aio.run(os.getresuid) for _ in range(8) for who in (theirs, bob)]
        return await asyncio.gather(*calls)

    assert [(70001,) * 3, (70002,) * 3] * 8 == run(work())


def test_errors_of_functions_come_back_too(theirs):
    with pytest.raises(FileNotFoundError):
        run(theirs.aio.run(os.stat, "/no/such"))
    with pytest.raises(ProcessTimeoutError):
        run(theirs.aio.run(time.sleep, 600, timeout=0.1))


def test_the_loop_goes_on_while_a_client_keeps_a_worker_waiting(theirs):
    async def work():
        stuck = asyncio.create_task(theirs.aio.run(time.sleep, 600))
        ids = [await theirs.aio.run(os.getuid) for _ in range(3)]
        assert not stuck.done()
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        return ids

    assert [70001] * 3 == run(work())


def test_cancelling_kills_the_worker_and_is_recorded(theirs, kernel_server, count_of):
    async def work():
        stuck = asyncio.create_task(theirs.aio.run(time.sleep, 600))
        await asyncio.to_thread(wait_until, lambda: count_of(AuditEvent.FUNCTION_RUN))
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        # The worker is gone, and so another one answers.
        return await theirs.aio.run(os.getuid)

    assert 70001 == run(work())
    wait_until(lambda: count_of(AuditEvent.FUNCTION_ENDED) == 2)


def test_what_is_cancelled_at_any_moment_leaves_nothing_open(
    theirs, folder, kernel_server
):
    (folder / "notes").touch()
    os.chown(folder / "notes", 70001, 70001)
    theirs.open(folder / "notes").close()

    async def work():
        for steps in range(30):
            tasks = [
                asyncio.create_task(theirs.aio.open(folder / "notes")),
                asyncio.create_task(theirs.aio.start(["/bin/cat"], stdin=PIPE)),
            ]
            for _ in range(steps):
                await asyncio.sleep(0)
            if steps % 3 == 0:
                await asyncio.sleep(steps / 3000)  # another moment, not for timing
            for task in tasks:
                task.cancel()
            file, process = await asyncio.gather(*tasks, return_exceptions=True)
            if not isinstance(file, BaseException):
                file.close()
            if not isinstance(process, BaseException):
                process.kill()
                await process.wait()

    run(work())
    acting = kernel_server._house.acting
    wait_until(lambda: not acting._starts._at_work)
    wait_until(lambda: not opened(folder / "notes"))


def test_a_file_is_what_open_would_return(theirs, folder):
    def same(mode, use):
        results = []
        for number, opens in enumerate((theirs.open, open)):
            path = folder / f"{mode}{number}"
            if "x" not in mode:
                path.write_bytes(b"one\ntwo\n")
                os.chown(path, 70001, 70001)
            with opens(path, mode) as file:
                results.append((type(file), file.tell(), file.mode, use(file)))
            results[-1] += (path.read_bytes(),)
        ours, builtin = results
        assert builtin == ours

    same("r", lambda file: (file.readline(), file.tell(), file.read(), list(file)))
    same("rb", lambda file: (file.seek(-3, os.SEEK_END), file.read(), file.readable()))
    same("r+b", lambda file: (file.read(2), file.write(b"x"), file.truncate(5)))
    same("r+", lambda file: (file.read(), file.write("three"), file.isatty()))
    same("w", lambda file: (file.write("new"), file.seekable(), file.readable()))
    same("wb", lambda file: (file.write(b"new"), file.truncate()))
    same("a", lambda file: (file.write("new"), file.tell(), file.writable()))
    same("xb", lambda file: file.write(b"new"))
    with theirs.open(folder / "r0", "rb", encoding="utf-8") as file:
        pass
    assert file.raw.closed
    with pytest.raises(ValueError, match="closed"):
        file.raw.read(1)


def test_a_file_system_that_does_not_answer_the_server_keeps_no_thread_of_it(
    theirs, folder, kernel_server, client_of, monkeypatch
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "workers"))
    fuse = importlib.import_module("client_fuse")
    answered = {"GETATTR", "LOOKUP", "OPEN", "STATFS", "ACCESS", "FLUSH"}
    mounted = fuse.FileSystem(folder, 70001, answered, ",allow_other", own={"GETATTR"})
    bob = client_of(kernel_server, "bob")

    async def work():
        files = [await theirs.aio.open(folder / "x") for _ in range(6)]
        await bob.aio.run(os.getuid)
        return files

    try:
        files = run(work())
        # Who asks what it is waits, until it is unmounted.
        before = mounted.asked.count("GETATTR")
        naive = threading.Thread(target=ask_kind, args=(files[0].fileno(),))
        naive.start()
        wait_until(lambda: mounted.asked.count("GETATTR") > before)
        assert naive.is_alive()
        for file in files:
            file.close()
    finally:
        mounted.close()
    naive.join(SECONDS)
    assert not naive.is_alive()


def ask_kind(descriptor):
    with pytest.raises(OSError, match=r"abort|not connected"):
        os.fstat(descriptor)


def opened(path):
    found = []
    for entry in os.scandir("/proc/self/fd"):
        try:
            found += [entry.name] if os.readlink(entry.path) == str(path) else []  # noqa: PTH115 - as scanned
        except FileNotFoundError:  # the one by which this is read
            continue
    return found


# --- processes --------------------------------------------------------------------


def test_a_process_has_streams_as_asyncio_gives_them(theirs):
    given = os.urandom(1 << 20)

    async def work():
        process = await theirs.aio.start(
            ["/usr/bin/tee", "/dev/stderr"], stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert process.pid > 0
        assert (given, given) == await process.communicate(given)
        return process

    process = run(work())
    assert 0 == process.returncode
    assert "AsyncClientProcess('/usr/bin/tee', ended with 0)" == repr(process)


def test_a_conversation_goes_line_by_line(theirs):
    async def work():
        process = await theirs.aio.start(["/bin/cat"], stdin=PIPE, stdout=PIPE)
        assert "runs" in repr(process)
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            await process.stdin.drain()
            assert line == await process.stdout.readline()
        process.stdin.close()
        assert b"" == await process.stdout.read()
        await process.stdin.wait_closed()
        assert 0 == await process.wait()

    run(work())


def test_signals_and_exit_codes_are_told(theirs):
    async def work():
        process = await theirs.aio.start(["/bin/sleep", "600"])
        process.terminate()
        assert -signal.SIGTERM == await process.wait()
        process = await theirs.aio.start(shell("exit 5"), stderr=STDOUT)
        assert (None, None) == await process.communicate()
        assert 5 == process.returncode
        with pytest.raises(InvalidRequestError, match="no such pipe"):
            await process.communicate(b"input")

    run(work())


def test_its_own_time_out_kills_it(theirs):
    async def work():
        process = await theirs.aio.start(["/bin/sleep", "600"], timeout=0.1)
        with pytest.raises(ProcessTimeoutError, match="was killed"):
            await process.wait()

    run(work())


def test_cancelling_a_wait_leaves_the_process_alone(theirs):
    async def work():
        async with await theirs.aio.start(["/bin/cat"], stdin=PIPE) as process:
            waiting = asyncio.create_task(process.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert process.returncode is None
        return process.returncode

    assert 0 == run(work())


def test_leaving_its_block_closes_pipes_that_nobody_read(theirs):
    async def work():
        argv = shell("yes | head -c 300000; echo wrong >&2")
        async with await theirs.aio.start(argv, stdout=PIPE, stderr=PIPE) as process:
            await process.stdout.read(1)
        return process.returncode

    assert run(work()) in {0, -signal.SIGPIPE}


def test_one_that_reads_nothing_ends_all_the_same(theirs):
    async def work():
        process = await theirs.aio.start(["/bin/true"], stdin=PIPE, stdout=PIPE)
        return await process.communicate(b"x" * (1 << 20))

    assert (b"", None) == run(work())


def test_a_terminal_is_read_and_written_by_streams(theirs):
    async def work():
        script = shell("read line; echo told $line; tty")
        process = await theirs.aio.start(script, terminal=True)
        process.stdin.write(b"typed\n")
        text = await process.stdout.read()
        process.stdin.close()
        assert 0 == await process.wait()
        return text

    text = run(work())
    assert b"told typed" in text
    assert b"/dev/pts/" in text


def test_what_cannot_be_started_says_why(theirs, kernel_server):
    with pytest.raises(KernelRefusedError) as refused:
        run(theirs.aio.start(["/no/such"]))
    number = refused.value.record
    _, record = next(kernel_server.trail.find(Query(after=number - 1)))
    assert AuditEvent.PROCESS_CREATED is record.event
    with pytest.raises(InvalidRequestError):
        run(theirs.aio.start("id"))


def test_the_client_lives_as_long_as_what_was_taken_of_it(kernel_server, client_of):
    aio = client_of(kernel_server, "alice").aio
    assert 70001 == run(aio.run(os.getuid))
