"""The witness's own loop: connections on a local socket, or one on its own ends.

Who may connect is told by the kernel: the uids that are named, beside the witness's own
and root. A connection that sends what is no question is closed; one that stops in the
middle of a frame, too.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from stead.errors import RemoteProtocolError
from stead.ledger.witness import Witness
from stead.ledger.witness_wire import Frames, read_question, write_frame
from stead.privileged.binding import bind
from stead.privileged.peers import peer_credentials

MOST_CONNECTIONS: Final = 32

_CHUNK: Final = 65_536
_FRAME_SECONDS: Final = 30.0
_LOOK_AGAIN: Final = 0.2
_EVERYBODY: Final = 0o666


class WitnessService:
    """Serves one witness."""

    def __init__(self, witness: Witness, report: Callable[[str], None]) -> None:
        """Take the witness.

        Args:
            witness: what answers.
            report: told, in one line, who was turned away and why.
        """
        self._witness = witness
        self._report = report
        self._open: dict[threading.Thread, socket.socket] = {}
        self._stop = threading.Event()

    def stop(self) -> None:
        """End what `listen` does; may be called by a signal handler."""
        self._stop.set()

    def listen(
        self, path: Path, uids: Collection[int], ready: Callable[[], None]
    ) -> None:
        """Answer on a local socket until `stop`.

        Args:
            path: where; absolute.
            uids: who may connect, beside root and this process's own.
            ready: called when it can be connected to.
        """
        allowed = {0, os.geteuid(), *uids}
        binding = bind(path, _EVERYBODY)
        try:
            ready()
            while not self._stop.is_set():
                found, _, _ = select.select([binding.listener], [], [], _LOOK_AGAIN)
                if found:
                    self._accept(binding.listener, allowed)
        finally:
            binding.release()
            self._hang_up()

    def speak(self, read: int, write: int) -> None:
        """Answer on two descriptors until the other side hangs up."""
        self._converse(
            lambda seconds: _read(read, seconds),
            lambda data: _write(write, data),
        )

    def _accept(self, listener: socket.socket, allowed: Collection[int]) -> None:
        try:
            connected, _ = listener.accept()
        except OSError:
            return  # it went away before
        try:
            uid = peer_credentials(connected)[1]
        except (OSError, RemoteProtocolError):
            connected.close()
            return
        if uid not in allowed:
            self._report(f"uid {uid} was turned away")
            connected.close()
        elif len(self._open) >= MOST_CONNECTIONS:
            self._report("too many connections: one was turned away")
            connected.close()
        else:
            thread = threading.Thread(target=self._serve, args=(connected,))
            thread.daemon = True
            self._open[thread] = connected
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        descriptor = connected.fileno()
        try:
            with connected:
                connected.settimeout(_FRAME_SECONDS)
                self._converse(
                    lambda seconds: _read(descriptor, seconds), connected.sendall
                )
        finally:
            self._open.pop(threading.current_thread(), None)

    def _hang_up(self) -> None:
        """End every connection: nobody may touch what the witness has after this."""
        for thread, connected in tuple(self._open.items()):
            with suppress(OSError):  # it went away before
                connected.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _converse(
        self,
        read: Callable[[float | None], bytes],
        write: Callable[[bytes], object],
    ) -> None:
        frames = Frames()
        try:
            while data := read(_FRAME_SECONDS if frames.is_amid else None):
                for frame in frames.feed(data):
                    write(write_frame(self._witness.answer(read_question(frame))))
        except RemoteProtocolError as error:
            self._report(f"a connection was closed: {error}")
        except OSError:
            return  # it went away


def _read(descriptor: int, seconds: float | None) -> bytes:
    found, _, _ = select.select([descriptor], [], [], seconds)
    if not found:
        raise RemoteProtocolError("a frame does not come to its end")
    return os.read(descriptor, _CHUNK)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
