"""Making records that name client, server and everybody between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, TypedDict, Unpack

from stead.errors import (
    InvalidRecordError,
    LedgerUnavailableError,
    SteadError,
    StoreSilentError,
)
from stead.model.audit_policy import AuditPolicy
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.well_known import ADMINISTRATORS
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.covering import is_covered
from stead.monitor.frames import FrameKind
from stead.monitor.grant_use import GrantUses
from stead.monitor.ports import AuditRules, AuditSink, FixedRules, Subject
from stead.monitor.record_texts import (
    LONGEST_MARK,
    beforehand,
    cut,
    fitting,
    shortened,
    written,
)

_NO_USE: Final = frozenset({
    AuditEvent.GRANT_MADE, AuditEvent.GRANT_USED, AuditEvent.LOGOFF_ASKED,
})  # fmt: skip


_SERVERS_OWN: Final = frozenset({AuditEvent.TRAIL_STARTED, AuditEvent.TRAIL_STOPPED})


class Parts(TypedDict, total=False):
    """What a record says beside who and when (`stead.model.audit_record`).

    `error` makes it a record of failure, with the error's status and text.
    """

    error: SteadError | None
    operation: str
    object_type: str
    object_name: str
    desired: int
    granted: int
    privileges: tuple[str, ...]
    reasons: tuple[str, ...]
    detail: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Recorder:
    """One server's pen.

    Attributes:
        server: the server, as records print it.
        sink: where records go.
        clock: nanoseconds since the epoch, UTC.
        rules: what may be left out.
        uses: which grants were used.
    """

    server: Principal
    sink: AuditSink
    clock: Callable[[], int]
    rules: AuditRules = field(default_factory=FixedRules)
    uses: GrantUses = field(default_factory=GrantUses)

    def record(
        self, event: AuditEvent, subject: Subject | None, **parts: Unpack[Parts]
    ) -> int:
        """Record durably and return the record's number; no policy leaves this out.

        An error that is recorded learns the number, unless it knows one: the first
        record of a refusal is the one that says why.

        Raises:
            LedgerUnavailableError: it is not durable; do nothing then.
            InvalidRecordError: an act whose record is too large is not done; that it
                was refused is recorded.
            StoreSilentError: that is the error that was to be recorded. It is queued:
                the trail lies where nothing answers, and who is refused need not wait.
        """
        frame, error = context.raw_frame(), parts.get("error")
        if isinstance(error, StoreSilentError):
            self.sink.queue(self.compose(event, subject, frame, **parts))
            raise error
        if subject is not None and subject.token.limits is not None:
            self._record_use(event, subject, frame)
        is_reserved = event in _SERVERS_OWN or _administers(subject)
        for detail in beforehand(parts.get("detail", {})) if error is None else ():
            told: Parts = {**parts, "detail": detail}
            part = self.compose(event, subject, frame, **told)
            self.sink.record(part, is_reserved=is_reserved)
        composed = self.compose(event, subject, frame, **parts)
        try:
            number = self.sink.record(composed, is_reserved=is_reserved)
        except InvalidRecordError as misfit:
            # Whoever made it too large must not keep from the trail that they came.
            whole: Parts = {**parts, "error": error or misfit}
            short = shortened(self.compose(event, subject, frame, **whole))
            number = self.sink.record(short, is_reserved=is_reserved)
            if error is None:
                misfit.record = number
                raise
        if error is not None and error.record is None:
            error.record = number
        return number

    def _record_use(
        self, event: AuditEvent, subject: Subject, frame: Frame | None
    ) -> None:
        """Record a grant's first use, before what it is used for."""
        logon_id = subject.token.logon_id
        if event in _NO_USE or self.uses.is_known(logon_id):
            return
        used, grant = AuditEvent.GRANT_USED, str(logon_id)
        parts: Parts = {"object_type": "Grant", "object_name": grant}
        self.sink.record(self.compose(used, subject, frame, **parts))
        # Not before it is durable: another thread would act on what may yet fail.
        self.uses.know(logon_id)

    def note(
        self, event: AuditEvent, subject: Subject, **parts: Unpack[Parts]
    ) -> int | None:
        """Record as `record` does, unless the policy leaves it out; then None."""
        if not _is_wanted(self.rules.in_force(), event, subject, parts.get("error")):
            return None
        return self.record(event, subject, **parts)

    def queue(
        self,
        event: AuditEvent,
        subject: Subject | None,
        frame: Frame | None,
        **parts: Unpack[Parts],
    ) -> None:
        """Hand on a record nobody waits for, unless the policy leaves it out.

        It never waits and never raises.

        Args:
            event: what happened.
            subject: on whose behalf.
            frame: whose blocks lie between: ends may be told inside somebody else's.
            parts: what else it says.
        """
        if _is_wanted(self.rules.known(), event, subject, parts.get("error")):
            self.sink.queue(self.compose(event, subject, frame, **parts))

    def cover(
        self, event: AuditEvent, subject: Subject, **parts: Unpack[Parts]
    ) -> bool:
        """Record what the record of the client's operation announces already.

        It is not waited for.

        Returns:
            whether it is handed over. If not, there is no such operation, or the trail
            is in trouble: `record` it then. That may be written all the same, with the
            room that is kept for administrators, or be lost as the policy says.
        """
        frame = context.raw_frame()
        if not self._is_announced(subject, frame):
            return False
        try:
            self.sink.cover(self.compose(event, subject, frame, **parts))
        except LedgerUnavailableError:
            return False
        return True

    def _is_announced(self, subject: Subject, frame: Frame | None) -> bool:
        """Tell whether a durable record names this client, request and chain.

        Of somebody who stands between, in whose block this is, it says nothing.
        """
        return (
            subject.token.limits is None
            and is_covered(subject, self.sink)
            and not _stands_between(frame, subject)
        )

    def count(
        self,
        event: AuditEvent,
        subject: Subject | None,
        kind: str,
        **parts: Unpack[Parts],
    ) -> None:
        """Hand on a record that is told with others of its kind; as `queue`."""
        self.sink.count(self.compose(event, subject, None, **parts), kind)

    @contextmanager
    def changing(
        self, event: AuditEvent, subject: Subject | None, **parts: Unpack[Parts]
    ) -> Iterator[None]:
        """Record a change durably before it is made, and again if it fails.

        Raises:
            LedgerUnavailableError: it could not be recorded; it is not made.
        """
        number = self.record(event, subject, **parts)
        try:
            yield
        except SteadError as error:
            detail = {**parts.get("detail", {}), "announced by": str(number)}
            failed: Parts = {**parts, "error": error, "detail": detail}
            self.record(event, subject, **failed)
            raise

    def compose(
        self,
        event: AuditEvent,
        subject: Subject | None,
        frame: Frame | None,
        **parts: Unpack[Parts],
    ) -> AuditRecord:
        """Make a record that names server, client and chain."""
        error = parts.get("error")
        reasons = parts.get("reasons", ())
        client = None if subject is None else subject.principal
        return AuditRecord(
            event=event,
            outcome=Outcome.SUCCESS if error is None else Outcome.FAILURE,
            time=self.clock(),
            server=self.server,
            client=None if client == self.server else client,
            chain=self._chain(subject, frame),
            gate="" if subject is None else cut(subject.gate, LONGEST_MARK),
            peer="" if subject is None else cut(subject.peer, LONGEST_MARK),
            correlation=(
                "" if subject is None else cut(subject.correlation, LONGEST_MARK)
            ),
            operation=cut(
                parts.get("operation", "" if subject is None else subject.operation)
            ),
            object_type=parts.get("object_type", ""),
            object_name=cut(parts.get("object_name", "")),
            desired=parts.get("desired", 0),
            granted=parts.get("granted", 0),
            privileges=parts.get("privileges", ()),
            reasons=fitting(reasons if error is None else (*reasons, str(error))),
            status=0 if error is None else error.status,
            detail=_detail(subject, parts.get("detail", {})),
        )

    def _chain(
        self, subject: Subject | None, frame: Frame | None
    ) -> tuple[Principal, ...]:
        """Return everybody from the server to the client, through nested blocks."""
        between: list[Principal] = []
        frame = context.live_outer(frame)
        while frame is not None:
            is_other = frame.kind is FrameKind.CLIENT and frame.is_mine()
            if frame.subject is not None and is_other:
                between.append(frame.subject.principal)
                between.extend(reversed(frame.subject.through))
            frame = context.live_outer(frame.outer)
        chain = (self.server, *reversed(between))
        whole = chain if subject is None else _extended(chain, subject)
        # A block inside one of the same somebody has another token, and no other link.
        return tuple(link for link, _ in groupby(whole))


