"""Threads on which a gate looks at what its callers show; places before them.

To look is to wait: for a directory, an issuer, the trail. Whoever asks often enough has
it done as often, and everybody else came after that. So who waits has a place, of which
there are so many, and origins take turns:

1. A thread that is free looks at what the next origin shows that has waited longest
   for its turn; the rest of that origin comes after all others.
2. When all places are taken, the last who came of the origin that has most of them is
   turned away for a newcomer whose origin will have fewer still; otherwise the newcomer
   is. An origin that comes alone, as all do behind a proxy that says nothing of them,
   has all places.
3. Who goes away leaves its place.

    arrivals = Arrivals("bearer")
    client = await asyncio.wrap_future(arrivals.submit("192.0.2.7:4711", look))
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from stead.errors import ServerUnavailableError
from stead.gates.peers import place_of
from stead.monitor.thread_pool import ThreadPool, make

_T = TypeVar("_T")

_THREADS: Final = 16
_WAITING: Final = 256
_FULL: Final = "too many clients show who they are at once"


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """One caller, who waits for its turn."""

    origin: str
    act: Callable[[], Any]
    made: Future[Any] = field(default_factory=Future)

    def refuse(self, error: BaseException) -> None:
        if self.made.set_running_or_notify_cancel():
            self.made.set_exception(error)


class Arrivals:
    """The threads of one gate, and who waits for them; used by any thread and loop."""

    def __init__(self, name: str) -> None:
        """Describe them; they start as they are needed.

        Args:
            name: how they are called.
        """
        self._threads = ThreadPool(_THREADS, thread_name_prefix=name)
        self._lock = threading.Lock()
        # In the order of their turns; an origin of which nobody waits is not here.
        self._by_origin: dict[str, deque[_Look]] = {}
        self._waiting = 0
        self._working = 0

    def submit(self, peer: str, act: Callable[[], _T]) -> Future[_T]:
        """Have something done when its turn comes.

        Args:
            peer: from where the caller came, as records name it.
            act: what is done, on a thread; it brings its own context.

        Returns:
            What comes of it; `ServerUnavailableError` where there is no thread, or who
            waited had to go.

        Raises:
            ServerUnavailableError: too many wait.
        """
        look = _Look(place_of(peer), act)
        with self._lock:
            turned_away = self._make_room(look.origin)
            self._by_origin.setdefault(look.origin, deque()).append(look)
            self._waiting += 1
            is_another = self._working < _THREADS
            self._working += is_another
        if turned_away is not None:
            turned_away.refuse(ServerUnavailableError(_FULL))
        look.made.add_done_callback(partial(self._left, look))
        if is_another:
            self._start()
        return look.made

    def _make_room(self, origin: str) -> _Look | None:
        """Return who has to go for one more of an origin; None if there is room."""
        if self._waiting < _WAITING:
            return None
        largest = max(self._by_origin.values(), key=len, default=deque())
        own = len(self._by_origin.get(origin, ()))
        if len(largest) <= own + 1:
            raise ServerUnavailableError(_FULL)
        self._waiting -= 1
        return largest.pop()

    def _left(self, look: _Look, made: Future[Any]) -> None:
        """Take back the place of somebody who has gone away before its turn."""
        if not made.cancelled():
            return
        with self._lock:
            waiting = self._by_origin.get(look.origin, deque())
            if look not in waiting:
                return
            waiting.remove(look)
            self._waiting -= 1
            if not waiting:
                del self._by_origin[look.origin]

    def _start(self) -> None:
        """Have one more thread work; where there is none, refuse who has no other."""
        try:
            self._threads.submit(self._work)
        except BaseException as error:
            with self._lock:
                self._working -= 1
                stranded = [] if self._working else self._drained()
            for look in stranded:
                look.refuse(error)
            if not isinstance(error, ServerUnavailableError):
                raise

    def _drained(self) -> list[_Look]:
        found = [look for waiting in self._by_origin.values() for look in waiting]
        self._by_origin.clear()
        self._waiting = 0
        return found

    def _work(self) -> None:
        while (look := self._next()) is not None:
            make(look.made, look.act)
            del look

    def _next(self) -> _Look | None:
        with self._lock:
            if not self._by_origin:
                self._working -= 1
                return None
            origin = next(iter(self._by_origin))
            waiting = self._by_origin.pop(origin)
            look = waiting.popleft()
            if waiting:
                self._by_origin[origin] = waiting  # after all others
            self._waiting -= 1
            return look
