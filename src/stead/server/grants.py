"""Grants: a client's token lent with limits (`client.limited`).

A grant is a logon session within the client's own, whose ceiling is the limited token
(docs/adr/0053). So whatever acts in it is keyed by it, ends with it, and is named by
its number in the trail; and a token that somebody takes the limits off belongs to no
session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

from stead.authority.sessions import Sessions
from stead.errors import InvalidRequestError
from stead.model.access_mask import (
    FILE_MAPPING,
    AccessMask,
    FileRights,
    Rights,
    name_rights,
)
from stead.model.arguments import several
from stead.model.audit_record import AuditEvent
from stead.model.limits import (
    EVERY_KIND,
    FILES,
    FileRoot,
    Host,
    KindRights,
    NamePattern,
    TokenLimits,
)
from stead.model.luid import Luid
from stead.model.privilege import Privilege
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.acting.deadlines import Deadlines


@dataclass(frozen=True, slots=True)
class OperationName:
    """One of the server's operations, as a target; `name` is exact."""

    name: str


Target: TypeAlias = (
    str
    | NamePattern
    | SecurableObject
    | OperationName
    | Host
    | FileRoot
    | os.PathLike[str]
)
_SEVERAL: Final = "write a list, also for one"
EXPIRED: Final = "expired"
_NANOSECONDS: Final = 1_000
_FOREVER: Final = 86_400.0 * 365


def prefix(text: str) -> NamePattern:
    """Return what means every object whose name begins with `text`.

    Raises:
        InvalidRequestError: it is empty, which would be every object: say `ANY_NAME`.
    """
    if not text:
        raise InvalidRequestError(
            "an empty prefix means every object", advice="say `ANY_NAME`"
        )
    return NamePattern(text, is_prefix=True)


def limits_of(
    now: int,
    expires: datetime | timedelta,
    rights: Iterable[int] | int,
    targets: Iterable[Target],
    privileges: Iterable[Privilege],
    purpose: str,
) -> TokenLimits:
    """Return the limits that are meant; see `ClientContext.limited`.

    Args:
        now: nanoseconds since the epoch, UTC.
        expires: see there; so is what follows.
        rights: see there.
        targets: see there.
        privileges: see there.
        purpose: see there.

    Raises:
        InvalidRequestError: they cannot be meant.
    """
    found = _Targets()
    for target in several("targets", targets, object, _SEVERAL):
        found.add(target)
    limits = TokenLimits(
        expires=_moment(now, expires),
        rights=_by_kind(rights),
        objects=tuple(found.objects),
        operations=tuple(found.operations),
        files=tuple(found.files),
        hosts=tuple(found.hosts),
        privileges=frozenset(several("privileges", privileges, Privilege, _SEVERAL)),
        purpose=purpose,
    )
    _require_roots_meant(limits)
    return limits


@dataclass(slots=True, eq=False)
class Grant:
    """A grant, as its maker holds it.

    Attributes:
        subject: whom checks and records are about.
        limits: what it reaches at most.
        end: ends its session; its `why` is recorded.
        let_go: gives up the maker's hold on its session.
    """

    subject: Subject
    limits: TokenLimits
    let_go: Callable[[], None]
    _end: Callable[[str], None]

    def revoke(self) -> None:
        """End its session at once, with whatever acts in it."""
        self._end("revoked")


@dataclass(frozen=True, slots=True, eq=False)
class Grants:
    """Makes grants for one server's clients.

    Attributes:
        guard: records them.
        sessions: opens their sessions.
        deadlines: ends them in time; None where nothing acts, and each question looks.
    """

    guard: Guard
    sessions: Sessions
    deadlines: Deadlines | None

    def make(self, subject: Subject, limits: TokenLimits) -> Grant:
        """Open a grant's session, and record durably what it is.

        1. The client's session lives; the grant's own opens within it.
        2. What was lent to whom, and until when, is recorded durably.
        3. Its end is recorded whoever ends it, and its time ends it.

        Raises:
            LogonSessionEndedError: the client's session has ended.
            InvalidRequestError: the token was limited too often.
            LedgerUnavailableError: it could not be recorded; nothing is left of it.
        """
        session = self.sessions.open_limited(subject.token, limits)
        logon_id, token = session.record.logon_id, session.token
        lent = replace(
            subject,
            token=token,
            principal=replace(subject.principal, logon_id=logon_id),
        )
        made = token.limits or limits
        ending = _Ending(self.guard, lent)
        try:
            self._record(lent, made, within=subject)
            self.sessions.on_end(logon_id, ending.record)
        except BaseException:
            self.sessions.end(logon_id)
            raise
        end = partial(_end, self.sessions, logon_id, ending)
        self._end_in_time(logon_id, made, partial(end, EXPIRED))
        return Grant(lent, made, partial(_let_go, self.sessions, logon_id), end)

    def _record(self, lent: Subject, made: TokenLimits, *, within: Subject) -> None:
        self.guard.recorder.record(
            AuditEvent.GRANT_MADE,
            lent,
            object_type="Grant",
            object_name=str(made.grant),
            privileges=tuple(sorted(p.value for p in made.kept_privileges)),
            detail=made.in_words() | {"within": str(within.principal.logon_id)},
        )

    def _end_in_time(
        self, logon_id: Luid, made: TokenLimits, end: Callable[[], None]
    ) -> None:
        if self.deadlines is None:
            return
        seconds = (made.ends - self.guard.clock()) / 1e9
        # What lies further away is looked at when somebody asks; no timer waits for it.
        if seconds < _FOREVER:
            timer = self.deadlines.after(max(0.0, seconds), end)
            self.sessions.on_end(logon_id, timer.call_off)


