"""What both clients of the pipe do alike: connect, verify, greet, read an answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from typing import Any, TypeAlias

from stead.errors import (
    InvalidNameError,
    KernelRefusedError,
    RemoteError,
    RemoteProtocolError,
    ServerClosedError,
    ServerUnavailableError,
    WrongServerError,
)
from stead.gates.pipe.messages import (
    VERSION,
    Goodbye,
    Hello,
    Message,
    Refusal,
    Result,
    Welcome,
    level_name,
)
from stead.model.quality_of_service import QualityOfService
from stead.privileged.peers import peer_credentials

ServerUid: TypeAlias = int | Collection[int] | None


def attempt(connected: socket.socket, path: str | os.PathLike[str]) -> bool:
    """Connect to a pipe.

    Returns:
        Whether it worked; if not, the server's queue is full and one may try again.

    Raises:
        InvalidNameError: the path cannot be a pipe's.
        KernelRefusedError: the client may not connect there.
        ServerUnavailableError: no server answers there.
    """
    name = os.fspath(path)
    # The kernel would stop at a NUL and open another name, or none at all.
    if not name or "\0" in name:
        raise InvalidNameError(f"`{name}` cannot be a pipe's path")
    try:
        connected.connect(name)
    except BlockingIOError:
        return False
    except PermissionError as error:
        raise KernelRefusedError(
            f"the pipe `{name}` may not be opened",
            errno=error.errno or 0,
            object_name=name,
        ) from error
    except OSError as error:
        if error.errno is None:  # Python's own: longer than a socket's name may be
            raise InvalidNameError(f"`{name}` cannot be a pipe's path") from error
        raise ServerUnavailableError(
            f"no server answers at `{name}`: {(error.strerror or '').lower()}",
            advice="start the server, or check the path",
        ) from error
    return True


def refuse_wrong_server(connected: socket.socket, server_uid: ServerUid) -> None:
    """Refuse a server that is not whom the client means.

    The kernel names the process that called `listen`.

    Args:
        connected: nothing was sent on it yet.
        server_uid: the uid or uids that may listen; root and our own if None.

    Raises:
        WrongServerError: somebody else listens.
    """
    _, uid, _ = peer_credentials(connected)
    if server_uid is None:
        trusted: Collection[int] = (0, os.geteuid())
    else:
        trusted = (server_uid,) if isinstance(server_uid, int) else server_uid
    if uid not in trusted:
        expected = ", ".join(str(number) for number in sorted(set(trusted)))
        raise WrongServerError(
            f"uid {uid} listens there, not uid {expected or 'of anybody'}",
            uid=uid,
            advice="name the server's uid if it is meant to run under another",
        )


def hello(
    quality: QualityOfService, correlation: str | None, package: str | None = None
) -> Hello:
    """Return a client's first message."""
    return Hello(
        version=VERSION,
        level=level_name(quality.level),
        tracking=quality.tracking.value,
        effective_only=quality.effective_only,
        correlation=correlation,
        package=package,
    )


def welcome_of(message: Message) -> Welcome:
    """Return the Welcome, or raise what came instead."""
    if isinstance(message, Welcome):
        return message
    raise _raised_by(message)


def value_of(message: Message) -> Any:
    """Return what a request was answered with, or raise what came instead."""
    if isinstance(message, Result):
        return message.value if message.content is None else message.content
    raise _raised_by(message)


def _raised_by(message: Message) -> Exception:
    if isinstance(message, Refusal):
        return RemoteError(
            message.message, remote_status=message.status, record=message.record
        )
    if isinstance(message, Goodbye):
        why = f": {message.reason}" if message.reason else ""
        return ServerClosedError(f"the server said goodbye{why}")
    return RemoteProtocolError("the server answered what was not asked")
