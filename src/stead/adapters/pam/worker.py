"""Where PAM's modules run for a server that is root: a process for each attempt.

The server starts one of these and keeps it. It has one socket, a *lane*, for each
attempt that may be under way at once. One that the server closes, since whoever asked
was interrupted or gave up, is replaced when that attempt is over: the server gets its
end of another by the control socket.

Each request on a lane is one child's, which asks PAM and ends. Children are forked
ahead, so that nobody waits for that. A module that hangs is killed with all that it has
started in its session, one that crashes takes nobody along, and what it leaves in
memory nobody finds.

It ends with the server, whose end of the control socket closes then.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from stead.adapters.pam.attempt import Attempt
from stead.adapters.pam.conversation import PamStatus, libraries
from stead.errors import (
    DirectoryUnavailableError,
    EnforcementUnavailableError,
    SteadError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged.broker_wire import LONGEST_ANSWER, hear, say
from stead.privileged.name_service import open_host_names

MARK: Final = 16
"""Bytes that a request begins with, and the answer to it as well."""
LONGEST_REQUEST: Final = 8192
LONGEST_REPLY: Final = 192 * 1024  # what a socket's buffer takes in one piece
MOST_LANES: Final = 64
HUNG: Final = b'{"unavailable": "pam did not answer in time"}'
CRASHED: Final = b'{"unavailable": "pam ended without an answer"}'
_PAUSE: Final = 0.2  # seconds before lanes that were closed are replaced
_SPARES: Final = 2  # children that wait for a request
_DUMPABLE: Final = 4
_DIE_WITH_PARENT: Final = 1
_LOOK_AGAIN: Final = 0.2  # seconds, while killed children are still there
_REST: Final = 0.02  # seconds after an answer, in which whoever got it has work to do


@dataclass(frozen=True, slots=True, eq=False)
class _Child:
    """One that waits for its request.

    Attributes:
        answer: where that goes, and where its word comes from.
        pid: its number, and that of its session.
    """

    answer: socket.socket
    pid: int


@dataclass(slots=True, eq=False)
class _Request:
    """One request that is being answered.

    Attributes:
        lane: where its request came from.
        mark: what the answer begins with.
        child: who is at it.
        gives_up_at: when that is killed, in monotonic seconds.
    """

    lane: socket.socket
    mark: bytes
    child: _Child
    gives_up_at: float


def serve(control: socket.socket, document: dict[str, Any]) -> None:
    """Answer requests until the server is gone; see ``bootstrap``."""
    ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)
    heard = hear(control, LONGEST_ANSWER, MOST_LANES)
    if heard is None:
        return
    with suppress(SteadError):  # what every child needs is loaded before it is forked
        libraries()
        open_host_names()
    # A collection would touch, and so copy, every page that a child shares.
    gc.disable()
    gc.freeze()
    service = Path(document["folder"]) / document["service"]
    Worker(control, heard[1], float(document["seconds"]), service).run()


class Worker:
    """The lanes, and the children at work.

    Args:
        control: ends with the server.
        lanes: descriptors of sockets.
        seconds: how long an attempt may take.
        service: the service file.
    """

    def __init__(
        self,
        control: socket.socket,
        lanes: tuple[int, ...],
        seconds: float,
        service: Path,
    ) -> None:
        self._service = service
        self._control = control
        self._seconds = seconds
        self._lanes = {fd: socket.socket(fileno=fd) for fd in lanes}
        self._most_lanes = len(lanes)
        self._replaced_at: float | None = None
        self._spares: list[_Child] = []
        self._requests: dict[int, _Request] = {}
        self._done: list[tuple[float, _Child]] = []
        self._ending: set[int] = set()

    def run(self) -> None:
        """Answer until the control socket says something, which is its end."""
        while not self._turn():
            pass
        at_work = [one.child for one in self._requests.values()]
        for child in (*self._spares, *at_work, *(child for _, child in self._done)):
            self._kill(child)

    def _turn(self) -> bool:
        """Wait for what comes next and see to it; True at the end."""
        self._make_ready()
        busy = {one.lane.fileno() for one in self._requests.values()}
        poll = select.poll()
        for fd in (self._control.fileno(), *self._requests, *(set(self._lanes) - busy)):
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(self._patience()):
            if fd == self._control.fileno():
                return True
            if fd in self._requests:
                self._hear(self._requests[fd])
            else:
                self._begin(self._lanes[fd])
        now = time.monotonic()
        for request in tuple(self._requests.values()):
            if request.gives_up_at <= now:
                self._answer(request, HUNG)
                self._kill(request.child)
        while self._done and self._done[0][0] <= now:
            self._kill(self._done.pop(0)[1])
        if self._replaced_at is not None and self._replaced_at <= now:
            self._replace_lanes()
        self._reap()
        return False

    def _patience(self) -> int | None:
        """Return milliseconds until something is to be done; None for never."""
        moments = [one.gives_up_at for one in self._requests.values()]
        moments += [at for at, _ in self._done[:1]]  # the last of them ends the rest
        left = [max(0.0, moment - time.monotonic()) for moment in moments]
        if self._ending:
            left.append(_LOOK_AGAIN)
        if self._replaced_at is not None:
            left.append(max(0.0, self._replaced_at - time.monotonic()))
        return int(min(left) * 1000) + 1 if left else None

    def _begin(self, lane: socket.socket) -> None:
        request = bytearray(LONGEST_REQUEST)
        size = 0
        with suppress(OSError):  # an answer was not read there: nobody is left
            size = lane.recv_into(request)
        if not size:
            self._lose(lane)
            return
        mark = bytes(request[:MARK])
        try:
            child = self._handed(memoryview(request)[MARK:size])
        except OSError as error:
            self._say(lane, mark + _no_process(error))
            return
        finally:
            request[:] = bytes(len(request))  # it holds a password
        until = time.monotonic() + self._seconds
        self._requests[child.answer.fileno()] = _Request(lane, mark, child, until)

    def _lose(self, lane: socket.socket) -> None:
        """Use a lane no more; another takes its place after a pause."""
        del self._lanes[lane.fileno()]
        lane.close()
        if self._replaced_at is None:
            self._replaced_at = time.monotonic() + _PAUSE

    def _replace_lanes(self) -> None:
        """Have as many lanes as at first, or try again after a pause."""
        self._replaced_at = None
        try:
            while len(self._lanes) < self._most_lanes:
                self._open_lane()
        except OSError:  # it, or the server, takes none now
            self._replaced_at = time.monotonic() + _PAUSE

    def _open_lane(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                say(self._control, {}, [theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        self._lanes[ours.fileno()] = ours

    def _handed(self, request: memoryview) -> _Child:
        """Hand a request to a child, one that lives.

        Raises:
            OSError: there is none, and none can be started.
        """
        while True:
            child = self._spares.pop() if self._spares else self._fork()
            try:
                child.answer.send(request)
            except OSError:  # somebody has ended it
                self._kill(child)
            else:
                return child

    def _make_ready(self) -> None:
        """Have children wait, whom nobody has to wait for.

        One is enough while somebody waits for an answer: to fork takes the processor
        that PAM may need. Right after an answer whoever got it needs that.
        """
        wanted = _SPARES
        if self._requests:
            wanted = 1
        elif self._done:
            wanted = 0
        # Where there are no more processes, whoever asks next is told, and nobody else.
        with suppress(OSError):
            while len(self._spares) < wanted:
                self._spares.append(self._fork())

    def _fork(self) -> _Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except BaseException:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            ours.close()
            self._be_child(theirs)
        theirs.close()
        return _Child(ours, pid)

    def _be_child(self, answer: socket.socket) -> NoReturn:
        """Wait for a request, ask PAM, say what came of it, and end."""
        try:
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
            os.setsid()  # what a module starts is killed with it
            others = [spare.answer for spare in self._spares]
            others += [one.child.answer for one in self._requests.values()]
            others += [child.answer for _, child in self._done]
            for each in (self._control, *self._lanes.values(), *others):
                each.close()
            attempt = Attempt(self._service)
            request = answer.recv(LONGEST_REQUEST)
            if request:
                word = _word(request, attempt)
                answer.send(json.dumps(word).encode())
                # To end takes a processor, which whoever waits for the answer needs.
                # What ends it is `_kill`, or this end of a worker that is gone.
                answer.recv(1)
        finally:
            os._exit(0)

    def _hear(self, request: _Request) -> None:
        try:
            word = request.child.answer.recv(LONGEST_REPLY)
        except OSError:
            word = b""
        self._answer(request, word or CRASHED)
        self._done.append((time.monotonic() + _REST, request.child))

    def _answer(self, request: _Request, word: bytes) -> None:
        del self._requests[request.child.answer.fileno()]
        self._say(request.lane, request.mark + word)

    @staticmethod
    def _say(lane: socket.socket, word: bytes) -> None:
        with suppress(OSError):  # the server has given this lane up
            lane.send(word)

    def _kill(self, child: _Child) -> None:
        child.answer.close()
        for end in (os.killpg, os.kill):  # it may not have its session yet
            with suppress(OSError):
                end(child.pid, signal.SIGKILL)
        self._ending.add(child.pid)

    def _reap(self) -> None:
        for pid in tuple(self._ending):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._ending.remove(pid)


def _no_process(error: OSError) -> bytes:
    """Return what somebody hears for whom there is no process."""
    why = f"no process can be started for pam: {error.strerror}"
    return json.dumps({"unavailable": why}).encode()


def _word(request: bytes, attempt: Attempt) -> dict[str, Any]:
    """Return what came of one request: a document, NUL, and a password."""
    document, _, secret = request.partition(b"\0")
    asked = json.loads(document)
    try:
        outcome, identity = attempt.ask(asked["name"], secret)
    except (DirectoryUnavailableError, EnforcementUnavailableError) as error:
        return {"unavailable": str(error)}
    said: dict[str, Any] = {
        "status": outcome.status,
        "was_authenticated": outcome.was_authenticated,
        "user": outcome.user,
    }
    if outcome.status == PamStatus.SUCCESS:
        said["ids"] = None if identity is None else _ids(identity)
    return said


def _ids(identity: PosixIdentity) -> list[Any]:
    return [identity.uid, identity.gid, identity.groups]
