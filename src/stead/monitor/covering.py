"""Acts for a client that a durable record of what it asked for covers.

Before an operation runs for a client, the trail durably names client, server, chain and
operation. A block of that very client inside it does nothing that this record does not
announce: its own record is handed over before it is entered and not waited for
(docs/adr/0097). It is refused all the same if the trail cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Final, Protocol

from stead.monitor.ports import AuditSink, Subject


class Closable(Protocol):
    """What ends with an operation."""

    def close(self) -> None:
        """End; raises nothing."""


class Cover:
    """One operation at work, whoever looks at it from a copied context.

    Attributes:
        principal: whose operation it is.
        correlation: the request.
        through: whom the identity came through.
        sink: where it is on record.
        is_over: whether it has ended; it covers nothing any more.
        passes: what ends with it (`stead.monitor.passing`).
    """

    __slots__ = ("correlation", "is_over", "passes", "principal", "sink", "through")

    def __init__(self, subject: Subject, sink: AuditSink) -> None:
        self.principal: Final = subject.principal
        self.correlation: Final = subject.correlation
        self.through: Final = subject.through
        self.sink: Final = sink
        self.is_over = False
        self.passes: Final[list[Closable]] = []

    def end(self) -> None:
        """Cover nothing any more, in copied contexts that outlive it either."""
        self.is_over = True
        for each in self.passes:
            each.close()


_cover: Final[ContextVar[Cover | None]] = ContextVar("stead_cover", default=None)


@contextmanager
def covering(subject: Subject, sink: AuditSink) -> Iterator[None]:
    """Say that this code is an operation of a client's, which is on durable record."""
    cover = Cover(subject, sink)
    before = _cover.set(cover)
    try:
        yield
    finally:
        cover.end()
        _cover.reset(before)


found_cover: Final = _cover.get
"""Returns the operation that this context is a part of, at work or not; or None."""


def current_cover() -> Cover | None:
    """Return the operation that this code is a part of, if it is at work."""
    cover = _cover.get()
    return None if cover is None or cover.is_over else cover


def handed_on() -> Callable[[Context], None]:
    """Return what makes a context a part of the operation that this code is one of.

    For work that is handed to a server's own threads: what is done there for the client
    is announced by the same record, as long as the operation is at work.
    """
    cover = current_cover()
    return lambda made: None if cover is None else made.run(_take_part, cover)


def _take_part(cover: Cover) -> None:
    _cover.set(cover)


def is_covered(subject: Subject, sink: AuditSink) -> bool:
    """Tell whether a durable record in this sink announces what is done for a client.

    It is that of the same session, or grant, of the same request, and names the same
    somebody whom the identity came through.
    """
    cover = _cover.get()
    return (
        cover is not None
        and not cover.is_over
        and cover.sink is sink
        and cover.principal == subject.principal
        and cover.correlation == subject.correlation
        and cover.through == subject.through
    )