def _stands_between(frame: Frame | None, subject: Subject) -> bool:
    """Tell whether a block here is another one's, or came through other ones'."""
    frame = context.live_outer(frame)
    while frame is not None:
        other = frame.subject
        if other is not None and frame.kind is FrameKind.CLIENT and frame.is_mine():
            is_same = other.principal == subject.principal
            if not is_same or other.through != subject.through:
                return True
        frame = context.live_outer(frame.outer)
    return False


def _administers(subject: Subject | None) -> bool:
    """Tell whether somebody can make room on a full disk: what is kept is for them."""
    if subject is None or subject.token.limits is not None:
        return False
    group = subject.token.group(ADMINISTRATORS)
    return group is not None and group.is_enabled and not group.is_deny_only


def _is_wanted(
    policy: AuditPolicy,
    event: AuditEvent,
    subject: Subject | None,
    error: SteadError | None,
) -> bool:
    """Tell whether the policy wants what it may leave out."""
    if subject is None or policy.leaves_nothing_out:
        return True
    return policy.wants(
        event,
        Outcome.SUCCESS if error is None else Outcome.FAILURE,
        subject.token.user,
        is_administrator=any(g.sid == ADMINISTRATORS for g in subject.token.groups),
    )


def _extended(chain: tuple[Principal, ...], subject: Subject) -> tuple[Principal, ...]:
    """Add whom a subject came through, and itself, unless the chain ends with them."""
    whole = (*subject.through, subject.principal)
    if chain[-len(whole) :] == whole:
        return chain
    if subject.through and chain[-len(subject.through) :] == subject.through:
        return (*chain, subject.principal)
    return chain + whole


def _detail(subject: Subject | None, detail: dict[str, str]) -> dict[str, str]:
    said = written(detail)
    if subject is not None and subject.token.limits is not None:
        # Beside whose it is: under which grant, and what that is for.
        said["grant"] = str(subject.token.limits)
    if subject is not None and subject.authenticated_by:
        by = cut(subject.authenticated_by, LONGEST_MARK)
        said.setdefault("authenticated by", by)
    return said
