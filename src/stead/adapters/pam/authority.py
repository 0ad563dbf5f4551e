r"""Passwords of the host's accounts, for a server that is root itself (pam(8)).

    with PamAuthority(["HOST"]) as host:
        server = ProtectedServer("notes", password_authorities=[host])
        session = server.log_on("HOST\\dora", password)

The service file is our own (``privileged/pam/stead-logon``), or another that was
written for this. One of the machine's is not: what `su` and `cron` are asked for lets
root pass without a password, and a server that asks is root. Before anybody is logged
on, an account that cannot be there is tried with a password that nobody has; where that
passes, the service file is refused.

A server that is not root asks a broker instead (`broker_passwords`).
"""

from __future__ import annotations

import json
import logging
import os
import queue
import secrets
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from stead.adapters.pam.conversation import LONGEST_SECRET
from stead.adapters.pam.outcomes import error_of, unavailable
from stead.adapters.pam.verifier import FOLDER, SERVICE
from stead.adapters.pam.worker import LONGEST_REPLY, MARK, MOST_LANES
from stead.authority.packages import Authenticated
from stead.errors import (
    DirectoryUnavailableError,
    InvalidRequestError,
    LogonTypeNotGrantedError,
    PasswordMismatchError,
    UnknownAccountError,
    UnsafeConfigurationError,
)
from stead.model.posix_identity import PosixIdentity
from stead.model.secret import Secret
from stead.privileged.broker_wire import say
from stead.privileged.launcher_process import execute

_log: Final = logging.getLogger(__name__)

_PROGRAM: Final = "stead.adapters.pam.worker"
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_LONGEST_NAME: Final = 256
_GRACE: Final = 2.0  # seconds for the worker to say that somebody hung
_REST: Final = 1.0  # seconds before a worker that ended is started again


class PamAuthority:
    """The `PasswordAuthority` of this host's accounts.

    To be made and closed outside any block: it starts a process.

    Args:
        domains: what comes before a backslash, or after an `@`, for these accounts.
        service: the name of the service file.
        folder: where it lies; nobody but root and the server may write there.
        seconds: how long PAM may take.
        at_once: how many attempts may be under way; others wait, no longer than that.
        allows_root: whether uid 0 may log on with its password.

    Raises:
        InvalidRequestError: no domain is named, or a number is out of bounds.
        UnsafeConfigurationError: others may write the service file, or it lets in
            whoever comes.
        DirectoryUnavailableError: PAM is not there, or does not answer.
    """

    name: Final = "pam"

    def __init__(
        self,
        domains: Collection[str],
        *,
        service: str = SERVICE,
        folder: str | os.PathLike[str] = FOLDER,
        seconds: float = 20.0,
        at_once: int = 8,
        allows_root: bool = False,
    ) -> None:
        if isinstance(domains, str) or not domains or not all(domains):
            raise InvalidRequestError(
                "domains are named one by one", advice='write `PamAuthority(["HOST"])`'
            )
        if not 1 <= at_once <= MOST_LANES or not seconds > 0:
            raise InvalidRequestError(f"1 to {MOST_LANES} at once, for some seconds")
        self._domains = tuple(domains)
        self._service = service
        self._folder = Path(folder)
        self._seconds = seconds
        self._allows_root = allows_root
        _require_safe(self._folder / service)
        self._workers = _Workers(seconds, at_once, self._folder / service)
        try:
            self._require_sound()
        except BaseException:
            self.close()
            raise

    @property
    def domains(self) -> tuple[str, ...]:
        """Whose accounts these are."""
        return self._domains

    def log_on(
        self,
        name: str,
        domain: str,
        secret: Secret,
        *,
        keep: bool,  # noqa: ARG002 - a password of the host's reaches nobody else
    ) -> Authenticated:
        """Tell who an account is, to whoever knows its password.

        1. PAM is asked, whether or not there is such an account.
        2. The account may come, by PAM's word: not expired, no new password due.
        3. Its ids are those of the name that PAM knows it by at last, from all of the
           host's sources.

        Raises:
            PasswordMismatchError, UnknownAccountError, AccountDisabledError,
            AccountExpiredError, AccountLockedOutError, LogonTypeNotGrantedError,
            PasswordExpiredError, PasswordMustChangeError: for the trail.
            DirectoryUnavailableError: PAM, or a source of the host's users, does not
                answer.
        """
        _require_possible(name, secret)
        with secret.revealed() as content:
            said = self._ask(name, content)
        error = error_of(said, name)
        if error is not None:
            raise error
        identity = _identity_of(said)
        if identity.uid == 0 and not self._allows_root:
            raise LogonTypeNotGrantedError(
                "root does not log on with its password here",
                advice="`PamAuthority(allows_root=True)` if it should",
            )
        return Authenticated(
            package=self.name,
            issuer=domain,
            name=said["user"],
            host=identity,
            details=(("pam service", self._service),),
        )

    def close(self) -> None:
        """End the process; again does nothing."""
        self._workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _require_sound(self) -> None:
        """Refuse a service that lets in whoever comes."""
        nobody, word = f"nobody-{secrets.token_hex(8)}", secrets.token_hex(16)
        said = self._ask(nobody, word.encode())
        if said.get("was_authenticated"):
            raise UnsafeConfigurationError(
                f"pam's service `{self._service}` lets in whoever comes",
                advice="it may let root pass (`pam_rootok`), or permit all: write one "
                "that asks for the password",
            )
        if "unavailable" in said:
            raise unavailable(said["unavailable"])

    def _ask(self, name: str, secret: bytes) -> dict[str, Any]:
        asked = {"name": name}
        said: dict[str, Any] = json.loads(
            self._workers.ask(json.dumps(asked).encode() + b"\0" + secret)
        )
        return said


