"""The judge over the past: what would another descriptor have answered?

A recorded access names the token that was judged by its digest, and the record of the
session's logon holds the token itself (`stead.codec.token_text`). With both, the same
question is put to the judge again. Where a record does not hold enough, the answer is
that nobody can say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from stead.codec.token_text import DIGEST, DescribedToken, described
from stead.decision.access_check import access_check
from stead.decision.privilege_rights import MAXIMUM_ALLOWED
from stead.errors import InvalidRecordError, SteadError
from stead.ledger.history import Finds, Found
from stead.ledger.query import Query
from stead.model.access_mask import GenericMapping
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.acl import Acl
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import AccessToken

ACCESSES: Final = frozenset({AuditEvent.OBJECT_ACCESS, AuditEvent.HANDLE_REQUESTED})
"""Events that record a decision about an object."""

OPENED_BY: Final = "opened by"
"""The detail that names the record of the opening, of what is done by a handle."""

_PLAIN: Final = (AccessAllowedAce, AccessDeniedAce, MandatoryLabelAce, SystemAuditAce)
_MOST_TOKENS: Final = 1024


@dataclass(frozen=True, slots=True)
class JudgedAgain:
    """What a descriptor would have answered to one recorded access.

    Attributes:
        number: the record's number.
        record: the access that was granted.
        lost: the rights of it that would have been refused; 0 if none, and where nobody
            can say.
        unknown: why nobody can say; empty where it was judged.
    """

    number: int
    record: AuditRecord
    lost: int = 0
    unknown: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether it would have been refused, as far as anybody can say."""
        return bool(self.lost)


@dataclass(slots=True)
class PastJudge:
    """Judges recorded accesses to one object by another descriptor.

    Attributes:
        find: finds records.
        descriptor: the descriptor, with an owner.
        mapping: what generic rights mean on the object.
    """

    find: Finds
    descriptor: SecurityDescriptor
    mapping: GenericMapping
    _tokens: dict[tuple[int, str], DescribedToken | str] = field(default_factory=dict)

    def judge(self, records: Iterable[Found]) -> Iterator[JudgedAgain]:
        """Yield what would have become of each granted access, in order.

        What is done by a handle was judged when that was opened, and is not again.
        """
        for number, record in records:
            is_granted = record.outcome is Outcome.SUCCESS
            if (
                record.event in ACCESSES and is_granted
                and OPENED_BY not in record.detail
            ):  # fmt: skip
                yield self._judged(number, record)

    def _judged(self, number: int, record: AuditRecord) -> JudgedAgain:
        token = self._token(record)
        unknown = token if isinstance(token, str) else self._lacking(token)
        if isinstance(token, str) or unknown:
            return JudgedAgain(number, record, unknown=unknown)
        try:
            lost = self._lost(token.token, record)
        except SteadError as error:
            return JudgedAgain(number, record, unknown=str(error))
        return JudgedAgain(number, record, lost)

    def _lost(self, token: AccessToken, record: AuditRecord) -> int:
        """Return the rights that were granted then and would not be now."""
        asked_for_all = record.desired & MAXIMUM_ALLOWED
        wanted = record.granted if asked_for_all else record.desired
        if access_check(token, self.descriptor, wanted, self.mapping):
            return 0
        # What is refused is refused as a whole; say which rights are to blame.
        most = access_check(token, self.descriptor, MAXIMUM_ALLOWED, self.mapping)
        return wanted & ~most.granted or wanted

    def _lacking(self, token: DescribedToken) -> str:
        """Say what of the token is not known and would be asked, or nothing."""
        if "limits" in token.lacks:
            return "the token was limited, and its record does not hold the limits"
        if token.lacks and not _is_plain(self.descriptor):
            return "the descriptor may ask for claims, of which the record has a digest"
        return ""

    def _token(self, record: AuditRecord) -> DescribedToken | str:
        """Return the token that was judged, or why it is not known."""
        digest = record.detail.get(DIGEST, "")
        if not digest:
            return "the record does not say which token was judged"
        who = record.server if record.client is None else record.client
        key = int(who.logon_id), digest
        if key not in self._tokens:
            if len(self._tokens) >= _MOST_TOKENS:
                self._tokens.clear()
            self._tokens[key] = self._look_for(*key)
        return self._tokens[key]

    def _look_for(self, session: int, digest: str) -> DescribedToken | str:
        found = "no record describes the token that was judged"
        for number, record in self.find(Query(session=session, event=_DESCRIBING)):
            if record.detail.get(DIGEST) != digest:
                continue
            try:
                token = described(record.detail)
            except InvalidRecordError as error:
                return f"record {number} describes no token: {error}"
            if token is not None:
                return token
            found = f"the token has more groups than record {number} holds"
        return found


_DESCRIBING: Final = frozenset({AuditEvent.LOGON, AuditEvent.TRAIL_STARTED})


def _is_plain(descriptor: SecurityDescriptor) -> bool:
    """Tell whether no entry asks for more than SIDs, privileges and integrity."""
    return all(
        type(ace) in _PLAIN
        for acl in (descriptor.dacl, descriptor.sacl)
        if isinstance(acl, Acl)
        for ace in acl
    )
