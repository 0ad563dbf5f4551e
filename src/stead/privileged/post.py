"""What keepers and their launcher have in common: where they wait, and who does."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

    from stead.privileged.orders import Terms

_NEWS: Final = struct.Struct("i?")


@dataclass(frozen=True, slots=True)
class Post:
    """What a keeper shares with the launcher and the other keepers.

    Attributes:
        control: where orders come from.
        news: a pipe to the launcher, see `read_news`; it breaks when the launcher ends.
        seats: a pipe with as many bytes as keepers may wait again after an order.
        terms: what holds for every order.
    """

    control: socket.socket
    news: int
    seats: tuple[int, int]
    terms: Terms

    def tell(self, *, is_waiting: bool) -> bool:
        """Tell the launcher whether this keeper waits; say whether it still listens."""
        try:
            os.write(self.news, _NEWS.pack(os.getpid(), is_waiting))
        except BrokenPipeError:
            return False
        return True

    def take_seat(self) -> bool:
        """Say whether this keeper may wait for another order, or is one too many."""
        try:
            return bool(os.read(self.seats[0], 1))
        except BlockingIOError:
            return False

    def leave_seat(self) -> None:
        """Let another keeper have the seat."""
        os.write(self.seats[1], b"s")


def read_news(descriptor: int) -> list[tuple[int, bool]]:
    """Return which keepers have begun or ceased to wait, in order."""
    told = os.read(descriptor, _NEWS.size * 256)
    return [(pid, is_waiting) for pid, is_waiting in _NEWS.iter_unpack(told)]
