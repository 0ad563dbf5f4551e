"""What a server's trail is made of, from the disk to whoever reads it elsewhere.

They end in another order than they begin: the ledger before the witness and the sinks,
so that the last record is witnessed and sent too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from stead.adapters.store import Store
from stead.ledger.indexing import IndexKeeper
from stead.ledger.ledger import Ledger
from stead.ledger.remaining import Remaining
from stead.ledger.sinks import Sink
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.auditing import StoredRules
from stead.server.service_thread import ServiceThread, carried
from stead.server.settings import Settings
from stead.server.sinks import Pumps, export_origin, make_sinks
from stead.server.trail import Trail
from stead.server.trail_watch import TrailWatch, WitnessedSink


class TrailParts:
    """The parts, each opened at its step of `stead.server.composition.compose`."""

    def __init__(self, settings: Settings, store: Store, undo: ExitStack) -> None:
        """Put together what ends after the ledger; nothing runs yet.

        Raises:
            InvalidRequestError: a library for the witness's key is missing, or a sink
                means nothing.
        """
        self._settings = settings
        self._store = store
        self._undo = undo
        self._sinks = _sinks(settings, store)
        self._watch = TrailWatch(settings, store)
        undo.callback(self._watch.close)
        self._pumps = Pumps()
        undo.callback(self._pumps.close)

    def open_ledger(
        self, server: Principal, genesis: bytes, rules: StoredRules
    ) -> WitnessedSink:
        """Open the ledger, with what is kept on its disk and what may be lost."""
        room = self._store.reserve(self._settings.trail_reserve)
        self._undo.callback(room.close)
        ledger = Ledger(
            self._store.ledger,
            genesis=genesis,
            note=partial(make_note, server),
            room=room,
            # As it was last read: the writer must not wait for the store.
            may_lose=lambda: rules.known().losable,
        )
        return WitnessedSink(self._undo.enter_context(ledger))

    def start(self, guard: Guard, subject: Subject) -> None:
        """Ask the witness, and start what reads the trail in the background.

        Raises:
            WitnessDisagreesError: the witness has signed another history.
        """
        self._watch.start(guard, subject)
        store = self._store
        keeper = IndexKeeper(store.reading, store.index, monotonic=time.monotonic_ns)
        self._undo.callback(keeper.close)
        if self._sinks:
            self._pumps.start(self._sinks, store.open_for_sinks(), guard, subject)

    def trail(
        self,
        service: ServiceThread,
        guard: Guard,
        genesis: bytes,
        securable: SecurableObject,
        subject: Subject,
    ) -> Trail:
        """Return the trail as the server reads it."""
        store = self._store
        return Trail(
            guard,
            carried(Remaining(store.reading, store.evidence), service),
            carried(store.evidence, service),
            carried(store.index, service),
            genesis,
            securable,
            subject,
        )


def make_note(
    server: Principal, event: AuditEvent, detail: dict[str, str]
) -> AuditRecord:
    """Make a record of the trail's own: what was lost, or refused."""
    return AuditRecord(
        event=event,
        outcome=Outcome.FAILURE,
        time=time.time_ns(),
        server=server,
        chain=(server,),
        detail=detail,
    )


def _sinks(settings: Settings, store: Store) -> list[Sink]:
    """Return where the trail is sent; see `make_sinks` for what it raises."""
    if not settings.sinks:
        return []
    return make_sinks(settings.sinks, export_origin(str(store.accounts.domain())))
