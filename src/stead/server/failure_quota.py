"""How many failed logons are recorded one by one, before they are counted.

Each origin has a bucket of its own, so that one who floods hides nobody else's attempts
behind a count; all origins together have another, which bounds what the trail takes
from those who have many.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stead.gates.peers import place_of

_SECOND: Final = 1_000_000_000
_MOST_ORIGINS: Final = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: int


class FailureQuota:
    """Tells of each failure whether it has a record of its own."""

    def __init__(
        self,
        monotonic: Callable[[], int],
        *,
        each: float = 60.0,
        total: float = 600.0,
    ) -> None:
        """Begin with every bucket full.

        Args:
            monotonic: nanoseconds that never step.
            each: how many of one origin at once; a twentieth of it a second after that.
            total: the same for all origins together.
        """
        self._monotonic = monotonic
        self._each = each
        self._total = total
        self._all = _Bucket(total, monotonic())
        self._origins: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def takes(self, origin: str) -> bool:
        """Count a failure; tell whether it is recorded by itself."""
        with self._lock:
            now = self._monotonic()
            mine = self._origins.setdefault(origin, _Bucket(self._each, now))
            self._origins.move_to_end(origin)
            if len(self._origins) > _MOST_ORIGINS:
                self._origins.popitem(last=False)
            for bucket, most in ((mine, self._each), (self._all, self._total)):
                gained = (now - bucket.seen) / _SECOND * most / 20
                bucket.left = min(most, bucket.left + gained)
                bucket.seen = now
            if min(mine.left, self._all.left) < 1:
                return False
            mine.left -= 1
            self._all.left -= 1
            return True


def origin_of(gate: str, peer: str) -> str:
    """Return whose failures are counted together: those of a gate, from one place."""
    return f"{gate} {place_of(peer)}"
