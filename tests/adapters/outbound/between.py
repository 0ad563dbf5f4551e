"""Whoever stands between a client and a server, and stops passing on what they say."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import Final

_SIZE: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)


class Between:
    """Passes on what a client and a server say, until it is told otherwise.

    Attributes:
        port: where it listens on 127.0.0.1.
        arrived: how many have come.
    """

    def __init__(self, far_port):
        """Take where it leads; None leads nowhere, and nobody is answered."""
        self._far_port = far_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.arrived = 0
        self._answers = None
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._is_answered = threading.Event()
        self._is_answered.set()
        self._ends, self._threads = [], []
        self._begin(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.thaw()
        self.cut()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        for each in self._ends:
            each.close()

    def freeze(self, after=0):
        """Say nothing more, once so many more answers were passed on; read nothing."""
        self._answers = after
        if not after:
            self._goes_on.clear()

    def thaw(self):
        """Go on as if nothing had been."""
        self._answers = None
        self._goes_on.set()

    @contextmanager
    def unanswered(self):
        """Pass on what clients say, and no answer until this ends."""
        self._is_answered.clear()
        try:
            yield
        finally:
            self._is_answered.set()

    def cut(self):
        """End what is connected, as a server that ends does."""
        for each in self._ends:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def reset(self):
        """End what is connected without a word (RST), as a machine that restarts."""
        for each in self._ends:
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.shutdown(socket.SHUT_RD)  # whoever reads it holds it
        for thread in self._threads[1:]:
            thread.join(60)
        for each in self._ends:
            each.close()

    def _begin(self, act, *arguments):
        thread = threading.Thread(target=act, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self.arrived += 1
                self._ends.append(near)
                if self._far_port is None:
                    continue
                far = socket.create_connection(("127.0.0.1", self._far_port))
                self._ends.append(far)
                self._begin(self._carry, near, far, False)
                self._begin(self._carry, far, near, True)

    def _carry(self, one, other, is_answer):
        with suppress(OSError):
            while True:
                self._goes_on.wait()
                said = one.recv(_SIZE)
                self._goes_on.wait()
                if is_answer:
                    self._is_answered.wait()
                other.sendall(said)
                if is_answer and self._answers is not None:
                    self._answers -= 1
                    if self._answers <= 0:
                        self._goes_on.clear()
                if not said:
                    other.shutdown(socket.SHUT_WR)
                    return
