"""A client's process, as `subprocess.Popen` shows the server's own.

    with client.start(["/usr/bin/report"], stdout=PIPE) as process:
        pages, _ = process.communicate(timeout=60)

It runs as the client for good, started by the launcher and held by a keeper: what it
leaves behind ends with it, and it ends with its session.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Final, Self

from stead.errors import InvalidRequestError, ProcessTimeoutError
from stead.privileged.child import Child
from stead.server.acting.process_pipes import Ends, Exchange

_LOST: Final = -int(signal.SIGKILL)
_log: Final = logging.getLogger("stead.server")


class Life:
    """A client's process from its order to its end, as the server keeps it.

    Attributes:
        program: the program, as it was named.
        ends: descriptors of its pipes or its terminal, until somebody takes them.
        child: what its keeper is spoken to by.
        status: how it ended, as its keeper told; None as long as nobody knows.
        is_overdue: whether its own time-out ended it.
        is_given_up: whether nobody was handed it.
    """

    __slots__ = (
        "_is_over", "_lock", "_when_over", "child", "ends", "is_given_up", "is_overdue",
        "program", "status",
    )  # fmt: skip

    def __init__(self, program: str, ends: Ends) -> None:
        self.program: Final = program
        self.ends: Final = ends
        self.child: Child  # set by whoever orders it, before anybody sees this
        self.status: int | None = None
        self.is_overdue = self.is_given_up = False
        self._lock = threading.Lock()
        self._when_over: list[Callable[[], object]] = []
        self._is_over = False

    def when_over(self, act: Callable[[], object]) -> None:
        """Do something, that waits for nothing, once it is over; now, if it is."""
        with self._lock:
            if not self._is_over:
                self._when_over.append(act)
                return
        act()

    def over(self, status: int | None) -> None:
        """Do what is to be done now that nothing is left of the process.

        One act that fails keeps no other from being done: a client's place and its hold
        on the session are given back by such acts.
        """
        with self._lock:
            self._is_over, self.status = True, status
            acts, self._when_over = self._when_over, []
        for act in acts:
            try:
                act()
            except Exception:  # noqa: BLE001 - the outermost there is for each of them
                _log.exception("an act at the end of `%s` failed", self.program)

    def overdue(self) -> None:
        """Kill the process and everything below it, because its time is up."""
        if not self.child.ended.done():
            self.is_overdue = True
            self.child.end()

    def give_up(self) -> None:
        """Kill the process, which nobody will be handed, and close its pipes."""
        self.is_given_up = True
        self.child.end()
        self.ends.close()

    @property
    def returncode(self) -> int | None:
        """The exit code, or the signal's number negated; None while it runs.

        A process whose keeper was lost is killed by the kernel, and counts as killed.
        """
        if not self.child.ended.done():
            return None
        status = self.child.ended.result()
        return _LOST if status is None else status

    def too_late(self) -> ProcessTimeoutError:
        """Return the error that says that the process's own time-out ended it."""
        return ProcessTimeoutError(
            f"`{self.program}` did not end in time and was killed"
        )


class ClientProcess:
    """One process of a client.

    Attributes:
        stdin: what it reads, to be written, if it was started with PIPE.
        stdout: what it writes, to be read, if it was started with PIPE.
        stderr: likewise.
        terminal: the other side of its terminal, unbuffered, if it has one; reading
            raises `OSError` (EIO) once nobody is left behind it.
    """

    def __init__(self, life: Life) -> None:
        """Take over a process that has started, and its pipes."""
        self._life = life
        stdin, stdout, stderr, terminal = life.ends.take()
        self.stdin: Final[IO[bytes] | None] = (
            None if stdin is None else _Feed(io.FileIO(stdin, "wb"))
        )
        self.stdout: Final[IO[bytes] | None] = _opened(stdout, "rb")
        self.stderr: Final[IO[bytes] | None] = _opened(stderr, "rb")
        self.terminal: Final[IO[bytes] | None] = (
            None if terminal is None else os.fdopen(terminal, "r+b", buffering=0)
        )
        self._exchange: Exchange | None = None

    @property
    def pid(self) -> int:
        """Its number on this host; it may be another's once this one has ended."""
        return self._life.child.started.result()

    @property
    def returncode(self) -> int | None:
        """The exit code, or the signal's number negated; None while it runs.

        A process whose keeper was lost is killed by the kernel, and counts as killed.
        """
        return self._life.returncode

    def poll(self) -> int | None:
        """Return `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until nothing is left of the process's tree; return its exit code.

        Raises:
            ProcessTimeoutError: it has not ended in `timeout` seconds, and goes on; or
                the time-out it was started with has ended it.
        """
        status = self._settled(timeout)
        if self._life.is_overdue:
            raise self._life.too_late()
        return status

    def _settled(self, timeout: float | None = None) -> int:
        try:
            self._life.child.ended.result(timeout)
        except TimeoutError:
            raise ProcessTimeoutError(
                f"`{self._life.program}` did not end in {timeout} seconds, and goes on"
            ) from None
        return self._life.returncode or 0

    def communicate(
        self,
        input: bytes | None = None,  # noqa: A002 - the word of `subprocess`
        timeout: float | None = None,
    ) -> tuple[bytes | None, bytes | None]:
        """Write `input`, read stdout and stderr to their ends, and wait.

        Returns:
            what came by stdout and stderr; None where there is no pipe.

        Raises:
            ProcessTimeoutError: as `wait`; nothing that came is lost, and a later call
                goes on.
            InvalidRequestError: there is input and no pipe for it, or a terminal.
        """
        if (input is not None and self.stdin is None) or self.terminal is not None:
            raise InvalidRequestError(
                "the process has no such pipe",
                advice="start it with `stdin=PIPE`; write to and read from "
                "`process.terminal`",
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._exchange is None:
            pairs = (("stdout", self.stdout), ("stderr", self.stderr))
            outputs = {name: stream for name, stream in pairs if stream is not None}
            self._exchange = Exchange(self.stdin, outputs)
        came = self._exchange.run(input, deadline)
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        return came.get("stdout"), came.get("stderr")

    def send_signal(self, number: int) -> None:
        """Send a signal to the process itself; one that has ended gets none."""
        self._life.child.signal(number)

    def terminate(self) -> None:
        """Send SIGTERM to the process itself."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and everything below it."""
        self._life.child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the pipes and wait, as `subprocess.Popen` does.

        In a process that was forked from the server there is nothing to wait for: the
        program is the server's.
        """
        self._close()
        if not self._life.child.is_copy:
            self._settled()

    def _close(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr, self.terminal):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def __del__(self) -> None:
        # Forgotten: its pipes are closed, and it goes on until its session ends.
        if hasattr(self, "terminal"):
            if isinstance(self.stdin, _Feed):
                self.stdin.drop()
            self._close()

    def __repr__(self) -> str:
        state = "runs" if self.returncode is None else f"ended with {self.returncode}"
        return f"ClientProcess({self._life.program!r}, {state})"


class _Feed(io.BufferedWriter):
    """What a process reads. Forgotten, it waits for nobody to read what is left.

    The client need not ever do that, and whatever thread happens to forget it would
    wait. It holds by itself, too: in a cycle, who has it may be forgotten after it.
    """

    def drop(self) -> None:
        """Close it at once; what was not flushed is lost."""
        self.raw.close()

    def __del__(self) -> None:
        self.drop()


def _opened(descriptor: int | None, mode: str) -> IO[bytes] | None:
    return None if descriptor is None else os.fdopen(descriptor, mode)
