"""Sending the trail elsewhere: one pump for each sink, after the fact.

A pump is a thread that reads the trail from the store, behind a cursor of its own that
the store keeps, and hands what it reads to a `Sink` in bounded batches. Nobody waits
for it, and it waits for nobody:

1. What was sent counts as received when the far end has acknowledged it, as far as its
   protocol can; only then the cursor moves.
2. When the far end fails, all behind the cursor is sent again, after a wait that grows,
   for ever. So a record may arrive twice, always under the same identity, and none is
   left out; what was never sent is in the trail and costs no memory.
3. That a sink is down is told once, and once that it is up again, with how many waited.

Several processes may have the same sink over one store: each sends all, as doubles.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final

from stead.errors import InvalidRecordError, SinkUnavailableError, SteadError
from stead.ledger.canonical import read_record
from stead.ledger.exporting import Numbered
from stead.ledger.ports import Entry
from stead.ledger.sinks import Cursor, News, NewsKind, Pace, Sink, SinkStore
from stead.model.audit_record import AuditRecord

_log: Final = logging.getLogger("stead.ledger")


@dataclass(slots=True)
class _State:
    """What a pump knows of its sink."""

    sent: Cursor = field(default_factory=Cursor)
    acknowledged: Cursor = field(default_factory=Cursor)
    unconfirmed: int = 0
    confirm_by: float = 0.0
    failures: int = 0
    refused: int = 0
    told: int = 0
    gap_told: int = 0
    is_placed: bool = False


class Pump:
    """Sends one sink the trail, from its cursor on, until it is closed."""

    def __init__(
        self,
        sink: Sink,
        store: SinkStore,
        *,
        tell: Callable[[News], None],
        unreadable: Callable[[str], AuditRecord],
        monotonic: Callable[[], float],
        worked: Callable[[], float],
        pace: Pace | None = None,
    ) -> None:
        """Make a pump; `start` starts it.

        Args:
            sink: where to.
            store: where the trail and the cursor are.
            tell: is told what becomes of it, on the pump's thread; must not wait.
            unreadable: makes the record that is sent in place of an entry that is no
                record (any more), given why; whoever owns the clock hands it in.
            monotonic: seconds that never step.
            worked: seconds of processor time that the calling thread has used.
            pace: how fast, and how patient.
        """
        self._sink = sink
        self._store = store
        self._tell = tell
        self._unreadable = unreadable
        self._monotonic = monotonic
        self._worked = worked
        self._pace = pace or Pace()
        self._state = _State()
        self._end = threading.Event()
        # As the server, and nobody's: a thread takes its context from who starts it.
        self._thread = threading.Thread(
            target=Context().run,
            args=(self._run,),
            name="stead-sink",
            daemon=True,
        )

    def start(self) -> None:
        """Start the thread, which inherits the credentials of this one."""
        self._thread.start()

    def end_soon(self) -> None:
        """Make it send what is left and end; `close` waits for that."""
        self._end.set()

    def close(self) -> None:
        """Send what is left if the sink takes it in time, and end.

        Records that are not sent by then are sent when a server next has this sink.
        """
        self._end.set()
        if not self._thread.is_alive():
            return
        self._thread.join(self._pace.grace)
        if self._thread.is_alive():
            self._sink.interrupt()
            self._thread.join(self._pace.grace)

    def _run(self) -> None:
        while not self._end.is_set():
            self._attempt()
        if not self._state.failures:
            self._attempt()
        self._sink.reset()

    def _attempt(self) -> None:
        """Take turns until there is an end or a failure; then wait."""
        try:
            self._place()
            while self._turn():
                pass
        except SinkUnavailableError as error:
            self._failed(str(error))
        except SteadError as error:
            # The store's failure, not the sink's: whoever writes to it hears as well.
            _log.warning(
                "the trail cannot be read for `%s`: %s", self._sink.name, error
            )
            self._give_up()
            self._end.wait(self._pace.poll)
        except Exception as error:  # noqa: BLE001 - see below
            # The outermost loop of this thread: no mistake in an adapter ends it.
            # Its text may hold what it was made of, a token too: its kind says enough.
            _log.error("the sink `%s` fails: %s", self._sink.name, type(error).__name__)
            self._failed(f"its adapter fails: {type(error).__name__}")

    def _turn(self) -> bool:
        """Send a batch, if there is one, confirm if it is time; False at the end."""
        state = self._state
        is_ending, began = self._end.is_set(), self._worked()
        batch = self._next()
        if batch:
            self._send(batch)
        is_idle = len(batch) < self._pace.batch
        if state.unconfirmed and self._must_confirm(is_ending=is_ending and is_idle):
            self._sink.confirm()
            self._acknowledged()
        if is_ending and not batch:
            return False
        # While it catches up it rests as long as it worked: the interpreter is the
        # server's as well, and appends must not wait for their turn at it.
        rest = self._pace.poll if is_idle else self._worked() - began
        self._end.wait(rest)
        return True

    def _send(self, batch: list[Numbered]) -> None:
        state = self._state
        refused = self._sink.send(batch)
        if not state.unconfirmed:
            state.confirm_by = self._monotonic() + self._pace.confirm_after
        state.sent = Cursor(batch[-1].number, batch[-1].digest)
        state.unconfirmed += len(batch)
        self._count_refused(refused)

    def _must_confirm(self, *, is_ending: bool) -> bool:
        state = self._state
        return (
            is_ending
            or state.failures > 0  # it was down: the first sign of life is told
            or state.unconfirmed >= self._sink.window
            or self._monotonic() >= state.confirm_by
        )

    def _acknowledged(self) -> None:
        state = self._state
        waited = self._waiting() if state.failures else 0
        self._store.move(self._sink.name, state.sent)
        state.acknowledged, state.unconfirmed = state.sent, 0
        if state.failures:
            state.failures = 0
            self._news(NewsKind.UP, waited)

    def _failed(self, because: str) -> None:
        self._give_up()
        self._state.failures += 1
        if self._state.failures == 1:
            self._news(NewsKind.DOWN, self._waiting(), because)
        self._end.wait(self._wait())

    def _wait(self) -> float:
        """Return how long to wait now: twice as long each time, up to a bound."""
        doubled: float = self._pace.first_wait * 2 ** min(self._state.failures - 1, 30)
        return min(doubled, self._pace.longest_wait)

    def _give_up(self) -> None:
        """Go back to what was acknowledged: what was sent since is sent again."""
        self._sink.reset()
        self._state.is_placed = False
        self._state.unconfirmed = 0

    # --- reading ----------------------------------------------------------------------

    def _place(self) -> None:
        """Find the place in the trail, unless it is known."""
        state = self._state
        if state.is_placed:
            return
        kept = self._store.cursor(self._sink.name)
        if kept.number and not self._is_there(kept):
            self._news(NewsKind.BEGAN_ANEW, kept.number, "the trail is another one")
            kept = Cursor()
        state.sent = state.acknowledged = kept
        state.is_placed = True

    def _is_there(self, kept: Cursor) -> bool:
        """Tell whether the trail is that of a cursor, as far as it still goes back."""
        found = next(self._store.entries(kept.number - 1, 1), None)
        if found is None:
            return False
        return found.sequence != kept.number or found.digest == kept.digest

    def _next(self) -> list[Numbered]:
        state = self._state
        entries = self._store.entries(state.sent.number, self._pace.batch)
        batch = [self._numbered(entry) for entry in entries]
        if batch and state.sent.number:
            missing = batch[0].number - state.sent.number - 1
            # Told once: while the sink is down, each attempt comes here again.
            if missing and state.gap_told != batch[0].number:
                state.gap_told = batch[0].number
                because = "the trail no longer had them"
                self._news(NewsKind.NOT_SENT, missing, because)
        return batch

    def _numbered(self, entry: Entry) -> Numbered:
        try:
            record = read_record(entry.body)
        except InvalidRecordError as error:
            record = self._unreadable(str(error))
        return Numbered(entry.sequence, record, entry.digest)

    # --- telling ----------------------------------------------------------------------

    def _count_refused(self, refused: Sequence[int]) -> None:
        """Tell of a first refusal, and of all together when records pass again.

        Never of each: what is told is a record, which may be refused as well.
        """
        state = self._state
        if refused and not state.refused:
            shown = ", ".join(map(str, refused[:10]))
            because = f"the far end refuses them for good: {shown}"
            self._news(NewsKind.NOT_SENT, len(refused), because)
            state.told = len(refused)
        elif not refused and state.refused > state.told:
            because = "the far end refused so many in all"
            self._news(NewsKind.NOT_SENT, state.refused, because)
        state.refused = state.refused + len(refused) if refused else 0

    def _waiting(self) -> int:
        """Return how many records wait; 0 where the store cannot say."""
        try:
            last = self._store.last()
        except SteadError:
            return 0
        number = 0 if last is None else last.sequence
        return max(0, number - self._state.acknowledged.number)

    def _news(self, kind: NewsKind, count: int, because: str = "") -> None:
        news = News(kind, self._sink.name, count, because)
        _log.warning("sink `%s` %s: %s %s", news.sink, kind.value, count, because)
        if not self._end.is_set():
            # At the end the ledger is closed: what stands is told at the next start.
            self._tell(news)
