"""The way to a witness: a local socket, or a program that speaks on its own ends.

A program (`ssh witness@elsewhere stead witness serve --stdio ...`) is given one end of
a pair of sockets, so both ways are one. Whatever fails, the way is closed; the next
question opens it again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from stead.errors import RemoteProtocolError, WitnessUnavailableError
from stead.ledger.witness_wire import (
    Answer,
    Frames,
    Question,
    read_answer,
    write_frame,
)

ANSWER_SECONDS: Final = 10.0
"""How long an answer may take."""

START_SECONDS: Final = 30.0
"""How long the first answer of a program may take: it logs on elsewhere, perhaps."""

_CHUNK: Final = 65_536
_END_SECONDS: Final = 2.0


class StreamWitnessLink:
    """Asks a witness over a stream."""

    def __init__(
        self,
        place: str | os.PathLike[str] | Sequence[str],
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Remember where it is; nothing is opened yet.

        Args:
            place: the path of a socket, or the words of a command.
            seconds: how long an answer may take.
        """
        is_path = isinstance(place, (str, os.PathLike))
        self._path: Final = Path(place) if is_path else None  # type: ignore[arg-type]
        self._command: Final = [] if is_path else [os.fspath(word) for word in place]  # type: ignore[union-attr]
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._frames = Frames()

    def ask(self, question: Question) -> Answer:
        """Ask and wait; raises `WitnessUnavailableError`."""
        try:
            is_first = self._socket is None
            connected = self._socket or self._open()
            is_slow = is_first and self._process is not None
            seconds = max(self._seconds, START_SECONDS) if is_slow else self._seconds
            connected.settimeout(seconds)
            connected.sendall(write_frame(question))
            return read_answer(self._frame(connected, seconds))
        except (OSError, RemoteProtocolError) as error:
            self.close()
            raise WitnessUnavailableError(
                f"the witness does not answer: {error}",
                advice="see that it runs, and that this server may reach it",
            ) from error

    def close(self) -> None:
        """Hang up; a program has a moment to end."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _frame(self, connected: socket.socket, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        while True:
            data = connected.recv(_CHUNK)
            if not data:
                raise RemoteProtocolError("it hung up")
            frames: Iterator[bytes] = self._frames.feed(data)
            frame = next(frames, None)
            if frame is not None:
                if self._frames.is_amid:
                    raise RemoteProtocolError("it answers more than was asked")
                return frame
            # A byte at a time would keep us for ever.
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer takes too long")
            connected.settimeout(left)

    def _open(self) -> socket.socket:
        self._frames = Frames()
        if self._path is not None:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                opened.settimeout(self._seconds)
                opened.connect(os.fspath(self._path))
            except BaseException:
                opened.close()
                raise
        else:
            opened = self._started()
        self._socket = opened
        return opened

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                close_fds=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours
