"""Why somebody may or may not: for administrators, never for the one refused.

Who asks is judged first: reading an object's reasons is reading its descriptor, so it
needs READ_CONTROL on the object or SeBackupPrivilege, and asking is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from stead.authority import tokens
from stead.authority.identity import (
    HostIdentity,
    Identity,
    identify_account,
    identify_peer,
)
from stead.authority.names import NameTable
from stead.authority.ports import AccountStore
from stead.decision.access_check import access_check
from stead.decision.explain import explain, sentence
from stead.errors import AccessDeniedError, UnknownAccountError
from stead.model import well_known
from stead.model.access_mask import AccessMask
from stead.model.audit_record import AuditEvent
from stead.model.decision import AccessDecision, Reason
from stead.model.luid import NO_LUID
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import ImpersonationLevel
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject


@dataclass(frozen=True, slots=True)
class ExplainedReason:
    """One reason, for people.

    Attributes:
        reason: as data.
        sentence: as a sentence: the right, the rule, the entry in SDDL.
        path: names from the account to the group that the entry names; empty if the
            entry names the account itself, or no entry decided.
    """

    reason: Reason
    sentence: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a question was answered as it was.

    Attributes:
        account: who, by name.
        object_name: the object.
        allowed: the answer.
        asked: the rights asked for, by name.
        reasons: one or more, in the order in which they were settled.
    """

    account: str
    object_name: str
    allowed: bool
    asked: str
    reasons: tuple[ExplainedReason, ...]

    def lines(self) -> tuple[str, ...]:
        """Return it as lines of text."""
        verdict = "granted" if self.allowed else "refused"
        head = f"{self.account} asks {self.object_name} for {self.asked}: {verdict}"
        lines = [head]
        for explained in self.reasons:
            lines.append(f"  {explained.sentence}")
            if explained.path:
                lines.append(f"    by membership: {' -> '.join(explained.path)}")
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class Explainer:
    """Answers why, for who may ask.

    Attributes:
        guard: judges who asks, and records it.
        store: knows memberships.
        names: prints SIDs and finds them.
        host: what this host knows of a uid.
    """

    guard: Guard
    store: AccountStore
    names: NameTable
    host: HostIdentity

    def why(
        self,
        asker: Subject,
        account: str,
        securable: SecurableObject,
        desired: int,
    ) -> Explanation:
        """Say whether an account would be granted rights if it asked now, and why.

        Args:
            asker: who wants to know.
            account: an account's name, `uid 1000`, or a SID.
            securable: the object.
            desired: the rights.

        Raises:
            AccessDeniedError: the asker may not read the object's descriptor.
            UnknownAccountError: nobody is called that.
        """
        self._require_may_ask(asker, securable)
        identity = self._identify(account)
        self.guard.recorder.record(
            AuditEvent.DECISION_EXPLAINED,
            asker,
            object_type=securable.kind.name,
            object_name=securable.name,
            desired=desired,
            detail={"about": identity.name},
        )
        token = tokens.client_token(
            identity,
            level=ImpersonationLevel.IDENTIFICATION,
            logon_id=NO_LUID,
            token_id=NO_LUID,
        )
        mapping = securable.kind.mapping
        decision = access_check(
            token, securable.descriptor, mapping.map(desired), mapping
        )
        return self._explain(identity, securable, decision)

    def _require_may_ask(self, asker: Subject, securable: SecurableObject) -> None:
        """Demand READ_CONTROL, or SeBackupPrivilege, which reads any descriptor."""
        if asker.token.has_privilege(Privilege.BACKUP):
            self.guard.require_privilege(
                asker, (Privilege.BACKUP,), operation=f"explain {securable.name}"
            )
            return
        try:
            self.guard.require(asker, securable, int(AccessMask.READ_CONTROL))
        except AccessDeniedError as error:
            error.advice = (
                f"whoever asks why needs READ_CONTROL on `{securable.name}`, or "
                f"SeBackupPrivilege; `{asker.principal.name}` has neither"
            )
            raise

    def _identify(self, account: str) -> Identity:
        sid = self.names.find(account)
        uid = well_known.uid_of(sid)
        if uid is not None:
            return identify_peer(self.store, self.host(uid) or PosixIdentity(uid, uid))
        found = self.store.account_by_sid(sid)
        if found is None:
            raise UnknownAccountError(f"`{account}` is no account")
        return identify_account(self.store, found.name, host=self.host)

    def _explain(
        self, identity: Identity, securable: SecurableObject, decision: AccessDecision
    ) -> Explanation:
        reasons = tuple(
            ExplainedReason(
                reason,
                sentence(reason, names=self.names, rights=securable.kind.rights),
                self._path(identity, reason.matched),
            )
            for reason in explain(decision)
        )
        return Explanation(
            account=identity.name,
            object_name=securable.name,
            allowed=decision.allowed,
            asked=securable.kind.spell(decision.question.desired),
            reasons=reasons,
        )

    def _path(self, identity: Identity, matched: Sid | None) -> tuple[str, ...]:
        if matched is None or matched == identity.user:
            return ()
        for membership in identity.memberships:
            if membership.group.sid == matched:
                return tuple(self.names(sid) for sid in membership.path)
        return (identity.name, self.names(matched))
