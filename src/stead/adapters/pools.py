"""Pools of connections: who took one, and who is in force when it is handed back.

A connection that goes back to its pool while an identity is in force that was entered
meanwhile is used next by somebody else, with whatever that client left on it. The
watch of `stead.monitor.leaks` is told then.

    engine = create_engine(...)
    leak_watch(engine)

A pool of another kind is watched by hand: a `Lent` for each connection that is out.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import ref

from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.leaks import tell_end

_KEY: Final = "stead.lent"
_MOMENT: Final = "was in force when a pooled connection was handed back"


class Lent:
    """A resource that was taken out of a pool, by whoever is in force here."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        frame = context.live_outer(context.raw_frame())
        self._begun: ref[Frame] | None = None if frame is None else ref(frame)

    def hand_back(self) -> None:
        """Tell of every identity that was entered since, and is in force still."""
        tell_end(None if self._begun is None else self._begun(), _MOMENT)


def leak_watch(resource: Engine | Pool) -> None:
    """Have every connection of a pool of SQLAlchemy's looked at when it comes back.

    Args:
        resource: the pool, or the engine whose pool it is.
    """
    pool = resource.pool if isinstance(resource, Engine) else resource
    event.listen(pool, "checkout", _checkout)
    event.listen(pool, "checkin", _checkin)


def _checkout(_connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
    entry.info[_KEY] = Lent()


def _checkin(_connection: Any, entry: ConnectionPoolEntry) -> None:
    lent = entry.info.pop(_KEY, None)
    if lent is not None:
        lent.hand_back()
