"""What a server does about its trail's witness, and when that finds something.

A witness that is down is said once, in the trail and the log, and again when it is
back: the server goes on. One that has signed another history than the store's means
that the store is not what it was: that is recorded, and then nothing is recorded or
done any more, unless the policy is to go on.
"""

from __future__ import annotations

import logging
import time
from importlib.util import find_spec
from typing import Final

from stead.adapters.store import Store
from stead.errors import (
    InvalidRequestError,
    LedgerUnavailableError,
    SteadError,
    WitnessDisagreesError,
)
from stead.ledger.checkpoint import origin_of
from stead.ledger.keeping import Keeper, Sealing
from stead.ledger.ledger import Ledger
from stead.ledger.witnessing import Witnessing
from stead.model.audit_record import AuditEvent, AuditRecord
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.server.settings import Settings

_log: Final = logging.getLogger("stead.trail")
_SEALING_SECONDS: Final = 60.0


class WitnessedSink:
    """The ledger, until the witness disagrees: then everything is refused."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._disagreed: WitnessDisagreesError | None = None

    def halt(self, error: WitnessDisagreesError) -> None:
        """Record nothing more that somebody waits for."""
        self._disagreed = error

    def record(self, record: AuditRecord, *, is_reserved: bool = False) -> int:
        """Record durably; raises `LedgerUnavailableError`."""
        self._require_agreed()
        return self._ledger.record(record, is_reserved=is_reserved)

    def cover(self, record: AuditRecord) -> None:
        """Take a record that another one covers; raises `LedgerUnavailableError`."""
        self._require_agreed()
        self._ledger.cover(record)

    def is_well(self) -> bool:
        """Tell whether `cover` would take a record now, as far as is known."""
        return self._disagreed is None and self._ledger.is_well()

    def queue(self, record: AuditRecord) -> None:
        """Take a record nobody waits for."""
        self._ledger.queue(record)

    def _require_agreed(self) -> None:
        if self._disagreed is not None:
            raise LedgerUnavailableError(
                f"nothing is done any more: {self._disagreed}",
                advice=self._disagreed.advice,
            )

    def close(self) -> None:
        """Close the ledger; raises `LedgerUnavailableError` as that does."""
        self._ledger.close()

    def count(self, record: AuditRecord, kind: str) -> None:
        """Take a record that is told with others of its kind."""
        self._ledger.count(record, kind)


class TrailWatch:
    """Keeps the trail witnessed and sealed while the server runs."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """Put together what is needed; nothing is asked yet.

        Raises:
            InvalidRequestError: there is a witness, and no library for its key.
        """
        witnessing = None if settings.witness is None else _witnessing(settings, store)
        sealing = Sealing(
            settings.segments,
            store.reading,
            store.evidence,
            time.time_ns,
            with_witness=witnessing is not None,
        )
        self._witnessing = witnessing
        self._evidence = store.evidence
        self._halts = settings.witness_halts
        self._guard: Guard | None = None
        self._subject: Subject | None = None
        self._error: SteadError | None = None
        self._keeper = Keeper(
            sealing,
            witnessing,
            self._report,
            _SEALING_SECONDS if witnessing is None else settings.witness_seconds,
        )

    def start(self, guard: Guard, subject: Subject) -> None:
        """Ask the witness once, and go on asking.

        Args:
            guard: whose trail it is.
            subject: the server.

        Raises:
            WitnessDisagreesError: it has signed another history, and the policy is to
                stop.
            LedgerUnavailableError: that there is a witness could not be noted.
        """
        self._guard, self._subject = guard, subject
        if self._witnessing is not None and not self._evidence.has_witness():
            # What it has not signed stays, whoever opens the store, with it or without.
            self._evidence.set_witness()
        self._keeper.start()
        if self._halts and isinstance(self._error, WitnessDisagreesError):
            raise self._error

    def close(self) -> None:
        """Hand over the last records, and end."""
        self._keeper.close()

    def _report(self, error: SteadError | None) -> None:
        before, self._error = self._error, error
        if error is None and before is None:
            return
        says = "the witness is back" if error is None else str(error)
        disagrees = isinstance(error, WitnessDisagreesError)
        level = logging.CRITICAL if disagrees else logging.WARNING
        _log.log(level, "%s", says)
        if self._guard is None:
            return
        signed = 0 if self._witnessing is None else self._witnessing.witnessed
        self._guard.recorder.queue(
            AuditEvent.WITNESS_REPORTED,
            self._subject,
            None,
            error=error,
            detail={"says": says, "signed up to": str(signed)},
        )
        sink = self._guard.recorder.sink
        if isinstance(error, WitnessDisagreesError) and self._halts:
            assert isinstance(sink, WitnessedSink)  # noqa: S101 - for the types
            sink.halt(error)


def _witnessing(settings: Settings, store: Store) -> Witnessing:
    if find_spec("cryptography") is None:
        raise InvalidRequestError(
            "a witness's signatures need `cryptography`",
            advice="pip install 'stead[witness]'",
        )
    from stead.adapters.ed25519 import Ed25519Verifier  # noqa: PLC0415 - an extra's
    from stead.adapters.witness_link import StreamWitnessLink  # noqa: PLC0415 - as well

    assert settings.witness is not None  # noqa: S101 - for the types
    return Witnessing(
        StreamWitnessLink(settings.witness),
        Ed25519Verifier.from_string(settings.witness_key),
        origin_of(str(store.accounts.domain())),
        store.reading,
        store.evidence,
    )
