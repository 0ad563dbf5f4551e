"""The server's end of the process in which PAM runs: its start, its end, its lanes."""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from stead.adapters.pam.outcomes import unavailable
from stead.adapters.pam.worker import LONGEST_REPLY, MARK
from stead.errors import DirectoryUnavailableError, RemoteProtocolError
from stead.privileged.broker_wire import LONGEST_ANSWER, hear, say
from stead.privileged.launcher_process import execute

_log: Final = logging.getLogger(__name__)

_PROGRAM: Final = "stead.adapters.pam.worker"
_GRACE: Final = 2.0  # seconds for the worker to say that somebody hung
_REST: Final = 1.0  # seconds before a worker that ended is started again


class PamProcess:
    """The process in which children ask PAM, and the lanes to it.

    One that ends is started again by a thread that is always the server: whoever logs
    on may be in a block, and starts nothing. The same thread takes the lanes that the
    process opens in place of those that were closed: who is interrupted while PAM is
    asked, wherever that is, leaves one behind that is nobody's any more.

    Args:
        seconds: how long PAM may take.
        at_once: how many lanes there are.
        service: the service file.

    Raises:
        DirectoryUnavailableError: the process cannot be started.
    """

    def __init__(self, seconds: float, at_once: int, service: Path) -> None:
        self._service = service
        self._pid = os.getpid()
        self._seconds = seconds
        self._at_once = at_once
        self._lanes: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self._trouble = ""
        # Who closes the control socket, and who shuts it down, are two threads.
        self._lock = threading.Lock()
        self._process, self._control = self._start()
        self._watcher = threading.Thread(
            target=self._watch, name="stead-pam", daemon=True
        )
        self._watcher.start()

    def ask(self, request: bytes) -> bytes:
        """Have one request answered.

        Raises:
            DirectoryUnavailableError: it is not answered.
        """
        if os.getpid() != self._pid:
            raise unavailable(
                "pam was made ready by another process; make it after the fork"
            )
        if self._is_closed.is_set():
            raise unavailable("pam was closed; keep its block open around the server's")
        try:
            lane = self._lanes.get(timeout=self._seconds)
        except queue.Empty:
            why = self._trouble or "too many ask pam at once"
            raise unavailable(why) from None
        return self._ask_by(lane, request)

    def _ask_by(self, lane: socket.socket, request: bytes) -> bytes:
        """Ask on a lane, and have it be free again, or closed.

        An answer to somebody else's is none: two processes that share a lane would
        take each other's clients for their own.
        """
        mark, answer = secrets.token_bytes(MARK), b""
        why = "the process in which pam runs has ended"
        try:
            lane.send(mark + request)
            answer = lane.recv(MARK + LONGEST_REPLY)
        except TimeoutError:
            why = "the process in which pam runs did not answer in time"
        except OSError:
            pass
        finally:
            # What is still to come on it, nobody who asks next may hear.
            if answer[:MARK] == mark:
                self._lanes.put(lane)
            else:
                lane.close()
        if answer[:MARK] != mark:
            raise unavailable(why)
        return answer[MARK:]

    def close(self) -> None:
        """End the process and all that it has started; again does nothing."""
        if self._is_closed.is_set() or os.getpid() != self._pid:
            return
        self._is_closed.set()
        self._end_control()
        self._watcher.join()

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Start the process, and have its lanes.

        Raises:
            DirectoryUnavailableError: it cannot be started.
        """
        ours: list[socket.socket] = []
        theirs: list[socket.socket] = []
        try:
            for _ in range(1 + self._at_once):
                near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ours.append(near)
                theirs.append(far)
            process = self._executed(ours[0], *theirs)
        except BaseException as error:
            for near in ours:
                near.close()
            if isinstance(error, OSError):
                words = f"the process for pam cannot be started: {error}"
                raise unavailable(words) from error
            raise
        finally:
            for far in theirs:
                far.close()
        for near in ours[1:]:
            self._have(near)
        return process, ours[0]

    def _executed(
        self, control: socket.socket, theirs: socket.socket, *lanes: socket.socket
    ) -> subprocess.Popen[bytes]:
        path = [entry for entry in sys.path if entry.startswith("/")]
        begin = {
            "path": path,
            "program": _PROGRAM,
            "seconds": self._seconds,
            "service": self._service.name,
            "folder": str(self._service.parent),
        }
        control.send(json.dumps(begin).encode())
        say(control, {}, [lane.fileno() for lane in lanes])
        return execute(theirs.fileno())

    def _have(self, lane: socket.socket) -> None:
        lane.settimeout(self._seconds + _GRACE)
        self._lanes.put(lane)

    # --- the thread -------------------------------------------------------------------

    def _watch(self) -> None:
        """Start another worker whenever one has ended."""
        while True:
            self._take_lanes()
            self._clear()
            if self._is_closed.wait(_REST):
                return
            _log.error("the process for pam ended; another is started")
            self._start_again()

    def _take_lanes(self) -> None:
        """Take the lanes that the process opens, until it ends or is to end."""
        while True:
            try:
                heard = hear(self._control, LONGEST_ANSWER, 1)
            except RemoteProtocolError:  # the server takes no descriptor now
                continue  # the process sees that it is closed, and opens another
            except OSError:
                return
            if heard is None:
                return
            for descriptor in heard[1]:
                self._have(socket.socket(fileno=descriptor))

    def _clear(self) -> None:
        """End a process that has ended by itself, or is to, and all of its lanes."""
        with self._lock:
            self._control.close()
        with suppress(queue.Empty):
            while True:
                self._lanes.get_nowait().close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._process.kill()
        self._process.wait()

    def _start_again(self) -> None:
        try:
            self._process, self._control = self._start()
        except (DirectoryUnavailableError, MemoryError) as error:
            self._trouble = str(error)
            return
        self._trouble = ""
        if self._is_closed.is_set():  # whoever did that saw the one before
            self._end_control()

    def _end_control(self) -> None:
        """Have the process end, and the thread hear of it."""
        with self._lock, suppress(OSError):  # it has ended already
            self._control.shutdown(socket.SHUT_RDWR)
