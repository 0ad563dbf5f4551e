"""Which worker does what for whom, and who waits: the tables of the pool.

Nothing here starts, ends or sends anything, and nothing waits. The pool holds its lock
around every call. A signal's handler may raise in the middle of `join` and `advance`:
wherever it does, what is there is still counted, and can still be withdrawn or ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Final

from stead.errors import QuotaExceededError
from stead.model.luid import Luid
from stead.server.workers.calls import Call, Environment, Worker, WorkerLimits

_NEVER: Final = float("inf")
# In how many seconds a worker that is ended has usually given up its place.
_PATIENCE: Final = 1.0


class _Client:
    """One uid's workers, its line, and when its turn was."""

    __slots__ = ("line", "turn", "workers")

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.line: list[Call] = []
        self.workers: list[Worker] = []


class Places:
    """The workers there are and the calls that wait, by client."""

    def __init__(self, limits: WorkerLimits, retire: Callable[[Worker], None]) -> None:
        """Begin with nobody.

        Args:
            limits: how many of what there may be.
            retire: ends an idle worker that has to make room; it must not wait.
        """
        self._limits = limits
        self._retire = retire
        self._turns = count()
        self._clients: dict[int, _Client] = {}

    # --- who is there -------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many workers there are, until their processes have ended."""
        return sum(len(client.workers) for client in self._clients.values())

    def environment(self, uid: int) -> Environment | None:
        """Return the variables of the client's other workers; None if it has none."""
        client = self._clients.get(uid)
        return client.workers[0].environment if client and client.workers else None

    def of_session(self, logon_id: Luid) -> tuple[list[Call], list[Worker]]:
        """Return a session's waiting calls and its workers."""
        calls, workers = self.everything()
        return (
            [call for call in calls if call.key.logon_id == logon_id],
            [worker for worker in workers if worker.key.logon_id == logon_id],
        )

    def everything(self) -> tuple[list[Call], list[Worker]]:
        """Return all waiting calls and all workers."""
        calls = [call for one in self._clients.values() for call in one.line]
        return calls, list(self._workers())

    def overdue(self, now: float) -> list[Call]:
        """Return the calls, waiting or not, whose time is up."""
        return [
            call
            for call in self._calls()
            if call.deadline is not None and call.deadline <= now
        ]

    def idle_too_long(self, now: float) -> list[Worker]:
        """Return the workers that had nothing to do for too long."""
        since = now - self._limits.idle_seconds
        return [
            one for one in self._workers() if one.is_idle and one.idle_since <= since
        ]

    def unordered(self) -> list[Worker]:
        """Return the workers whose processes are to be ordered; each of them once."""
        found = [one for one in self._workers() if not one.is_ordered]
        for worker in found:
            worker.is_ordered = True
        return found

    def next_moment(self) -> float:
        """Return when a call or an idle worker will have had its time."""
        moments = [call.deadline for call in self._calls() if call.deadline is not None]
        idle = self._limits.idle_seconds
        moments += [one.idle_since + idle for one in self._workers() if one.is_idle]
        return min(moments, default=_NEVER)

    # --- what changes -------------------------------------------------------------

    def join(self, call: Call) -> None:
        """Put a call at the end of its client's line.

        Raises:
            QuotaExceededError: the line is full.
        """
        uid = call.identity.uid
        client = self._clients.get(uid) or _Client(next(self._turns))
        if len(client.line) >= self._limits.waiting_per_client:
            raise QuotaExceededError(
                f"{len(client.line)} calls of uid {uid} wait for its workers already",
                advice="let its calls end first, or raise `WorkerLimits`",
            )
        client.line.append(call)
        self._clients[uid] = client

    def advance(self, uid: int) -> list[Worker]:
        """Give a client's calls to workers, as far as there are any or room for them.

        Returns:
            The workers that were given one; those without a channel are new.
        """
        client = self._clients.get(uid)
        if client is None:
            return []
        given = []
        for call in [call for call in client.line if call.is_ready]:
            worker = self._give(client, call) or self._new_worker(client, call)
            if worker is not None:
                client.line.remove(call)
                given.append(worker)
        if given:
            client.turn = next(self._turns)
        return given

    def free(self, worker: Worker, *, may_go_on: bool) -> list[Worker]:
        """Take an answered call from its worker; return who was given something.

        The call is the caller's to settle.
        """
        uid = worker.identity.uid
        if worker.call is not None:
            worker.call.is_settled = True
        worker.call = None
        worker.idle_since = time.monotonic()
        # What one call left in a confined worker, no other call finds there.
        worker.is_ending |= not may_go_on or worker.key.confinement is not None
        if self.count < self._limits.total:
            return self.advance(uid)
        if self._is_needed_more(uid):
            worker.is_ending = True
            self._clients[uid].turn = next(self._turns)
        return self._advance_all()

    def vacate(self, worker: Worker) -> list[Worker]:
        """Give up an ended worker's place; return who was given something."""
        client = self._clients[worker.identity.uid]
        client.workers.remove(worker)
        self._forget(worker.identity.uid)
        return self._advance_all()

    def withdraw(
        self, calls: Iterable[Call], workers: Iterable[Worker]
    ) -> tuple[list[Call], list[Worker]]:
        """Take calls away from wherever they are, and workers from all further use.

        Returns:
            The calls that the caller has to settle now, and the workers to be ended.
        """
        wanted = {id(call): call for call in calls}
        busy = [one for one in self._workers() if id(one.call) in wanted]
        ending = {id(one): one for one in (*workers, *busy)}
        for worker in ending.values():
            if worker.call is not None:
                wanted[id(worker.call)] = worker.call
            worker.call = None
            worker.is_ending = True
        settled = [call for call in wanted.values() if not call.is_settled]
        for call in settled:
            call.is_settled = True
            self._leave_line(call)
        return settled, list(ending.values())

    # --- rooms --------------------------------------------------------------------

    def _give(self, client: _Client, call: Call) -> Worker | None:
        """Give a call to an idle worker, if there is one that it fits."""
        for worker in client.workers:
            fits = worker.key == call.key and worker.identity == call.identity
            if fits and worker.is_idle:
                worker.call = call
                worker.asked += 1
                return worker
        return None

    def _new_worker(self, client: _Client, call: Call) -> Worker | None:
        """Make a worker for a call if there is room, or see that there will be."""
        if len(client.workers) >= self._limits.per_client:
            self._make_room(call, client.workers)
            return None
        if self.count >= self._limits.total:
            self._make_room(call, list(self._workers()))
            return None
        worker = Worker(
            key=call.key,
            identity=call.identity,
            environment=call.environment,
            call=call,
            asked=1,
            notes=call.notes,
        )
        client.workers.append(worker)
        return worker

    def _make_room(self, call: Call, workers: list[Worker]) -> None:
        """Retire the worker that is idle for longest, for a call to have its place."""
        idle = [worker for worker in workers if worker.is_idle]
        if idle and _promise(call):
            oldest = min(idle, key=lambda worker: worker.idle_since)
            self._retire(oldest)
            oldest.is_ending = True

    def _is_needed_more(self, uid: int) -> bool:
        """Say whether another client should have the place of a worker of this one.

        One that has none, or so many fewer that it has no more than this one after it.
        """
        most = len(self._clients[uid].workers)
        for other, client in self._in_turn():
            has = len(client.workers)
            first = next((call for call in client.line if call.is_ready), None)
            is_poorer = other != uid and (not has or has + 1 < most)
            if is_poorer and first is not None and _promise(first):
                return True
        return False

    def _advance_all(self) -> list[Worker]:
        waiting = [uid for uid, client in self._in_turn() if client.line]
        return [worker for uid in waiting for worker in self.advance(uid)]

    def _in_turn(self) -> list[tuple[int, _Client]]:
        """Return the clients; who was given something last stands last."""
        return sorted(self._clients.items(), key=lambda pair: pair[1].turn)

    def _leave_line(self, call: Call) -> None:
        client = self._clients.get(call.identity.uid)
        if client is not None and call in client.line:
            client.line.remove(call)
            self._forget(call.identity.uid)

    def _forget(self, uid: int) -> None:
        client = self._clients[uid]
        if not client.line and not client.workers:
            del self._clients[uid]

    def _workers(self) -> Iterator[Worker]:
        for client in self._clients.values():
            yield from client.workers

    def _calls(self) -> Iterator[Call]:
        for client in self._clients.values():
            yield from client.line
        for worker in self._workers():
            if worker.call is not None:
                yield worker.call


def _promise(call: Call) -> bool:
    """Say whether to make room for a call: not while some was made for it just now."""
    now = time.monotonic()
    is_kept = now < call.promised
    if not is_kept:
        call.promised = now + _PATIENCE
    return not is_kept