@dataclass(slots=True, eq=False)
class _Ending:
    """Records a grant's end, once, with why as far as anybody said so."""

    guard: Guard
    subject: Subject
    why: str = field(default="")

    def record(self) -> None:
        """Record it; nobody waits for that, and no finalizer may."""
        limits = self.subject.token.limits
        self.guard.grant_uses.forget(self.subject.token.logon_id)
        over = limits is not None and limits.ends <= self.guard.clock()
        why = self.why or (EXPIRED if over else "its session has ended")
        self.guard.recorder.queue(
            AuditEvent.GRANT_EXPIRED if why == EXPIRED else AuditEvent.GRANT_ENDED,
            self.subject,
            None,
            object_type="Grant",
            object_name=str(self.subject.principal.logon_id),
            detail={"because": why},
        )


def _end(sessions: Sessions, logon_id: Luid, ending: _Ending, why: str) -> None:
    ending.why = ending.why or why
    sessions.end(logon_id)


def _let_go(sessions: Sessions, logon_id: Luid) -> None:
    sessions.release(logon_id)


# --- what people write --------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Targets:
    objects: list[NamePattern] = field(default_factory=list)
    operations: list[NamePattern] = field(default_factory=list)
    files: list[FileRoot] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)

    def add(self, target: Target) -> None:
        """Take one target; a plain text is one exact name."""
        match target:
            case str():
                self.objects.append(NamePattern(target))
            case NamePattern():
                self.objects.append(target)
            case SecurableObject():
                self.objects.append(NamePattern(target.name))
            case OperationName():
                self.operations.append(NamePattern(target.name))
            case Host():
                self.hosts.append(target)
            case FileRoot():
                self.files.append(target)
            case os.PathLike():
                self.files.append(FileRoot(_path(target)))
            case _:
                raise InvalidRequestError(
                    "a target is an object or its name, a path, a host, or the name of "
                    "an operation"
                )


def _require_roots_meant(limits: TokenLimits) -> None:
    """Refuse a root that says less than one above it: rights add up, as in Landlock.

    Raises:
        InvalidRequestError: whoever wrote it means to keep something back.
    """
    most = limits.rights_of(FILES, FILE_MAPPING)
    for above in limits.files:
        for beneath in limits.files:
            more = above.rights & most & ~beneath.rights
            if more and above.holds(beneath.path):
                raise InvalidRequestError(
                    f"file root `{beneath.path}` cannot leave less than "
                    f"`{above.path}`, which holds it",
                    advice="name what is meant beneath the larger root, and not that",
                )


def _path(target: os.PathLike[str]) -> str:
    path = os.fspath(target)
    if not isinstance(path, str):
        raise InvalidRequestError("a file root is a path of text")
    return path


def _moment(now: int, expires: datetime | timedelta) -> int:
    """Return the time that is meant, in nanoseconds since the epoch."""
    if isinstance(expires, timedelta):
        moment = now + (expires // timedelta(microseconds=1)) * _NANOSECONDS
    elif not isinstance(expires, datetime) or expires.tzinfo is None:
        raise InvalidRequestError(
            "a grant expires at a time with a time zone, or after a `timedelta`",
            advice="write `expires=timedelta(minutes=5)`",
        )
    else:
        since = expires - datetime.fromtimestamp(0, expires.tzinfo)
        moment = (since // timedelta(microseconds=1)) * _NANOSECONDS
    if moment <= now:
        raise InvalidRequestError("a grant expires in the future")
    return moment


def _by_kind(rights: Iterable[int] | int) -> tuple[KindRights, ...]:
    """Return rights by the kind that their class says."""
    found: dict[str, tuple[int, dict[str, int]]] = {}
    given = [rights] if isinstance(rights, int) else rights
    for right in several("rights", given, int, _SEVERAL):
        kind, names = _kind_of(right)
        found[kind] = (found.get(kind, (0, {}))[0] | int(right), names)
    return tuple(
        KindRights(kind, mask, name_rights(mask, names))
        for kind, (mask, names) in found.items()
    )


def _kind_of(right: int) -> tuple[str, dict[str, int]]:
    """Return the kind that a right's class is about, and the names of its rights."""
    match right:
        case AccessMask():
            return EVERY_KIND, {}
        case FileRights():
            return FILES, {m.name: int(m) for m in FileRights if m.name}
        case Rights():
            members = type(right).__members__
            return type(right).__name__, {n: int(m) for n, m in members.items()}
        case _:
            raise InvalidRequestError(
                f"`{right!r}` does not say which kind of object it is a right to",
                advice="write `Doc.READ`, `FileRights.READ_DATA` or "
                "`AccessMask.READ_CONTROL`",
            )
