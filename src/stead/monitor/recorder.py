"""Making records that name client, server and everybody between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypedDict, Unpack

from stead.errors import SteadError
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.monitor import context
from stead.monitor.context import Frame
from stead.monitor.frames import FrameKind
from stead.monitor.ports import AuditSink, Subject

LONGEST_TEXT: Final = 2048
"""Characters of one text in a record; a path holds 4095 bytes, a flood much more."""


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
    """

    server: Principal
    sink: AuditSink
    clock: Callable[[], int]

    def record(
        self, event: AuditEvent, subject: Subject | None, **parts: Unpack[Parts]
    ) -> int:
        """Record durably and return the record's number.

        An error that is recorded learns the number, unless it knows one: the first
        record of a refusal is the one that says why.

        Raises:
            LedgerUnavailableError: it is not durable; do nothing then.
        """
        frame = context.raw_frame()
        number = self.sink.record(self.compose(event, subject, frame, **parts))
        error = parts.get("error")
        if error is not None and error.record is None:
            error.record = number
        return number

    def queue(
        self,
        event: AuditEvent,
        subject: Subject | None,
        frame: Frame | None,
        **parts: Unpack[Parts],
    ) -> None:
        """Hand on a record nobody waits for; never waits, never raises.

        Args:
            event: what happened.
            subject: on whose behalf.
            frame: whose blocks lie between: ends may be told inside somebody else's.
            parts: what else it says.
        """
        self.sink.queue(self.compose(event, subject, frame, **parts))

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
            gate="" if subject is None else subject.gate,
            peer="" if subject is None else subject.peer,
            correlation="" if subject is None else subject.correlation,
            operation=_cut(parts.get("operation", "")),
            object_type=parts.get("object_type", ""),
            object_name=_cut(parts.get("object_name", "")),
            desired=parts.get("desired", 0),
            granted=parts.get("granted", 0),
            privileges=parts.get("privileges", ()),
            reasons=tuple(
                map(_cut, reasons if error is None else (*reasons, str(error)))
            ),
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


def _extended(chain: tuple[Principal, ...], subject: Subject) -> tuple[Principal, ...]:
    """Add whom a subject came through, and itself, unless the chain ends with them."""
    whole = (*subject.through, subject.principal)
    if chain[-len(whole) :] == whole:
        return chain
    if subject.through and chain[-len(subject.through) :] == subject.through:
        return (*chain, subject.principal)
    return chain + whole


def _detail(subject: Subject | None, detail: dict[str, str]) -> dict[str, str]:
    said = {name: _cut(text) for name, text in detail.items()}
    if subject is not None and subject.token.limits is not None:
        # Beside whose it is: under which grant, and what that is for.
        said["grant"] = str(subject.token.limits)
    if subject is not None and subject.authenticated_by:
        said.setdefault("authenticated by", subject.authenticated_by)
    return said


def _cut(text: str) -> str:
    """Bound what one text may cost the trail, and say so where it is cut."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}... ({len(text)} characters)"
