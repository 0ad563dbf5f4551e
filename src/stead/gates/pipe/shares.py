"""What one uid, or address, may use of the gate, over all its connections.

Bytes: each request holds some from before its body is read until its answer is; who
gets none waits, and reads nothing meanwhile. Work: large messages are read and written
by a worker, for each uid one at a time.

    share = shares.of(uid)
    with share.claim(size) as claim:
        await claim.granted
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, ThreadPoolExecutor
from time import thread_time
from typing import Final, Self, TypeVar
from weakref import WeakValueDictionary

AnswerT = TypeVar("AnswerT")

# After each piece of work a uid waits so many times as long as the work took. The
# interpreter runs one thread at a time: what a worker does, the loop does not.
_REST: Final = 3.0
_WORKERS: Final = 2


class Claim:
    """Bytes held, or waited for; to be released once, whatever happens.

    Attributes:
        size: how many.
        granted: done with True once they are held, with False if given up before.
    """

    def __init__(self, share: Share, size: int) -> None:
        self.size = size
        self.granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._share = share

    def give_up(self) -> None:
        """Wait no longer; what is held stays held."""
        if not self.granted.done():
            self.granted.set_result(False)
            self._share.give_back(0)

    def shrink(self, size: int) -> None:
        """Hold no more than `size` from now on."""
        spare = max(0, self.size - size)
        self.size -= spare
        self._share.give_back(spare)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Hold nothing any more."""
        self.give_up()
        if not self.granted.cancelled() and self.granted.result():
            self.shrink(0)


class Share:
    """One origin's share: a uid's, or an address's.

    Attributes:
        held: bytes that its requests hold now.
        admission: held while one of its clients is admitted, which takes the server a
            durable record: whoever connects again and again waits for itself.
    """

    def __init__(self, limit: int, worker: Executor) -> None:
        self.held = 0
        self.admission = asyncio.Lock()
        self._limit = limit
        self._worker = worker
        self._waiting: deque[Claim] = deque()
        self._turn = asyncio.Lock()
        self._cost = self._rested = 0.0

    def claim(self, size: int) -> Claim:
        """Ask for bytes; first come, first served."""
        claim = Claim(self, size)
        self._waiting.append(claim)
        self._grant()
        return claim

    def give_back(self, size: int) -> None:
        """Take bytes back, and let who waits have them."""
        self.held -= size
        self._grant()

    async def work(self, task: Callable[[], AnswerT]) -> AnswerT:
        """Do a piece of work on a worker's thread, when this uid's turn comes."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(self._rested - loop.time())
            try:
                return await loop.run_in_executor(self._worker, self._timed, task)
            finally:
                self._rested = loop.time() + _REST * self._cost

    def _timed(self, task: Callable[[], AnswerT]) -> AnswerT:
        began = thread_time()
        try:
            return task()
        finally:
            self._cost = thread_time() - began

    def _grant(self) -> None:
        while self._waiting:
            claim = self._waiting[0]
            if claim.granted.done():  # given up
                self._waiting.popleft()
                continue
            # Alone, the largest is granted too: a bound that is too small for one
            # request must not stop them all.
            if self.held and self.held + claim.size > self._limit:
                return
            self._waiting.popleft()
            self.held += claim.size
            claim.granted.set_result(True)


class Shares:
    """All shares; one is forgotten with the last connection of its origin."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Its threads start with the first work.
        self._worker = ThreadPoolExecutor(_WORKERS, thread_name_prefix="pipe")
        self._known: WeakValueDictionary[Hashable, Share] = WeakValueDictionary()

    def of(self, origin: Hashable) -> Share:
        """Return an origin's share."""
        share = self._known.get(origin)
        if share is None:
            share = self._known[origin] = Share(self._limit, self._worker)
        return share

    def close(self) -> None:
        """Let the worker end; what it does now it finishes."""
        self._worker.shutdown(wait=False)
