"""Acts for a client that a durable record of what it asked for covers.

Before an operation runs for a client, the trail durably names client, server, chain and
operation. A block of that very client inside it does nothing that this record does not
announce: its own record is handed over before it is entered and not waited for
(docs/adr/0097). It is refused all the same if the trail cannot be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from stead.monitor.ports import AuditSink, Subject


class _Cover:
    """One operation at work, whoever looks at it from a copied context."""

    __slots__ = ("correlation", "is_over", "principal", "sink", "through")

    def __init__(self, subject: Subject, sink: AuditSink) -> None:
        self.principal: Final = subject.principal
        self.correlation: Final = subject.correlation
        self.through: Final = subject.through
        self.sink: Final = sink
        self.is_over = False


_cover: Final[ContextVar[_Cover | None]] = ContextVar("stead_cover", default=None)


@contextmanager
def covering(subject: Subject, sink: AuditSink) -> Iterator[None]:
    """Say that this code is an operation of a client's, which is on durable record."""
    cover = _Cover(subject, sink)
    before = _cover.set(cover)
    try:
        yield
    finally:
        # For the copies of this context too, in tasks and threads that outlive it.
        cover.is_over = True
        _cover.reset(before)


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
