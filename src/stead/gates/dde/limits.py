"""Every bound of DDE in one place, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from stead.errors import InvalidRequestError
from stead.gates.dde.values import ITEM_BYTES
from stead.gates.pipe.limits import PipeLimits

# JSON may spell one byte with six (a control character), and a page is for the rest.
# So whatever may be an item's value fits a frame; and a frame is still small enough to
# be read and written on the loop, in a millisecond or two.
FRAME_BYTES: Final = 6 * ITEM_BYTES + 4096


def _socket_limits() -> PipeLimits:
    # One connection carries many conversations: eight for one uid are many.
    return PipeLimits(frame=FRAME_BYTES, clients_per_uid=8)


@dataclass(frozen=True, slots=True)
class DdeLimits:
    """What one client may cost.

    The server tells its clients the first three, and both ends hold to them: who goes
    beyond breaks the protocol.

    Attributes:
        conversations: conversations of one connection. Each is a logon session.
        advises: advises of one conversation. Each is judged at every new value.
        transactions: transactions of one connection that are not answered yet. With
            eight connections of one uid, what all of them hold is some 50 MB at worst.
        unsent: bytes that wait to be read by the client; beyond, nothing is read of it
            until it reads. Room for an answer and for advised data beside it, lest
            two that only send wait for one another.
        ack_seconds: how long a client may leave advised data unacknowledged; then the
            advise ends, for a client that has stopped is told so rather than kept.
        busy_seconds: when advised data is sent again to a client that was busy, and
            twice as long later each time it still is.
        busy_longest: the longest such pause.
        socket: what the pipe bounds as well: the size of a message, its depth and
            number of values; connections in all and of one uid; times for the first
            message, a whole message, a read answer, and silence. Silence counts only
            while there is no conversation: an advise may be silent long.
    """

    conversations: int = 16
    advises: int = 256
    transactions: int = 16
    unsent: int = 2 * FRAME_BYTES
    ack_seconds: float = 30.0
    busy_seconds: float = 0.1
    busy_longest: float = 5.0
    socket: PipeLimits = field(default_factory=_socket_limits)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if name != "socket" and not getattr(self, name) > 0:
                raise InvalidRequestError(f"limit `{name}` must be more than nothing")
