"""How a server and the broker speak: small JSON datagrams, and descriptors.

A server asks, by one datagram of a SOCK_SEQPACKET connection. What is long (arguments,
an environment, a path) lies in a sealed document that goes with it, and so do sockets
on which the answer comes: nothing here is answered on the connection but the hello.

    {"request": "hello", "version": 1}
    {"request": "listen", "gate": 0}                    clients come here
    {"request": "start", "client": 7, "session": false} channel, order, stdio, ...
    {"request": "worker", "client": 7, "kind": "run"}   channel, order, stdio, socket
    {"request": "open", "client": 7}                    channel, document, socket
    {"request": "log_on"}                               channel, document, secret
        each with "groups": [70005] if the server adds some
    {"request": "renew", "client": 7}
    {"request": "log_off", "client": 7}

Clients come with ``{"client": 7}`` and their socket, or with ``{"client": null,
"why": text}`` if nothing may be done as them.
"""

from __future__ import annotations

import array
import json
import os
import socket
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from stead.errors import RemoteProtocolError
from stead.privileged.parcels import MAXIMUM_EXTRA, carried_by
from stead.privileged.peers import peer_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION: Final = 1
MOST_DESCRIPTORS: Final = 5 + MAXIMUM_EXTRA
LONGEST_REQUEST: Final = 512
LONGEST_ANSWER: Final = 8192
LARGEST_ORDER: Final = 4 << 20
"""Of an order: a child that is still root reads it, at the broker's expense."""

LONGEST_DOCUMENT: Final = 64 * 1024
"""Of what is no order: a path, or an account's name."""

WORKER_MODULE: Final = "stead.server.workers.start"
"""What workers run; the only code beside this room's that a launcher loads as root."""

WORKERS: Final = MappingProxyType(
    {"run": f"{WORKER_MODULE}:run_functions", "open": f"{WORKER_MODULE}:open_files"}
)
"""The two things that a worker may be, and where they stand."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a server asks.

    Attributes:
        name: what.
        fields: what it says of it.
        descriptors: what came with it; whoever has the request closes them.
    """

    name: str
    fields: Mapping[str, Any]
    descriptors: tuple[int, ...]

    def close(self) -> None:
        """Close what came with it."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def say(
    channel: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()
) -> None:
    """Send one message, without waiting; the descriptors stay the sender's to close.

    Raises:
        OSError: it was not sent.
    """
    rights = []
    if descriptors:
        carried = array.array("i", descriptors)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)]
    data = json.dumps(message).encode()
    channel.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def hear(
    channel: socket.socket, longest: int, most: int
) -> tuple[dict[str, Any], tuple[int, ...]] | None:
    """Take the next message; wait for it, unless the socket does not wait.

    Args:
        channel: where it comes from.
        longest: how many bytes it may have.
        most: how many descriptors may come with it.

    Returns:
        The message and its descriptors; None if no other will come.

    Raises:
        BlockingIOError: there is none now.
        RemoteProtocolError: it is too long, cut off or no message; what came with it
            is closed.
    """
    room = socket.CMSG_SPACE(most * array.array("i").itemsize)
    try:
        data, rights, flags, _ = channel.recvmsg(
            longest + 1, room, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        return None
    descriptors = carried_by(rights)
    if not data and not descriptors:
        return None
    try:
        return _parsed(data, longest, flags), _at_most(descriptors, most)
    except RemoteProtocolError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _parsed(data: bytes, longest: int, flags: int) -> dict[str, Any]:
    if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or len(data) > longest:
        raise RemoteProtocolError("a message is too long, or brings too much")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("a message is no JSON") from error
    if type(message) is not dict:
        raise RemoteProtocolError("a message is no table")
    return message


def _at_most(descriptors: list[int], most: int) -> tuple[int, ...]:
    # The room for them is rounded up, so one more may fit.
    if len(descriptors) > most:
        raise RemoteProtocolError("a message brings too many descriptors")
    return tuple(descriptors)


def next_request(control: socket.socket) -> Request | None:
    """Take a server's next request; raises as `hear`."""
    heard = hear(control, LONGEST_REQUEST, MOST_DESCRIPTORS)
    if heard is None:
        return None
    message, descriptors = heard
    name = message.pop("request", None)
    if type(name) is not str:
        for descriptor in descriptors:
            os.close(descriptor)
        raise RemoteProtocolError("a message is no request")
    return Request(name, message, descriptors)


def require_channel(descriptor: int, uid: int) -> None:
    """Refuse a socket on which root would speak to somebody else for the server.

    It must be one side of a connected pair of SOCK_SEQPACKET whose other side, when the
    pair was made, was the asking uid's. A socket that a server connected to somebody's
    listener names that somebody: what root wrote there would be root's word to him.

    Raises:
        RemoteProtocolError: it is something else.
    """
    try:
        channel = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise RemoteProtocolError("a channel is no socket") from error
    with channel:
        is_channel = (
            channel.family == socket.AF_UNIX
            and channel.type == socket.SOCK_SEQPACKET
            and not channel.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )
        if not is_channel or peer_credentials(channel)[1] != uid:
            raise RemoteProtocolError("a channel is not the server's own")
