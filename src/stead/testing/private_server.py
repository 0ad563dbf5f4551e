"""What the servers of a test's own have in common: from `with` to its end.

Each has a folder of its own. What it starts is kept by a shell that waits for a line,
or the end, of its standard input, which is a pipe of this process's: so it ends with
the `with` statement, and also if this process dies.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final, Self, TypedDict

PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST: Final = 50
_SHORT: Final = "/tmp"  # noqa: S108 - the folder in it is made by nobody else
_SECONDS_TO_END: Final = 60.0
_LOOPBACK: Final = "127.0.0.1"
_PORTS: Final = range(10_000, 32_768)
_GIVEN_OUT: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ELSEWHERE: Final = 49_152, 65_535  # RFC 6335 section 6


class PrivateServer(ABC):
    """A server, from `with` to its end.

    Attributes:
        folder: everything of it.
    """

    _prefix: ClassVar[str]
    """What the name of its folder begins with."""

    def __init__(self) -> None:
        """Describe it; nothing is made before `with`."""
        self.folder = Path()

    def __enter__(self) -> Self:
        """Make and start it.

        Raises:
            EnforcementUnavailableError: what it needs is missing, or it does not start.
        """
        self.folder = make_folder(self._prefix)
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop it and remove everything; again does nothing."""
        self._stop()
        if self.folder != Path():
            with suppress(FileNotFoundError):  # the end of some removes it
                shutil.rmtree(self.folder)
            self.folder = Path()

    @abstractmethod
    def _make(self) -> None:
        """Make it in its folder, and start it."""

    @abstractmethod
    def _stop(self) -> None:
        """Stop it, whatever of it is there; again does nothing."""


def make_folder(prefix: str) -> Path:
    """Make a folder for temporary files, in which local sockets may be.

    Their names are short (unix(7), 108 bytes): where `TMPDIR` is a long way down it is
    not used.
    """
    folder = tempfile.gettempdir()
    return Path(
        tempfile.mkdtemp(
            prefix=prefix, dir=folder if len(folder) < _LONGEST else _SHORT
        )
    )


def keep(
    script: str,
    *words: str,
    variables: Mapping[str, str],
    folder: Path | None = None,
    ids: tuple[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a shell that keeps a server until a line, or the end, of its input.

    Args:
        script: what the shell does; `read` tells it when to end.
        words: `$1` and so on of the script.
        variables: its environment.
        folder: where it starts; here, if nothing is said.
        ids: the uid and gid that it has, and no other groups; ours if nothing is said.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(variables),
        cwd=folder,
        start_new_session=True,  # an interrupt of the test's is not its own
        **becoming(ids),
    )


class Becoming(TypedDict, total=False):
    """How `subprocess` is told whom a program shall be."""

    user: int
    group: int
    extra_groups: Sequence[int]


def becoming(ids: tuple[int, int] | None) -> Becoming:
    """Return how a program becomes this uid and gid; None for who we are.

    Only root may say anything of it, not even who it is already.
    """
    if ids is None:
        return {}
    user, group = ids
    return {"user": user, "group": group, "extra_groups": ()}


def end(kept: subprocess.Popen[bytes] | None, last: bytes = b"end\n") -> None:
    """Have a shell end what it keeps, and wait until it has.

    Args:
        kept: the shell; None for none.
        last: the line that it reads.
    """
    if kept is not None:
        # Not the end of its input alone: children that this process has forked since
        # hold the pipe, too.
        kept.communicate(last, timeout=_SECONDS_TO_END)


def free_port() -> int:
    """Return a port of the loopback that is free for TCP and UDP.

    It is none that the system gives out by itself: until the server listens there,
    others connect and listen as well, and would be given just that one.
    """
    first, last = _ELSEWHERE
    if _GIVEN_OUT.exists():
        first, last = map(int, _GIVEN_OUT.read_text("utf-8").split())
    ports = [port for port in _PORTS if not first <= port <= last] or _PORTS
    while True:
        port = secrets.choice(ports)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as other:
            try:
                stream.bind((_LOOPBACK, port))
                other.bind((_LOOPBACK, port))
            except OSError:
                continue
            return port


def answers(port: int, address: str = _LOOPBACK) -> bool:
    """Tell whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
