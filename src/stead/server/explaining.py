"""Why somebody may or may not: for administrators, never for the one refused.

Who asks is judged first: reading an object's reasons is reading its descriptor, so it
needs READ_CONTROL on the object or SeBackupPrivilege, and asking is recorded. An answer
about somebody else tells memberships and which accounts exist, so it needs READ on the
account database as well. The questions themselves are in `stead.server.questions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.authority import tokens
from stead.authority.identity import (
    HostIdentity,
    Identity,
    identify_account,
    identify_peer,
)
from stead.authority.names import NameTable, name_key
from stead.authority.ports import AccountStore
from stead.decision.explain import ExplainedReason, explain, sentence
from stead.decision.privilege_rights import MAXIMUM_ALLOWED
from stead.errors import AccessDeniedError, UnknownAccountError
from stead.model import well_known
from stead.model.access_mask import AccessMask
from stead.model.audit_record import AuditEvent
from stead.model.decision import AccessDecision, Reason
from stead.model.luid import NO_LUID
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.own_objects import AccountDatabase

_READ_ACCOUNTS: Final = int(AccountDatabase.READ)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a question was answered as it was.

    Attributes:
        account: who, by name.
        object_name: the object.
        allowed: the answer.
        asked: the rights asked for, by name.
        reasons: one or more, in the order in which they were settled.
        granted: the rights granted, by name, where MAXIMUM_ALLOWED was asked for: what
            was asked does not say it then.
    """

    account: str
    object_name: str
    allowed: bool
    asked: str
    reasons: tuple[ExplainedReason, ...]
    granted: str = ""

    def lines(self) -> tuple[str, ...]:
        """Return it as lines of text."""
        verdict = f"granted {self.granted}".rstrip() if self.allowed else "refused"
        head = f"{self.account} asks {self.object_name} for {self.asked}: {verdict}"
        return (head, *(line for reason in self.reasons for line in reason.lines()))


@dataclass(frozen=True, slots=True)
class Explainer:
    """Finds who an account is, says why, and lets nobody ask who may not.

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

    # --- who may ask --------------------------------------------------------------

    def require_may_ask(
        self, asker: Subject, securable: SecurableObject, *, question: str
    ) -> None:
        """Demand READ_CONTROL, or SeBackupPrivilege, which reads any descriptor.

        Args:
            asker: who wants to know.
            securable: what about.
            question: what is asked, for the record: `explain`.

        Raises:
            AccessDeniedError: the asker has neither.
        """
        # A limited token reads what its targets are, whatever privilege it kept.
        if asker.token.has_privilege(Privilege.BACKUP) and asker.token.limits is None:
            self.guard.require_privilege(
                asker, (Privilege.BACKUP,), operation=f"{question} {securable.name}"
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

    def require_may_ask_about(
        self, asker: Subject, account: str, accounts: SecurableObject
    ) -> None:
        """Demand READ on the account database of who asks about somebody else.

        The name is looked up only then: the refusal is the same whether anybody is
        called that or not.

        Args:
            asker: who wants to know.
            account: whom about: a name, `uid 1000` or a SID.
            accounts: the account database's object.

        Raises:
            AccessDeniedError: the asker may not read it.
        """
        if self._is_own_name(asker.token.user, account):
            return
        try:
            self.guard.require(asker, accounts, _READ_ACCOUNTS)
        except AccessDeniedError as error:
            error.advice = (
                f"whoever asks about somebody else needs READ on `{accounts.name}`; "
                f"`{asker.principal.name}` has it not"
            )
            raise

    def _is_own_name(self, user: Sid, account: str) -> bool:
        own = {name_key(self.names(user)), name_key(str(user))}
        found = self.store.account_by_sid(user)
        if found is not None and found.uid is not None:
            own.add(f"uid {found.uid}")
        return name_key(str(account)) in own

    def record(
        self,
        asker: Subject,
        question: str,
        *,
        about: str,
        securable: SecurableObject | None = None,
        desired: int = 0,
    ) -> None:
        """Record durably that a question is asked.

        Args:
            asker: who wants to know.
            question: what is asked: `explain`.
            about: whom it is about, by name; empty for everybody.
            securable: the object it is about; None for all of them.
            desired: the rights.
        """
        kind, name = "", ""
        if securable is not None:
            kind, name = securable.kind.name, securable.name
        self.guard.recorder.record(
            AuditEvent.DECISION_EXPLAINED,
            asker,
            object_type=kind,
            object_name=name,
            desired=desired,
            detail={"question": question, **({"about": about} if about else {})},
        )

    # --- who an account is ----------------------------------------------------------

    def identify(self, account: str) -> Identity:
        """Return who is meant by a name, `uid 1000` or a SID.

        Raises:
            UnknownAccountError: nobody is called that.
            AccountDisabledError: the account is disabled.
        """
        sid = self.names.find(account)
        uid = well_known.uid_of(sid)
        if uid is not None:
            return identify_peer(self.store, self.host(uid) or PosixIdentity(uid, uid))
        found = self.store.account_by_sid(sid)
        if found is None:
            raise UnknownAccountError(f"`{account}` is no account")
        return self.identify_account(found.name)

    def identify_account(self, name: str) -> Identity:
        """Return who an account of the store is; raises as `identify` does."""
        return identify_account(self.store, name, host=self.host)

    def token_of(self, identity: Identity) -> AccessToken:
        """Return the token that somebody would get if they logged on now."""
        return tokens.client_token(
            identity,
            level=ImpersonationLevel.IDENTIFICATION,
            logon_id=NO_LUID,
            token_id=NO_LUID,
        )

    # --- why ------------------------------------------------------------------------

    def explanation(
        self, identity: Identity, securable: SecurableObject, decision: AccessDecision
    ) -> Explanation:
        """Say why a decision about somebody came out as it did."""
        desired, spell = decision.question.desired, securable.kind.spell
        is_maximum = bool(desired & MAXIMUM_ALLOWED)
        return Explanation(
            account=identity.name,
            object_name=securable.name,
            allowed=decision.allowed,
            asked=spell(desired),
            reasons=tuple(
                self._explained(identity, securable, reason)
                for reason in explain(decision)
            ),
            granted=spell(decision.granted) if is_maximum else "",
        )

    def _explained(
        self, identity: Identity, securable: SecurableObject, reason: Reason
    ) -> ExplainedReason:
        return ExplainedReason(
            reason,
            sentence(reason, names=self.names, rights=securable.kind.rights),
            self.path(identity, reason.matched),
            tuple(self._explained(identity, securable, also) for also in reason.also),
        )

    def path(self, identity: Identity, matched: Sid | None) -> tuple[str, ...]:
        """Return the names from somebody to a SID of theirs; none from them to them."""
        if matched is None or matched == identity.user:
            return ()
        for membership in identity.memberships:
            if membership.group.sid == matched:
                return tuple(self.names(sid) for sid in membership.path)
        return (identity.name, self.names(matched))
