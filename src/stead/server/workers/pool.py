"""The machinery of `workers`: starts workers, asks, hears, ends, buries.

Three kinds of threads come here. Whoever asks hands over a call and, usually, sends it;
if it waits, and the answer comes soon, it takes that too. The watch's thread takes the
others and asks the next, and waits for nothing. The housekeeper starts, ends and
buries. What a worker answers is looked into by whoever waits for it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from stead.errors import (
    LogonSessionEndedError,
    ServerClosedError,
    SteadError,
    WorkerLostError,
)
from stead.model.luid import Luid
from stead.privileged.launching import Starter
from stead.privileged.orders import Order
from stead.privileged.watch import Watch
from stead.server.workers.answers import Reply, nonsense
from stead.server.workers.calls import Call, Environment, Key, Worker, WorkerLimits
from stead.server.workers.channel import WorkerChannel
from stead.server.workers.endings import loss, note_end, too_late, unstarted
from stead.server.workers.future import Outcome
from stead.server.workers.housekeeper import Housekeeper
from stead.server.workers.places import Places
from stead.server.workers.wire import OPEN

_log: Final = logging.getLogger("stead.server")

_LARGEST_OPENED: Final = 4096
_NEVER: Final = float("inf")
_READ_ASIDE: Final = 65_536
_SOON: Final = 20  # milliseconds
_SECONDS_TO_CLOSE: Final = 10.0


class WorkerPool:
    """All workers of one server, and the threads that look after them."""

    def __init__(self, launcher: Starter, watch: Watch, limits: WorkerLimits) -> None:
        """Prepare; nothing is started but the housekeeper's thread.

        Args:
            launcher: starts workers.
            watch: notices what they answer.
            limits: how much they may cost.
        """
        self._launcher = launcher
        self._watch = watch
        self._limits = limits
        # Entered by one call into C, which no signal's handler can come into.
        self._lock = threading.Lock()
        self._vacated = threading.Condition(self._lock)
        self._places = Places(limits, self._end_soon)
        self._next_look = _NEVER
        self._is_closed = False
        self._housekeeper = Housekeeper("stead-workers", self._look)

    def environment(self, uid: int) -> Environment | None:
        """Return the variables of the client's other workers; None if it has none."""
        with self._lock:
            return self._places.environment(uid)

    def cancelled(self, call: Call) -> None:
        """Hear that nobody waits for a call any more: whatever does it is ended."""
        self._housekeeper.do(partial(self._drop, call))

    def submit(self, call: Call, confirm: Callable[[], object]) -> None:
        """Put a call into its client's line, and let the line advance.

        1. Join the line, so that the end of the session finds the call.
        2. Ask whether the session lives: it may have ended before step 1.
        3. Give the call to a worker, if there is one or room for one.

        Args:
            call: what is to be done, and who waits for it.
            confirm: raises if the session has ended.

        Raises:
            QuotaExceededError: the line is full.
            ServerClosedError: the pool is closed.
            SteadError: as `confirm` raises.
        """
        try:
            with self._lock:
                self._join(call)
            confirm()
            with self._lock:
                call.is_ready = True
                work = self._places.advance(call.identity.uid)
            self._give_out(work)
            self._offer_to_attend(call, work)
        except BaseException:
            # A signal's handler may raise anywhere here: what the call has is given up.
            self.cancelled(call)
            raise

    def end_session(self, logon_id: Luid) -> None:
        """End a session's workers at once, with whatever they do."""
        with self._lock:
            calls, workers = self._places.of_session(logon_id)
            settled = self._withdraw(calls, workers)
        self._fail(
            settled, lambda _: LogonSessionEndedError("the logon session has ended")
        )

    def close(self) -> None:
        """End every worker and wait for that, but not for ever; again does nothing."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            settled = self._withdraw(*self._places.everything())
        if was_closed:
            return
        self._fail(settled, lambda _: ServerClosedError("the server is closed"))
        with self._lock:
            self._vacated.wait_for(lambda: not self._places.count, _SECONDS_TO_CLOSE)
            left = self._places.count
        if left:
            _log.error("%s workers of clients did not end in time", left)
        self._housekeeper.close()

    # --- asking -------------------------------------------------------------------

    def _join(self, call: Call) -> None:
        if self._is_closed:
            raise ServerClosedError("the server is closed")
        self._places.join(call)
        if call.deadline is not None:
            self._look_before(call.deadline)

    def _give_out(self, workers: Iterable[Worker]) -> None:
        """Ask workers; the housekeeper, whom no signal interrupts, starts new ones."""
        for worker in workers:
            if worker.is_new:
                self._housekeeper.look()
            elif worker.channel is not None:
                self._ask(worker, worker.channel)

    def _start(self, worker: Worker) -> None:
        """Start a worker's process, and ask it at once: it reads when it can.

        Whatever prevents that, the worker is buried, and its call fails.
        """
        try:
            if not worker.is_ending:
                self._order(worker)
        except BaseException as error:
            worker.refusal = unstarted(error)
            self._end(worker)
            if not isinstance(error, OSError | SteadError):
                raise
        finally:
            if worker.child is None:
                self._housekeeper.do(partial(self._bury, worker))
        if worker.is_ending:
            self._end(worker)
        elif worker.channel is not None:
            self._ask(worker, worker.channel)

    def _order(self, worker: Worker) -> None:
        """Order the process: it gets the null device and one end of a socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            channel = worker.channel = self._channel(ours, worker.key)
            self._watch.add(ours, partial(self._hear, worker, channel))
            bury = partial(self._bury, worker)
            if worker.notes is not None:
                worker.notes.starting()
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                worker.child = self._launcher.start(
                    Order(
                        worker.identity,
                        environment=worker.environment,
                        no_new_privileges=True,
                        body=worker.key.kind,
                        confinement=worker.key.confinement,
                    ),
                    (null, null, null),
                    extra=[theirs.fileno()],
                    on_end=lambda _: self._housekeeper.do(bury),
                )
            finally:
                os.close(null)

    def _channel(self, sock: socket.socket, key: Key) -> WorkerChannel:
        is_opener = key.kind == OPEN
        largest = _LARGEST_OPENED if is_opener else self._limits.reply_bytes
        return WorkerChannel(sock, largest=largest, takes_descriptor=is_opener)

    def _ask(self, worker: Worker, channel: WorkerChannel) -> None:
        call = worker.call
        if call is None:
            return  # it was withdrawn meanwhile
        try:
            channel.ask(worker.asked, call.body)
        except WorkerLostError as error:
            if isinstance(error.__cause__, ConnectionError):
                # It has hung up already: whoever buries it knows why.
                self._end_soon(worker)
            else:
                self._distrust(worker, error)

    # --- hearing: the watch's thread, or who waits --------------------------------

    def _offer_to_attend(self, call: Call, asked: Iterable[Worker]) -> None:
        """Have who waits for a call take its answer from who was asked just now."""
        for worker in asked:
            if worker.call is call and worker.channel is not None:
                attend = partial(self._attend, call, worker, worker.channel)
                call.future.attended_by(attend)

    def _attend(self, call: Call, worker: Worker, channel: WorkerChannel) -> None:
        """Take the answer on the thread that waits for it, if it comes soon.

        So one thread less is woken for each answer. Not on a program's main thread: a
        signal's handler may raise there, with a lock held and the answer lost.
        """
        if threading.current_thread() is threading.main_thread():
            return
        if not worker.hearing.acquire(blocking=False):
            return  # the watch is taking it
        try:
            if worker.call is not call or worker.is_buried:
                return
            self._watch.pause(channel.socket)
            try:
                if channel.is_readable_soon(_SOON):
                    self._take(worker, channel)
            finally:
                self._watch.resume(channel.socket)
        finally:
            worker.hearing.release()

    def _hear(self, worker: Worker, channel: WorkerChannel) -> None:
        """Take what a worker sends, unless who waits for it does."""
        if not worker.hearing.acquire(blocking=False):
            return  # the watch is told again when that has ended
        try:
            self._take(worker, channel)
        finally:
            worker.hearing.release()

    def _take(self, worker: Worker, channel: WorkerChannel) -> None:
        """Take what a worker sends; whoever breaks the protocol is ended."""
        try:
            reply = channel.read()
            if reply is None and channel.is_begun and worker.call is None:
                raise nonsense("it answers what nobody asked")
            if reply is not None:
                self._answered(worker, reply)
        except WorkerLostError as error:
            self._distrust(worker, error)
        if channel.is_hung_up:
            self._watch.remove(channel.socket)
            self._end_soon(worker)

    def _answered(self, worker: Worker, reply: Reply) -> None:
        """Hand an answer over, and give the worker what is next in line."""
        with self._lock:
            call = worker.call
            if call is None or reply.number != worker.asked:
                worker.leftovers.append(reply.descriptor)
                raise nonsense("it answers what nobody asked")
            work = self._places.free(worker, may_go_on=reply.may_go_on)
            is_over = worker.is_ending
            if not is_over:
                self._look_before(time.monotonic() + self._limits.idle_seconds)
        if is_over:
            self._end_soon(worker)
        self._deliver(worker, call, reply)
        self._give_out(work)

    def _deliver(self, worker: Worker, call: Call, reply: Reply) -> None:
        outcome = Outcome(partial(self._read, worker, call.read, reply))
        if len(reply.body) > _READ_ASIDE:
            # An event loop's thread must not be the one that reads so much.
            aside = partial(self._read_aside, call, outcome)
            threading.Thread(target=aside, name="stead-answer", daemon=True).start()
        elif not call.future.deliver(outcome):
            worker.leftovers.append(reply.descriptor)

    @staticmethod
    def _read_aside(call: Call, outcome: Outcome[Any]) -> None:
        outcome.error()
        call.future.deliver(outcome)

    def _read(self, worker: Worker, read: Callable[[Reply], Any], reply: Reply) -> Any:
        """Look into an answer, on whatever thread wants to know."""
        try:
            return read(reply)
        except SteadError as error:
            if reply.descriptor is not None or isinstance(error, WorkerLostError):
                # Whatever came with it is closed when the worker is buried.
                worker.leftovers.append(reply.descriptor)
                self._housekeeper.do(partial(self._distrust, worker, nonsense()))
            raise

    def _distrust(self, worker: Worker, error: SteadError) -> None:
        """End a worker that broke the protocol, and fail what it was asked."""
        if worker.channel is not None:
            self._watch.remove(worker.channel.socket)
        with self._lock:
            settled = self._withdraw([], [worker])
        self._fail(settled, lambda _: error)

    # --- ending: the housekeeper, mostly ------------------------------------------

    def _drop(self, call: Call) -> None:
        with self._lock:
            settled = self._withdraw([call], [])
        for one in settled:
            one.future.set_running_or_notify_cancel()

    def _withdraw(self, calls: Iterable[Call], workers: Iterable[Worker]) -> list[Call]:
        """Take calls, and what workers do, away; end those workers, soon.

        Returns:
            Those calls that nobody else has settled; they are the caller's to settle.
        """
        settled, ending = self._places.withdraw(calls, workers)
        for worker in ending:
            self._end_soon(worker)
        return settled

    def _end_soon(self, worker: Worker) -> None:
        self._housekeeper.do(partial(self._end, worker))

    @staticmethod
    def _fail(calls: Iterable[Call], error: Callable[[Call], SteadError]) -> None:
        for call in calls:
            call.future.fail(error(call))

    def _end(self, worker: Worker) -> None:
        """Have a worker's process killed, with all below it."""
        with self._lock:
            worker.is_ending = True
        if worker.child is not None:
            worker.child.end()

    def _bury(self, worker: Worker) -> None:
        """Settle what a worker leaves behind, now that its process has ended.

        1. Hear its last words: it may have answered and then ended.
        2. Fail what it did not answer.
        3. Close what belongs to nobody, where that may take for ever: aside.
        4. Give its place to somebody else.
        """
        if worker.is_buried:
            return
        worker.is_buried = True
        note_end(worker)
        channel = worker.channel
        if channel is not None:
            with worker.hearing:
                self._hear_out(worker, channel)
                self._watch.remove(channel.socket)
                channel.close()
            worker.leftovers += channel.leftovers()
        with self._lock:
            worker.is_ending = True
            settled, _ = self._places.withdraw([], [worker])
        self._fail(settled, lambda _: loss(worker))
        if any(worker.leftovers):
            aside = partial(self._close_leftovers, worker)
            threading.Thread(target=aside, name="stead-closing", daemon=True).start()
        else:
            self._vacate(worker)

    def _hear_out(self, worker: Worker, channel: WorkerChannel) -> None:
        while worker.call is not None and not channel.is_hung_up:
            before = channel.received
            self._take(worker, channel)
            if channel.received == before:
                return

    def _close_leftovers(self, worker: Worker) -> None:
        """Close descriptors that nobody wants; the client's place waits for that."""
        for descriptor in worker.leftovers:
            if descriptor is not None:
                descriptor.close()
        self._vacate(worker)

    def _vacate(self, worker: Worker) -> None:
        with self._lock:
            work = self._places.vacate(worker)
            self._vacated.notify_all()
        self._give_out(work)

    def _look_before(self, moment: float) -> None:
        if moment < self._next_look:
            self._next_look = moment
            self._housekeeper.look()

    def _look(self) -> float | None:
        """End what had its time, start what is new; return when to look again."""
        now = time.monotonic()
        with self._lock:
            calls = self._places.overdue(now)
            settled = self._withdraw(calls, self._places.idle_too_long(now))
            moment = self._next_look = self._places.next_moment()
            for worker in self._places.unordered():
                self._housekeeper.do(partial(self._start, worker))
        self._fail(settled, too_late)
        return None if moment == _NEVER else max(0.0, moment - now)
