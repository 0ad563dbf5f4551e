"""What administrators ask: why, which rights, who can, what can - before anybody tries.

Every question is judged and recorded like an act. About one object it takes
READ_CONTROL on the object, or SeBackupPrivilege. An answer about somebody else than the
asker tells of memberships and which accounts exist, and who can do something names
accounts: both take READ on `stead:accounts` as well. What somebody can do is said of
those objects whose descriptors the asker may read; others are counted and never named,
and a name that no object has is counted with them.

Accounts are judged with the tokens that a logon from the network would give them now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from stead.authority.identity import Identity
from stead.decision.access_check import access_check
from stead.decision.causes import next_cause
from stead.decision.effective import effective_rights, what_can, who_can
from stead.decision.privilege_rights import MAXIMUM_ALLOWED, bits_of
from stead.errors import (
    AccountDisabledError,
    InvalidNameError,
    InvalidRequestError,
    TooManyGroupsError,
    UnknownObjectError,
)
from stead.model.access_mask import STANDARD_RIGHTS_ALL, AccessMask, GenericMapping
from stead.model.decision import AccessQuestion, Rule
from stead.model.privilege import Privilege
from stead.model.token import AccessToken
from stead.monitor.ports import Subject
from stead.monitor.securable_object import ObjectKind, SecurableObject
from stead.server.answers import (
    EffectiveAccess,
    Holder,
    Holders,
    Reach,
    ReachedObject,
)
from stead.server.explaining import Explainer, Explanation
from stead.server.objects import ObjectDirectory
from stead.server.own_objects import ACCOUNTS, AccountDatabase

_STANDARD: Final = int(STANDARD_RIGHTS_ALL | AccessMask.ACCESS_SYSTEM_SECURITY)


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions that one subject may ask.

    Attributes:
        explainer: finds accounts and says why.
        objects: the server's objects.
        subject: who asks.
    """

    explainer: Explainer
    objects: ObjectDirectory
    subject: Subject

    def explain(
        self, account: str, securable: SecurableObject, rights: int
    ) -> Explanation:
        """Say whether an account would be granted rights if it asked now, and why.

        Args:
            account: an account's name, `uid 1000`, or a SID.
            securable: the object.
            rights: the rights; generic ones are mapped by the object's kind.

        Raises:
            AccessDeniedError: the asker may not read the object's descriptor, or asks
                about somebody else and may not list accounts.
            UnknownAccountError: nobody is called that.
        """
        mapping = securable.kind.mapping
        desired = mapping.map(int(rights))
        identity = self._asked_about(account, securable, "explain", desired)
        token = self.explainer.token_of(identity)
        decision = access_check(token, securable.in_force(), desired, mapping)
        return self.explainer.explanation(identity, securable, decision)

    def effective(self, account: str, securable: SecurableObject) -> EffectiveAccess:
        """Say which rights an account has to an object; raises as `explain` does."""
        kind = securable.kind
        identity = self._asked_about(account, securable, "effective", 0)
        token = self.explainer.token_of(identity)
        granted = effective_rights(token, securable.in_force(), kind.mapping)
        granted &= _rights_of(kind)
        return EffectiveAccess(
            identity.name, securable.name, granted, kind.spell(granted)
        )

    def who_can(self, securable: SecurableObject, rights: int) -> Holders:
        """Say which enabled accounts would be granted all of some rights, and whence.

        Bare uids and people whom only the host knows are no accounts.

        Args:
            securable: the object.
            rights: the rights; with MAXIMUM_ALLOWED, those who may do anything.

        Raises:
            AccessDeniedError: the asker may not read the object's descriptor, or not
                list accounts.
        """
        explainer, kind = self.explainer, securable.kind
        explainer.require_may_ask(self.subject, securable, question="who can")
        accounts = self.objects.find(ACCOUNTS)
        explainer.guard.require(self.subject, accounts, int(AccountDatabase.READ))
        desired = kind.mapping.map(int(rights))
        explainer.record(
            self.subject, "who can", about="", securable=securable, desired=desired
        )
        unjudged: list[str] = []
        descriptor = securable.in_force()
        everybody = self._everybody(unjudged.append)
        found = []
        for one in who_can(everybody, descriptor, desired, kind.mapping):
            identity, token = one.key
            granted = one.granted & _rights_of(kind)
            about = granted if desired & MAXIMUM_ALLOWED else desired
            question = AccessQuestion(descriptor, token, about, kind.mapping)
            found.append(
                Holder(
                    identity.name,
                    identity.user,
                    granted,
                    kind.spell(granted),
                    self._through(identity, question),
                )
            )
        return Holders(
            securable.name, kind.spell(desired), tuple(found), tuple(unjudged)
        )

    def what_can(
        self,
        account: str,
        rights: Collection[str],
        *,
        names: Collection[str] | None = None,
    ) -> Reach:
        """Say to which objects an account would be granted all of some rights.

        Args:
            account: an account's name, `uid 1000`, or a SID.
            rights: by name, since a bit means another thing on another kind of object;
                of a kind that has no right of such a name no object is meant.
            names: the objects to look at; None for all.

        Raises:
            AccessDeniedError: it is somebody else, and the asker may not read the
                account database.
            UnknownAccountError: nobody is called that.
            InvalidRequestError: no right is named, or none that any object has that
                is looked at.
        """
        if not rights:
            raise InvalidRequestError("no right is named")
        self.explainer.record(self.subject, "what can", about=account)
        asked = " | ".join(rights)
        visible, hidden = self._visible(names)
        if not visible:
            return Reach(account, asked, (), hidden)
        accounts = self.objects.find(ACCOUNTS)
        self.explainer.require_may_ask_about(self.subject, account, accounts)
        identity = self.explainer.identify(account)
        found = _reached(self.explainer.token_of(identity), visible, rights)
        return Reach(identity.name, asked, tuple(found), hidden)

    # --- inside -----------------------------------------------------------------------

    def _asked_about(
        self, account: str, securable: SecurableObject, question: str, desired: int
    ) -> Identity:
        """Judge who asks, find whom it is about, and record it."""
        explainer = self.explainer
        explainer.require_may_ask(self.subject, securable, question=question)
        accounts = self.objects.find(ACCOUNTS)
        explainer.require_may_ask_about(self.subject, account, accounts)
        identity = explainer.identify(account)
        explainer.record(
            self.subject,
            question,
            about=identity.name,
            securable=securable,
            desired=desired,
        )
        return identity

    def _everybody(
        self, unjudged: Callable[[str], None]
    ) -> Iterator[tuple[tuple[Identity, AccessToken], AccessToken]]:
        """Yield each enabled account's identity and token, one account at a time."""
        for account in self.explainer.store.accounts():
            try:
                identity = self.explainer.identify_account(account.name)
            except AccountDisabledError:
                continue
            except (TooManyGroupsError, InvalidNameError):
                unjudged(account.name)
                continue
            token = self.explainer.token_of(identity)
            yield (identity, token), token

    def _through(self, identity: Identity, question: AccessQuestion) -> tuple[str, ...]:
        ways: dict[str, None] = {}
        for right in bits_of(question.desired):
            cause = next_cause(question, right)
            way = " -> ".join(self.explainer.path(identity, cause.matched))
            if cause.privilege is not None:
                way = cause.privilege.value
            elif cause.rule is Rule.GRANTED_BY_OWNERSHIP:
                way = f"ownership{': ' * bool(way)}{way}"
            elif cause.matched is None:
                way = cause.rule.value.partition("because ")[2]
            ways[way or f"an entry for {identity.name}"] = None
        return tuple(ways)

    def _visible(
        self, names: Collection[str] | None
    ) -> tuple[list[SecurableObject], int]:
        """Return the objects whose descriptors the asker may read; count the others."""
        guard, subject = self.explainer.guard, self.subject
        token = subject.token
        reads_any = token.has_privilege(Privilege.BACKUP) and token.limits is None
        if reads_any:
            guard.require_privilege(subject, (Privilege.BACKUP,), operation="what can")
        visible, hidden = list[SecurableObject](), 0
        for securable in self._objects(names):
            if securable is not None and (
                reads_any or guard.check(subject, securable, AccessMask.READ_CONTROL)
            ):
                visible.append(securable)
            else:
                hidden += 1
        return visible, hidden

    def _objects(
        self, names: Collection[str] | None
    ) -> Iterator[SecurableObject | None]:
        if names is None:
            yield from self.objects.all()
            return
        for name in dict.fromkeys(names):
            try:
                found = self.objects.find(name)
            except UnknownObjectError:
                yield None
            else:
                yield found


