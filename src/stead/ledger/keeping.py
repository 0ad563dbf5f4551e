"""What is done for the trail beside writing it: witnessing, and sealing segments.

One thread, in even intervals, that nobody waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue
from typing import Final

from stead.errors import (
    InvalidRecordError,
    LedgerUnavailableError,
    SteadError,
    WitnessDisagreesError,
)
from stead.ledger.canonical import read_record
from stead.ledger.ports import EvidenceStore, LedgerStore
from stead.ledger.segments import Seal, SegmentPolicy
from stead.ledger.tree import CompactRange
from stead.ledger.witnessing import Witnessing

_STOP_SECONDS: Final = 15.0


class Sealing:
    """Seals segments of a trail when they are due."""

    def __init__(
        self,
        policy: SegmentPolicy,
        entries: LedgerStore,
        evidence: EvidenceStore,
        clock: Callable[[], int],
        *,
        with_witness: bool = False,
    ) -> None:
        """Take what is needed.

        Args:
            policy: when a segment is sealed.
            entries: the trail.
            evidence: where seals are kept.
            clock: nanoseconds since the epoch.
            with_witness: whether seals end where a witness has signed, only.
        """
        self._policy = policy
        self._entries = entries
        self._evidence = evidence
        self._clock = clock
        self._with_witness = with_witness

    def step(self) -> Seal | None:
        """Seal what is due; return the seal, or None.

        Raises:
            LedgerUnavailableError: the store cannot be read or written.
        """
        seals = self._evidence.seals()
        tree, note = self._end()
        now = self._clock()
        began = now if seals else self._began(now)
        if not self._policy.is_due(seals, tree.size, now, began):
            return None
        return self._seal(seals, tree, note, now)

    def seal_now(self) -> Seal | None:
        """Seal whatever there is, due or not; None if there is nothing new."""
        seals = self._evidence.seals()
        tree, note = self._end()
        if tree.size <= (seals[-1].last if seals else 0):
            return None
        return self._seal(seals, tree, note, self._clock())

    def _began(self, now: int) -> int:
        """Return when the first record was made; now, if that cannot be read."""
        first = next(iter(self._entries.entries(0, 1)), None)
        try:
            return now if first is None else read_record(first.body).time
        except InvalidRecordError:
            return now

    def _end(self) -> tuple[CompactRange, str]:
        """Return where a segment would end now, and what is signed there."""
        kept = self._evidence.last_checkpoint()
        if self._with_witness:
            return (CompactRange(), "") if kept is None else (kept.tree, kept.note)
        # What a witness signed that is there no more need not be waited for.
        tree = self._evidence.tree()
        return tree, "" if kept is None or kept.tree != tree else kept.note

    def _seal(
        self, seals: tuple[Seal, ...], tree: CompactRange, note: str, now: int
    ) -> Seal | None:
        last = next(iter(self._entries.entries(tree.size - 1, 1)), None)
        if last is None or last.sequence != tree.size:
            return None  # something is wrong: for `verify` to say, not to be sealed
        made = Seal(
            len(seals) + 1,
            seals[-1].last + 1 if seals else 1,
            tree.size,
            last.digest,
            tree,
            now,
            note,
        )
        return made if self._evidence.add_seal(made) else None


class Keeper:
    """The thread."""

    def __init__(
        self,
        sealing: Sealing,
        witnessing: Witnessing | None,
        report: Callable[[SteadError | None], None],
        seconds: float,
    ) -> None:
        """Take what is to be done; `start` begins.

        Args:
            sealing: seals segments.
            witnessing: hands the trail to a witness; None without one.
            report: told what failed, and None when it works again; only when the kind
                of that changes. Called on the thread.
            seconds: the interval.
        """
        self._sealing = sealing
        self._witnessing = witnessing
        self._report = report
        self._seconds = seconds
        self._failed: type[SteadError] | None = None
        self._is_over = False
        self._stop = threading.Event()
        # Waiting for it takes no lock that an interrupt could leave held.
        self._began: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(
            target=Context().run, args=(self._run,), name="stead-trail", daemon=True
        )

    def start(self) -> None:
        """Begin, and return when it was done once."""
        self._thread.start()
        self._began.get()

    def close(self) -> None:
        """Do it once more, as far as that does not take long, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        if self._witnessing is not None:
            self._witnessing.close()

    def _run(self) -> None:
        try:
            self._step()
        finally:
            self._began.put(None)
        while not self._stop.wait(self._seconds):
            self._step()
        self._step()

    def _step(self) -> None:
        if self._is_over:
            return
        try:
            if self._witnessing is not None:
                self._witnessing.step()
            self._sealing.step()
        except SteadError as error:
            self._is_over = isinstance(error, WitnessDisagreesError)
            self._tell(error)
        except Exception as error:  # noqa: BLE001 - nothing else watches the trail
            self._tell(_unexpected(error))
        else:
            self._tell(None)

    def _tell(self, error: SteadError | None) -> None:
        failed = None if error is None else type(error)
        if failed is not self._failed:
            self._report(error)
        self._failed = failed


def _unexpected(error: Exception) -> SteadError:
    """Return what is told of a failure that nobody foresaw."""
    made = LedgerUnavailableError(
        f"the trail could not be witnessed or sealed: {type(error).__name__}: {error}",
        advice="keep the store as evidence and look with `stead audit verify`",
    )
    made.__cause__ = error
    return made
