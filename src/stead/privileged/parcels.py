"""How an order travels to the launcher, and what goes with it.

It is one datagram on a SOCK_SEQPACKET pair. The datagram itself says only whether a PAM
session is needed; with it go descriptors (unix(7), SCM_RIGHTS):

1. the *channel* on which the one process is spoken of from then on;
2. the order, sealed in memory: it may hold a whole environment, and a datagram may not;
3. the process's stdin, stdout and stderr, and whatever else it is to inherit.

An order that comes by way of a broker carries two more after the second: the *warrant*,
a sealed document of the broker's own that says whom the process becomes, which the
server's document then must not; and the *hold*, a socket of the broker's at whose end
the tree ends, and whose other side ends with the keeper.
"""

from __future__ import annotations

import array
import os
import socket
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from stead.errors import InvalidRequestError
from stead.privileged.orders import Order
from stead.privileged.sealing import read_sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAXIMUM_EXTRA: Final = 64
"""How many descriptors a process may inherit beside its stdio."""

_STDIO: Final = 3
_FIXED: Final = 2 + _STDIO  # the channel and the document before it
_MAXIMUM_DESCRIPTORS: Final = _FIXED + 2 + MAXIMUM_EXTRA
# Whether a session is needed, and whether a broker has added its warrant.
_KINDS: Final[Mapping[bytes, tuple[bool, bool]]] = MappingProxyType(
    {
        b"order": (False, False),
        b"order with a session": (True, False),
        b"warranted order": (False, True),
        b"warranted order with a session": (True, True),
    }
)
_DATAGRAMS: Final = MappingProxyType({kind: text for text, kind in _KINDS.items()})
_LONGEST_DATAGRAM: Final = max(len(text) for text in _KINDS)


@dataclass(frozen=True, slots=True)
class Parcel:
    """An order on its way, with the descriptors that go with it.

    Attributes:
        channel: where the process is spoken of.
        document: where the order lies.
        inherited: what becomes 0, 1, 2 and so on.
        needs_session: whether a PAM session is to be opened around the process.
        warrant: where the broker's part lies; None if there is no broker.
        hold: the keeper's side of what the broker ends the tree by; likewise.
    """

    channel: int
    document: int
    inherited: tuple[int, ...]
    needs_session: bool = False
    warrant: int | None = None
    hold: int | None = None

    def order(self) -> Order:
        """Read the order.

        Raises:
            InvalidRequestError: there is none, or somebody may still change it.
        """
        warrant = None if self.warrant is None else read_sealed(self.warrant)
        return Order.from_bytes(read_sealed(self.document), warrant)

    @property
    def is_warranted(self) -> bool:
        """Whether a broker says whom the process becomes."""
        return self.warrant is not None

    def descriptors(self) -> tuple[int, ...]:
        """Return what travels, in its order."""
        added: tuple[int, ...] = ()
        if self.warrant is not None:
            if self.hold is None:
                raise InvalidRequestError("a warrant comes with a hold")
            added = (self.warrant, self.hold)
        return (self.channel, self.document, *added, *self.inherited)

    def let_go(self) -> None:
        """Close every descriptor but the channel and the hold."""
        for descriptor in (self.document, *self.inherited):
            os.close(descriptor)
        if self.warrant is not None:
            os.close(self.warrant)


def send(control: socket.socket, parcel: Parcel) -> None:
    """Send an order, without waiting; its descriptors stay the sender's to close.

    Raises:
        OSError: it was not sent: BlockingIOError if too many are waiting.
    """
    carried = array.array("i", parcel.descriptors())
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)]
    datagram = _DATAGRAMS[parcel.needs_session, parcel.is_warranted]
    control.sendmsg([datagram], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive(control: socket.socket) -> Parcel | None:
    """Take the next order; wait for it, unless the socket does not wait.

    Returns:
        The order; None if no other will come.

    Raises:
        BlockingIOError: there is none now.
        InvalidRequestError: what came is no order; what it carried is closed.
    """
    room = socket.CMSG_SPACE(_MAXIMUM_DESCRIPTORS * array.array("i").itemsize)
    datagram, rights, came, _ = control.recvmsg(
        _LONGEST_DATAGRAM, room, socket.MSG_CMSG_CLOEXEC
    )
    descriptors = carried_by(rights)
    if not datagram and not descriptors:
        return None
    is_cut = came & (socket.MSG_CTRUNC | socket.MSG_TRUNC)
    needs_session, is_warranted = _KINDS.get(datagram, (False, False))
    fewest = _FIXED + 2 * is_warranted
    is_filled = fewest <= len(descriptors) <= fewest + MAXIMUM_EXTRA
    if is_cut or datagram not in _KINDS or not is_filled:
        for descriptor in descriptors:
            os.close(descriptor)
        raise InvalidRequestError("what came is no order")
    channel, document, *rest = descriptors
    warrant, hold = rest[:2] if is_warranted else (None, None)
    return Parcel(
        channel,
        document,
        tuple(rest[2:] if is_warranted else rest),
        needs_session=needs_session,
        warrant=warrant,
        hold=hold,
    )


def carried_by(rights: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a message, each of them ours to close."""
    descriptors = array.array("i")
    for level, kind, carried in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(carried[: len(carried) - len(carried) % 4])
    return list(descriptors)
