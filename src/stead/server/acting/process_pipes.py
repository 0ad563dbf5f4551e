"""The ends of pipes and terminals between the server and a client's process.

The client owns its ends, where the server is root: what opens `/dev/stdout`, or the
terminal by name, must be let in. The server's ends are inherited by nobody.
"""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, Final

from stead.errors import InvalidRequestError, ProcessTimeoutError
from stead.model.arguments import require_kind
from stead.model.posix_identity import PosixIdentity
from stead.server.acting.process_plan import Plan, Stream

_GIVEN: Final = (bytes, bytearray, memoryview, type(None))
_ONE_PIECE: Final = 65_536
_TERMINAL_MODE: Final = 0o600


@dataclass(slots=True, eq=False)
class Ends:
    """Descriptors on both sides of a process that is about to start.

    Attributes:
        theirs: what becomes the process's stdin, stdout and stderr.
        borrowed: those of them that the caller keeps.
        stdin: our end of it, or None.
        stdout: likewise.
        stderr: likewise.
        terminal: our end of its terminal, or None.
    """

    theirs: tuple[int, int, int]
    borrowed: frozenset[int]
    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    terminal: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def close_theirs(self) -> None:
        """Close what the process has by now, or never will; again does nothing."""
        for descriptor in {*self.theirs} - self.borrowed:
            os.close(descriptor)
        self.borrowed |= {*self.theirs}

    def close(self) -> None:
        """Close everything that is not handed on."""
        self.close_theirs()
        for descriptor in self.take():
            if descriptor is not None:
                os.close(descriptor)

    def take(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Hand over our ends, once: stdin, stdout, stderr, terminal.

        Who gives a process up and who hears that it never began may be two threads.
        """
        with self._lock:
            taken = (self.stdin, self.stdout, self.stderr, self.terminal)
            self.stdin = self.stdout = self.stderr = self.terminal = None
        return taken


def open_ends(plan: Plan, owner: PosixIdentity) -> Ends:
    """Open what a plan asks for, for a process that `owner` will be.

    Raises:
        InvalidRequestError: a stream is none.
        OSError: the server has no descriptor left.
    """
    with ExitStack() as undo:
        ends = _terminal(owner, undo) if plan.terminal else _streams(plan, owner, undo)
        undo.pop_all()
    return ends


def _terminal(owner: PosixIdentity, undo: ExitStack) -> Ends:
    master, slave = os.openpty()
    undo.callback(os.close, master)
    undo.callback(os.close, slave)
    os.fchmod(slave, _TERMINAL_MODE)
    _give(slave, owner)
    return Ends((slave, slave, slave), frozenset(), terminal=master)


def _streams(plan: Plan, owner: PosixIdentity, undo: ExitStack) -> Ends:
    borrowed: set[int] = set()

    def one(stream: Stream, *, is_input: bool) -> tuple[int, int | None]:
        """Return the process's end, and ours if there is one."""
        if stream is None or stream == DEVNULL:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            undo.callback(os.close, null)
            return null, None
        if stream == PIPE:
            reading, writing = _pipe(owner, undo)
            return (reading, writing) if is_input else (writing, reading)
        given = _descriptor(stream)
        borrowed.add(given)
        return given, None

    stdin, our_stdin = one(plan.stdin, is_input=True)
    stdout, our_stdout = one(plan.stdout, is_input=False)
    if plan.stderr == STDOUT:
        stderr, our_stderr = stdout, None
    else:
        stderr, our_stderr = one(plan.stderr, is_input=False)
    return Ends(
        (stdin, stdout, stderr),
        frozenset(borrowed),
        stdin=our_stdin,
        stdout=our_stdout,
        stderr=our_stderr,
    )


def _pipe(owner: PosixIdentity, undo: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    undo.callback(os.close, reading)
    undo.callback(os.close, writing)
    _give(reading, owner)  # both ends are one file
    return reading, writing


def _give(descriptor: int, owner: PosixIdentity) -> None:
    """Make the client its owner, if this server may.

    One without root may not, and no broker does it for it: it would give away whatever
    else a server can open. The process has it all the same, but not by its name.
    """
    try:
        os.fchown(descriptor, owner.uid, owner.gid)
    except PermissionError:
        if os.geteuid() == 0:
            raise


def _descriptor(stream: Stream) -> int:
    """Return the descriptor of what is open here."""
    try:
        number = stream if isinstance(stream, int) else stream.fileno()  # type: ignore[union-attr]  # None is dealt with by the caller
        os.fstat(number)
    except (AttributeError, OSError, TypeError, ValueError):
        raise InvalidRequestError("a stream is no open file") from None
    return number


# --- feeding and reading at once ------------------------------------------------------


class Exchange:
    """Writes to a process and reads from it at once, so that neither waits for ever.

    What a call that timed out has written and read is kept for the next one. A pipe is
    the client's: between a look at it and what is done then, the client may take back
    what it wrote, or fill what had room. So our ends do not wait meanwhile.
    """

    def __init__(
        self, stdin: IO[bytes] | None, outputs: Mapping[str, IO[bytes]]
    ) -> None:
        self._stdin = stdin
        self._outputs = dict(outputs)
        self._read = {name: bytearray() for name in outputs}
        self._unsent: memoryview | None = None

    def run(self, given: bytes | None, deadline: float | None) -> dict[str, bytes]:
        """Send all, read all that comes until the ends are closed, and return that.

        Raises:
            ProcessTimeoutError: the time is up; nothing is lost.
        """
        if self._unsent is None:
            require_kind("input", given, _GIVEN, "it is bytes: encode text")
            self._unsent = memoryview(given or b"").cast("B")
        with ExitStack() as undo:
            selector = undo.enter_context(selectors.DefaultSelector())
            self._register(selector, undo)
            while selector.get_map():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left < 0:
                    raise ProcessTimeoutError("the process has not closed its ends yet")
                for key, _ in selector.select(left):
                    self._move(selector, key)
        return {name: bytes(content) for name, content in self._read.items()}

    def _register(self, selector: selectors.BaseSelector, undo: ExitStack) -> None:
        if self._stdin is not None and not self._stdin.closed:
            _never_wait(self._stdin, undo)
            if self._write(self._stdin):  # to close it, it need not have room
                _close(self._stdin)
            else:
                selector.register(self._stdin, selectors.EVENT_WRITE)
        for name, stream in self._outputs.items():
            if not stream.closed:
                _never_wait(stream, undo)
                selector.register(stream, selectors.EVENT_READ, name)

    def _move(
        self, selector: selectors.BaseSelector, key: selectors.SelectorKey
    ) -> None:
        stream: IO[bytes] = key.fileobj  # type: ignore[assignment]  # as registered
        is_output = key.data is not None
        if self._take(stream, key.data) if is_output else self._write(stream):
            selector.unregister(stream)
            _close(stream)

    def _take(self, stream: IO[bytes], name: str) -> bool:
        """Read a little; return whether that was the end."""
        try:
            came = os.read(stream.fileno(), _ONE_PIECE)
        except BlockingIOError:  # somebody else has read it meanwhile
            return False
        self._read[name] += came
        return not came

    def _write(self, stdin: IO[bytes]) -> bool:
        """Write a little; return whether that was all, or nobody reads it."""
        unsent = self._unsent or memoryview(b"")
        try:
            stdin.flush()  # what was written before
            written = os.write(stdin.fileno(), unsent[:_ONE_PIECE])
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        self._unsent = unsent[written:]
        return not self._unsent


def _never_wait(stream: IO[bytes], undo: ExitStack) -> None:
    """Have a stream refuse what would wait, until that is undone."""

    def restore() -> None:
        if not stream.closed:
            os.set_blocking(stream.fileno(), was_blocking)

    was_blocking = os.get_blocking(stream.fileno())
    undo.callback(restore)
    os.set_blocking(stream.fileno(), False)


def _close(stream: IO[bytes]) -> None:
    """Close a stream that never waits; what nobody took is lost."""
    with suppress(BlockingIOError, BrokenPipeError):
        stream.close()
