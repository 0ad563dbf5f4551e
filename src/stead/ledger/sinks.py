"""What sends the trail elsewhere is made of: sinks, their cursors, and what is told.

`stead.ledger.pump` is what runs a sink; `stead.adapters.sinks` has those that there
are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from stead.ledger.exporting import Numbered
from stead.ledger.ports import Entry


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a sink has got.

    Attributes:
        number: the last record that was acknowledged; 0 for none.
        digest: its digest. A trail that was restored from a copy has others.
    """

    number: int = 0
    digest: bytes = b""


class SinkStore(Protocol):
    """The trail and the cursors. Every failure is a `LedgerUnavailableError`."""

    def entries(self, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """Yield the entries numbered above `after`, in order."""
        ...

    def last(self) -> Entry | None:
        """Return the entry with the highest number, or None."""

    def cursor(self, sink: str) -> Cursor:
        """Return how far a sink has got; the beginning if it is new."""
        ...

    def move(self, sink: str, cursor: Cursor) -> None:
        """Keep how far a sink has got."""


class Sink(Protocol):
    """Where records go. Its methods are called by one thread, but for `interrupt`."""

    @property
    def name(self) -> str:
        """What its cursor is kept under, and what records call it; holds no secret."""
        ...

    @property
    def window(self) -> int:
        """How many records may be sent before `confirm` has to be called."""
        ...

    def send(self, batch: Sequence[Numbered]) -> Sequence[int]:
        """Send records, connecting first if need be.

        Returns:
            The numbers of those that the far end refuses for good.

        Raises:
            SinkUnavailableError: it does not take them now.
        """
        ...

    def confirm(self) -> None:
        """Return when the far end has acknowledged all that was sent.

        Raises:
            SinkUnavailableError: it has not, or nobody can tell.
        """

    def reset(self) -> None:
        """Let go of the connection; the next `send` makes another. Never raises."""

    def interrupt(self) -> None:
        """Make a call that waits give up soon; from any thread. Never raises."""


class NewsKind(Enum):
    """What a pump tells."""

    DOWN = "down"
    UP = "up"
    BEGAN_ANEW = "began anew"
    NOT_SENT = "not sent"


@dataclass(frozen=True, slots=True)
class News:
    """What a pump tells whoever runs it, so that the trail says so.

    Attributes:
        kind: what happened.
        sink: the name of the sink.
        count: how many records wait, or were not sent.
        because: why, in words.
    """

    kind: NewsKind
    sink: str
    count: int
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a pump goes about it; times in seconds.

    Attributes:
        batch: records read and sent at once.
        poll: between two looks for new records.
        confirm_after: the longest that sent records stay unconfirmed.
        first_wait: after a first failure; each further one waits twice as long.
        longest_wait: no wait is longer.
        grace: how long the end of the server waits for what is left to be sent.
    """

    batch: int = 32
    poll: float = 0.5
    confirm_after: float = 5.0
    first_wait: float = 0.5
    longest_wait: float = 60.0
    grace: float = 2.0
