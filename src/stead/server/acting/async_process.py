"""A client's process, as `asyncio.subprocess` shows the server's own."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from contextlib import ExitStack, suppress
from typing import IO, Final, Self, TypeAlias

from stead.errors import InvalidRequestError
from stead.server.acting.loops import when_told
from stead.server.acting.processes import Life

Output: TypeAlias = tuple[StreamReader, asyncio.ReadTransport]
"""What is read from, and what feeds it."""


class AsyncClientProcess:
    """One process of a client.

    Attributes:
        stdin: what it reads, to be written, if it was started with PIPE or a terminal.
        stdout: what it writes, to be read, likewise.
        stderr: likewise, if it was started with PIPE.
    """

    def __init__(
        self, life: Life, stdin: StreamWriter | None, *outputs: Output | None
    ) -> None:
        """Take over a process that has started, and its streams; see `of`."""
        stdout, stderr = outputs
        self._life = life
        self._outputs = [output for output in outputs if output is not None]
        self.stdin: Final = stdin
        self.stdout: Final = None if stdout is None else stdout[0]
        self.stderr: Final = None if stderr is None else stderr[0]

    @classmethod
    async def of(cls, life: Life) -> Self:
        """Return the process, with streams over its pipes or its terminal."""
        stdin, stdout, stderr, terminal = life.ends.take()
        with ExitStack() as undo:
            writing = _opened(stdin if terminal is None else terminal, "wb", undo)
            if terminal is not None:
                stdout = os.dup(terminal)
            outputs = [
                _opened(descriptor, "rb", undo) for descriptor in (stdout, stderr)
            ]
            writer = None if writing is None else await _writer(writing, undo)
            readers = [
                None if one is None else await _reader(one, undo) for one in outputs
            ]
            undo.pop_all()
        return cls(life, writer, *readers)

    @property
    def pid(self) -> int:
        """Its number on this host; it may be another's once this one has ended."""
        return self._life.child.started.result()

    @property
    def returncode(self) -> int | None:
        """The exit code, or the signal's number negated; None while it runs."""
        return self._life.returncode

    async def wait(self) -> int:
        """Wait until nothing is left of the process's tree; return its exit code.

        Cancelling this leaves the process alone.

        Raises:
            ProcessTimeoutError: the time-out it was started with has ended it.
        """
        status = await self._settled()
        if self._life.is_overdue:
            raise self._life.too_late()
        return status

    async def _settled(self) -> int:
        await when_told(self._life.child.ended.add_done_callback)
        return self._life.returncode or 0

    async def communicate(
        self,
        input: bytes | None = None,  # noqa: A002 - the word of `asyncio.subprocess`
    ) -> tuple[bytes | None, bytes | None]:
        """Write `input`, read stdout and stderr to their ends, and wait.

        Returns:
            what came by stdout and stderr; None where there is no pipe.

        Raises:
            ProcessTimeoutError: as `wait`.
            InvalidRequestError: there is input, and no pipe for it.
        """
        if input is not None and self.stdin is None:
            raise InvalidRequestError(
                "the process has no such pipe", advice="start it with `stdin=PIPE`"
            )
        came = await asyncio.gather(
            self._feed(input), _all_of(self.stdout), _all_of(self.stderr)
        )
        await self.wait()
        return came[1], came[2]

    async def _feed(self, given: bytes | None) -> None:
        if self.stdin is not None:
            with suppress(ConnectionError):  # it reads no more
                if given:
                    self.stdin.write(given)
                    await self.stdin.drain()
            self.stdin.close()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process itself; one that has ended gets none."""
        self._life.child.signal(number)

    def terminate(self) -> None:
        """Send SIGTERM to the process itself."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and everything below it."""
        self._life.child.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the pipes and wait."""
        if self.stdin is not None:
            self.stdin.close()
        for _, transport in self._outputs:
            transport.close()
        await self._settled()

    def __repr__(self) -> str:
        state = "runs" if self.returncode is None else f"ended with {self.returncode}"
        return f"AsyncClientProcess({self._life.program!r}, {state})"


class _Reading(StreamReaderProtocol):
    """Feeds a reader, or tells a writer when it may go on."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End the stream; a terminal's ends with an error, where nobody has it open."""
        is_end = isinstance(exc, OSError) and exc.errno == errno.EIO
        super().connection_lost(None if is_end else exc)


# What is connected leaves the loop before its file is closed: the loop would go on to
# know the number, and whoever gets it next would not be listened to. A connecting that
# is called off closes its transport itself.


async def _reader(file: IO[bytes], undo: ExitStack) -> Output:
    reader = StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: _Reading(reader), file)
    undo.callback(transport.close)
    return reader, transport


async def _writer(file: IO[bytes], undo: ExitStack) -> StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: _Reading(StreamReader()), file
    )
    undo.callback(transport.close)
    return StreamWriter(transport, protocol, None, loop)


def _opened(descriptor: int | None, mode: str, undo: ExitStack) -> IO[bytes] | None:
    if descriptor is None:
        return None
    file = os.fdopen(descriptor, mode, buffering=0)
    undo.callback(file.close)
    return file


async def _all_of(reader: StreamReader | None) -> bytes | None:
    return None if reader is None else await reader.read()
