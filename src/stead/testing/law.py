"""The law of the trail, watched in tests: nothing is done before its record is durable.

    with Law() as law:
        ...
    assert [] == law.take()

While it is in force, every write to a server's security tables, every block that makes
a thread somebody, and every order to a launcher, worker or broker must find a record
that announces it: of the right event, about the same thing, durable before, made by the
same thread (or the one on whose behalf it is carried over), and not used up by another
act. A write to the counts of failed logons comes before its record (see the ADR) and
must be followed by one. What reaches other machines as a client is the matter of
`stead.testing.law_of_hops`; which record announces a write, that of
`stead.testing.law_of_tables`.

It watches this process, and the servers that are opened while it is in force; programs
that tests start stand under a law of their own (tests/everywhere). What another process
would do to a store, a test does by hand; it says so by a mark.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Final, Self
from weakref import WeakSet

from sqlalchemy import Engine, event

from stead.adapters.store.credentials import SqlCredentialStore
from stead.ledger.ledger import Ledger
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.frames import FrameKind, where
from stead.monitor.passing import Pass
from stead.monitor.ports import Subject
from stead.privileged.brokered_launching import BrokeredLauncher
from stead.privileged.launching import Launcher
from stead.server import composition
from stead.server.acting.errands import Errands
from stead.server.brokered import Tickets
from stead.server.service_thread import ServiceThread
from stead.server.workers.workers import Workers
from stead.testing.law_of_hops import HopLaw
from stead.testing.law_of_tables import ANNOUNCED, NAMED, WATCHED

_STATEMENT: Final = re.compile(r"\s*(INSERT INTO|UPDATE|DELETE FROM) \"?(\w+)")
_KEPT: Final = 16


@dataclass(slots=True, eq=False)
class _Announcement:
    record: AuditRecord
    number: int
    used_by: object = None

    def names(self) -> set[str]:
        return {self.record.object_name, *self.record.detail.values()}


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Actor:
    """What one thread has recorded lately, and failures it has counted since."""

    announced: deque[_Announcement] = field(default_factory=lambda: deque(maxlen=_KEPT))
    uncounted: int = 0


class Law:
    """Watches this process while it is in force; see the module.

    Args:
        told: is told of each breach when it happens.
    """

    def __init__(self, told: Callable[[str], object] = lambda _breach: None) -> None:
        self._told = told
        self._here = threading.local()
        self._actors: WeakSet[_Actor] = WeakSet()
        self._engines: WeakSet[Engine] = WeakSet()
        self._doers: WeakSet[Any] = WeakSet()
        self._breaches: list[str] = []
        self._undo: list[Callable[[], None]] = []
        # Counted: an operation may ask for another one of the same request.
        self._asked_for: Counter[tuple[object, ...]] = Counter()
        self._counting = threading.Lock()
        # Of blocks that are entered on a pass: the record of the first, and how many
        # no record has told of.
        self._first: dict[tuple[object, ...], AuditRecord] = {}
        self._untold: Counter[tuple[object, ...]] = Counter()
        self._hops = HopLaw(self._breach)
        self.seen: set[AuditEvent] = set()
        """The events recorded or queued by any ledger while it was in force."""

    def take(self) -> list[str]:
        """Return what broke the law since this was asked last."""
        for actor in list(self._actors):
            if actor.uncounted:
                self._breach("a failed logon was counted and never recorded")
            actor.uncounted = 0
        found, self._breaches = self._breaches, []
        return found

    def _breach(self, breach: str) -> None:
        self._breaches.append(breach)
        self._told(breach)

    # --- in force ---------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._listen("before_cursor_execute", self._statement)
        self._listen("begin", self._begun)
        self._wrap(Ledger, "record", self._recording)
        self._wrap(Ledger, "cover", self._covering)
        self._wrap(Ledger, "queue", self._queueing)
        self._wrap(SqlCredentialStore, "change_failures", self._counting_failures)
        self._wrap(ServiceThread, "_away", self._carrying)
        self._wrap(Errands, "submit", self._carrying)
        self._wrap(composition, "lay_ground", self._grounding)
        self._wrap(composition, "put_together", self._putting)
        self._wrap(context, "enter_frame", self._entering)
        self._wrap(Pass, "enter", self._passing)
        processes = {AuditEvent.PROCESS_CREATED, AuditEvent.WORKER_STARTED}
        for launcher in (Launcher, BrokeredLauncher):
            self._wrap(
                launcher, "start", self._doing("a process is ordered", processes)
            )
        run = self._doing("a function is ordered", {AuditEvent.FUNCTION_RUN})
        self._wrap(Workers, "run", run)
        opening = self._doing("a file is ordered", {AuditEvent.HANDLE_REQUESTED})
        self._wrap(Workers, "open", opening)
        vouch = self._doing("the broker is asked", {AuditEvent.BROKER_ASKED})
        self._wrap(Tickets, "vouch", vouch)
        self._hops.watch(self._wrap)
        return self

    def __exit__(self, *exc: object) -> None:
        while self._undo:
            self._undo.pop()()

    def _listen(self, name: str, heard: Callable[..., None]) -> None:
        event.listen(Engine, name, heard)
        self._undo.append(lambda: event.remove(Engine, name, heard))

    def _wrap(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            return around(original, *arguments, **named)

        setattr(owner, name, wrapped)
        self._undo.append(lambda: setattr(owner, name, original))

    # --- who does it ------------------------------------------------------------------

    def _actor(self) -> _Actor:
        found: _Actor | None = getattr(self._here, "actor", None)
        if found is None:
            found = self._here.actor = _Actor()
            self._actors.add(found)
        return found

    def _carrying(
        self,
        original: Callable[..., Any],
        owner: Any,
        act: Callable[[], Any],
        **how: bool,
    ) -> Any:
        """Let what is carried over to another thread be done by who asked for it."""
        actor = self._actor()

        def carried() -> Any:
            before, self._here.actor = getattr(self._here, "actor", None), actor
            try:
                return act()
            finally:
                self._here.actor = before

        return original(owner, carried, **how)

    # --- records ----------------------------------------------------------------------

    def _recording(
        self,
        original: Callable[..., int],
        ledger: Ledger,
        record: AuditRecord,
        **how: bool,
    ) -> int:
        if record.event is AuditEvent.OPERATION_ENDED:
            with self._counting:
                self._asked_for -= Counter([_asked(record)])
            self._require_told(_request(record))
        actor = self._actor()
        actor.uncounted = 0  # told, or refused with the error that it cannot be told
        number = original(ledger, record, **how)
        self.seen.add(record.event)
        self._hops.recorded(record)
        if record.outcome is Outcome.SUCCESS:
            actor.announced.append(_Announcement(record, number))
        if number and _announces_operation(record):
            with self._counting:
                self._asked_for[_asked(record)] += 1
        return number

    def _covering(
        self, original: Callable[..., None], ledger: Ledger, record: AuditRecord
    ) -> None:
        """See that an operation of this very client's is on record, and at work."""
        with self._counting:
            announced = {asked[:-1] for asked in self._asked_for}
        if _request(record) not in announced:
            self._breach(
                f"{record.event.name} is covered by no operation of its client's"
            )
        original(ledger, record)
        self.seen.add(record.event)
        self._actor().announced.append(_Announcement(record, 0))
        with self._counting:
            self._first[_spot(record)] = record

    def _passing(self, original: Callable[[Pass], Any], known: Pass) -> Any:
        """See that the first block of the kind is on record, and count this one."""
        subject, at = known.subject, known.at or where(known.code, known.last)
        spot = (known.guard.server, subject.principal, subject.correlation, at)
        before = known.entered
        try:
            entered = original(known)
        finally:
            # Also one that the kernel refused: it was about to be entered.
            with self._counting:
                self._untold[spot] += known.entered - before
                first = self._first.get(spot)
        if entered is None:
            return None
        if first is None:
            self._breach(
                "a thread becomes the client on a pass, and no record began it"
            )
        else:
            self._actor().announced.append(_Announcement(first, 0))
        return entered

    def _require_told(self, request: tuple[object, ...]) -> None:
        """See that every block of an operation is told of before it is said to end.

        Unless one like it is at work: then these blocks may be that one's.
        """
        with self._counting:
            if any(asked[:-1] == request for asked in +self._asked_for):
                return
            mine = [spot for spot in self._untold if spot[:-1] == request]
            untold = sum(self._untold.pop(spot) for spot in mine)
            for spot in [spot for spot in self._first if spot[:-1] == request]:
                del self._first[spot]
        if untold:
            self._breach(f"{untold} blocks of an operation are told by no record")

    def _queueing(
        self, original: Callable[..., None], ledger: Ledger, record: AuditRecord
    ) -> None:
        if isinstance(record, AuditRecord):  # anything may be queued
            self.seen.add(record.event)
            if record.event is AuditEvent.IMPERSONATION_ENTERED:
                with self._counting:
                    self._untold[_spot(record)] -= int(record.detail.get("count", 0))
        original(ledger, record)

    # --- acts -------------------------------------------------------------------------

    def _grounding(
        self, original: Callable[..., Any], *arguments: Any, **named: Any
    ) -> Any:
        _, _, store, *_ = arguments
        for database in store._databases:  # noqa: SLF001 - nobody else may ask
            self._engines.add(database._engine)  # noqa: SLF001 - likewise
        return original(*arguments, **named)

    def _putting(
        self, original: Callable[..., Any], *arguments: Any, **named: Any
    ) -> Any:
        means = original(*arguments, **named)
        self._doers.update((means.programs, means.functions, means.workers))
        return means

    def _counting_failures(
        self,
        original: Callable[..., None],
        store: SqlCredentialStore,
        *arguments: Any,
        **named: Any,
    ) -> None:
        """Hear of counts, which are written in the driver's own words."""
        if store._database._engine in self._engines:  # noqa: SLF001 - nobody else may
            self._actor().uncounted += 1
        original(store, *arguments, **named)

    def _begun(self, connection: Any) -> None:
        connection.info["law"] = object()

    def _statement(
        self,
        connection: Any,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        _many: object,
    ) -> None:
        found = _STATEMENT.match(statement)
        if found is None or connection.engine not in self._engines:
            return
        verb, table = found[1].partition(" ")[0], found[2]
        if table == "logon_failure":
            self._actor().uncounted += 1
        events = ANNOUNCED.get((table, verb))
        if events is None:
            if table in WATCHED:
                self._breach(f"{verb} of `{table}` is announced by nothing")
            return
        names = set(map(str, parameters)) if (table, verb) in NAMED else None
        what = f"{verb} of `{table}` {names or ''}"
        self._require(what, events, by=connection.info.get("law"), names=names)

    def _doing(self, what: str, events: Collection[AuditEvent]) -> Callable[..., Any]:
        def around(
            original: Callable[..., Any], doer: Any, *args: Any, **kw: Any
        ) -> Any:
            if doer in self._doers or isinstance(doer, Tickets):
                whose = next((a for a in args if isinstance(a, Subject)), None)
                self._require(what, events, by=object(), whose=whose)
            return original(doer, *args, **kw)

        return around

    def _entering(self, original: Callable[[Frame], None], frame: Frame) -> None:
        if frame.guard is not None and frame.kind is not FrameKind.HANDLER:
            entered = AuditEvent.IMPERSONATION_ENTERED
            if frame.kind is FrameKind.SERVER:
                entered = AuditEvent.ACTED_AS_SERVER
            what = f"a thread becomes {frame.kind.value}"
            self._require(what, {entered}, by=frame, whose=frame.subject)
        original(frame)

    def _require(
        self,
        what: str,
        events: Collection[AuditEvent],
        *,
        by: object,
        names: set[str] | None = None,
        whose: Subject | None = None,
    ) -> None:
        """Use up a record that announces this act; note a breach if there is none."""
        for one in reversed(self._actor().announced):
            is_free = one.used_by is None or one.used_by is by
            is_named = names is None or bool(names & one.names())
            is_about_it = is_named and _is_of(one.record, whose)
            if one.record.event in events and is_free and is_about_it:
                one.used_by = by
                return
        awaited = ", ".join(sorted(event.name for event in events))
        self._breach(f"{what}, and no durable {awaited} announced it")


def _is_of(record: AuditRecord, subject: Subject | None) -> bool:
    """Tell whether a record names whom an act is for, and ties it to its request."""
    if subject is None:
        return True
    named = record.server if record.client is None else record.client
    return named == subject.principal and record.correlation == subject.correlation


def _announces_operation(record: AuditRecord) -> bool:
    succeeded = record.outcome is Outcome.SUCCESS
    return record.event is AuditEvent.OPERATION_REQUESTED and succeeded


def _asked(record: AuditRecord) -> tuple[object, ...]:
    return *_request(record), record.operation


def _spot(record: AuditRecord) -> tuple[object, ...]:
    """Return by whom, in which request and at which line a block was entered."""
    return *_request(record), record.detail.get("where", "")


def _request(record: AuditRecord) -> tuple[object, ...]:
    """Return which request of whose a record belongs to."""
    return record.server, record.client, record.correlation