def _require_safe(file: Path) -> None:
    """Refuse a service file that others may write: it names code that root loads."""
    try:
        places = [file.resolve(strict=True)]
    except OSError as error:
        raise UnsafeConfigurationError(
            f"pam's service file `{file}` is not there: {error.strerror}",
            advice="write it, or leave out `service` and `folder`: then ours is taken",
        ) from error
    for each in (*places, *places[0].parents):
        status = each.stat()
        is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        is_open = status.st_mode & _OTHERS and not is_sticky
        if status.st_uid not in {0, os.geteuid()} or is_open:
            raise UnsafeConfigurationError(
                f"others may write `{each}`, which says what code root loads",
                advice=f"`chown root {each}`, `chmod go-w {each}`",
            )


def _require_possible(name: str, secret: Secret) -> None:
    """Refuse what cannot be shown to PAM, whoever it would be."""
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise UnknownAccountError("no account of the host has such a name")
    with secret.revealed() as content:
        is_possible = 0 < len(content) <= LONGEST_SECRET and b"\0" not in content
    if not is_possible:
        raise PasswordMismatchError("no account of the host has such a password")


def _identity_of(said: dict[str, Any]) -> PosixIdentity:
    uid, gid, groups = said["ids"]
    return PosixIdentity(uid, gid, tuple(groups))


class _Workers:
    """The process in which children ask PAM, and the lanes to it.

    One that ends is started again by a thread that is always the server: whoever logs
    on may be in a block, and starts nothing.
    """

    def __init__(self, seconds: float, at_once: int, service: Path) -> None:
        self._service = service
        self._pid = os.getpid()
        self._seconds = seconds
        self._at_once = at_once
        self._lanes: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._is_closed = threading.Event()
        self._process, self._control = self._start()
        self._watcher = threading.Thread(
            target=self._watch, name="stead-pam", daemon=True
        )
        self._watcher.start()

    def ask(self, request: bytes) -> bytes:
        """Have one request answered.

        An answer to somebody else's is none: two processes that share a lane would
        take each other's clients for their own.

        Raises:
            DirectoryUnavailableError: it is not answered.
        """
        if os.getpid() != self._pid:
            raise unavailable(
                "pam was made ready by another process; make it after the fork"
            )
        if self._is_closed.is_set():
            raise unavailable("pam was closed; keep its block open around the server's")
        mark = secrets.token_bytes(MARK)
        try:
            lane = self._lanes.get(timeout=self._seconds)
        except queue.Empty:
            raise unavailable("too many ask pam at once") from None
        try:
            lane.send(mark + request)
            answer = lane.recv(MARK + LONGEST_REPLY)
        except OSError:
            answer = b""
        if answer[:MARK] != mark:
            lane.close()  # its worker has ended: the next one brings its own
            raise unavailable("the process in which pam runs has ended")
        self._lanes.put(lane)
        return answer[MARK:]

    def close(self) -> None:
        """End the process and all that it has started; again does nothing."""
        if self._is_closed.is_set() or os.getpid() != self._pid:
            return
        self._is_closed.set()
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._process.kill()
        self._watcher.join()
        self._close_lanes()

    def _close_lanes(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._lanes.get_nowait().close()

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        control, theirs = _pair()
        lanes = [_pair() for _ in range(self._at_once)]
        try:
            path = [entry for entry in sys.path if entry.startswith("/")]
            begin = {
                "path": path,
                "program": _PROGRAM,
                "seconds": self._seconds,
                "service": self._service.name,
                "folder": str(self._service.parent),
            }
            with theirs:
                control.send(json.dumps(begin).encode())
                say(control, {}, [far.fileno() for _, far in lanes])
                process = execute(theirs.fileno())
        except BaseException as error:
            control.close()
            for near, _ in lanes:
                near.close()
            if isinstance(error, OSError):
                words = f"the process for pam cannot be started: {error}"
                raise unavailable(words) from error
            raise
        finally:
            for _, far in lanes:
                far.close()
        for near, _ in lanes:
            near.settimeout(self._seconds + _GRACE)
            self._lanes.put(near)
        return process, control

    def _watch(self) -> None:
        """Start another worker whenever one has ended."""
        while True:
            self._process.wait()
            if self._is_closed.wait(_REST):
                return
            _log.error("the process for pam ended; another is started")
            self._control.close()
            self._close_lanes()
            with suppress(DirectoryUnavailableError):
                self._process, self._control = self._start()


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