def mask_of(kind: ObjectKind, rights: Collection[str]) -> int:
    """Return the mask of rights by name: the kind's own, or standard ones.

    Raises:
        InvalidRequestError: the kind has no right of that name.
    """
    mask = 0
    for right in rights:
        bits = kind.rights.get(right) or AccessMask.__members__.get(right)
        if not bits:
            known = ", ".join((*kind.rights, *AccessMask.__members__))
            raise InvalidRequestError(
                f"`{right[:80]}` is no right of `{kind.name}`",
                advice=f"it has {known}",
            )
        mask |= int(bits)
    return mask


def _reached(
    token: AccessToken, visible: list[SecurableObject], rights: Collection[str]
) -> list[ReachedObject]:
    """Judge objects, those together that the same bits mean the same on."""
    alike: dict[tuple[int, GenericMapping], list[SecurableObject]] = {}
    unknown: InvalidRequestError | None = None
    for securable in visible:
        kind = securable.kind
        try:
            mask = kind.mapping.map(mask_of(kind, rights))
        except InvalidRequestError as error:
            unknown = error
        else:
            alike.setdefault((mask, kind.mapping), []).append(securable)
    if not alike and unknown is not None:
        raise unknown
    found = []
    for (mask, mapping), objects in alike.items():
        pairs = ((one, one.in_force()) for one in objects)
        found += [
            _reached_object(access.key, access.granted)
            for access in what_can(token, pairs, mask, mapping)
        ]
    return sorted(found, key=lambda one: one.name)


def _reached_object(securable: SecurableObject, granted: int) -> ReachedObject:
    kind = securable.kind
    granted &= _rights_of(kind)
    return ReachedObject(securable.name, kind.name, granted, kind.spell(granted))


def _rights_of(kind: ObjectKind) -> int:
    """Return the rights that mean something on a kind of object."""
    mapping = kind.mapping
    known = mapping.read | mapping.write | mapping.execute | mapping.all
    for bits in kind.rights.values():
        known |= bits
    return known | _STANDARD
