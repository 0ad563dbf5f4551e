"""What counts of what an issuer says of a client, and which account that is.

What may count at all, `stead.authority.asserted` says (docs/adr/0096).
"""

from __future__ import annotations

from dataclasses import dataclass

from stead.authority.names import differ_in_case_alone, reads_as_sid
from stead.authority.ports import Account, AccountStore
from stead.model.claim import Claim
from stead.model.sid import Sid
from stead.model.token import TokenGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertedIdentity:
    """What counts of what an issuer says of a client (`stead.authority.asserted`).

    Attributes:
        issuer: who says so.
        aliases: what an account of the store may know the client by.
        account_name: the account that the client is, where the issuer names accounts.
        ignores_case: whether that name may differ in case.
        user: the client's own SID, or None.
        groups: what the client is in.
        primary_group: one of them, or None.
        user_claims: attributes of the client.
        device_groups: groups of the machine that it came from.
        device_claims: attributes of that machine.
    """

    issuer: str
    aliases: tuple[str, ...]
    account_name: str | None
    ignores_case: bool
    user: Sid | None
    groups: tuple[TokenGroup, ...]
    primary_group: Sid | None = None
    user_claims: tuple[Claim, ...] = ()
    device_groups: tuple[TokenGroup, ...] = ()
    device_claims: tuple[Claim, ...] = ()


def account_of_alias(store: AccountStore, said: AssertedIdentity) -> Account | None:
    """Return the account that a client is, whom an issuer brought; None if none is."""
    if said.aliases:
        found = store.account_by_alias(said.issuer, *said.aliases)
        if found is not None and not _has_another_sid(store, found, said):
            return found
    return account_of_name(store, said)


def account_of_name(store: AccountStore, said: AssertedIdentity) -> Account | None:
    """Return the account of a client that is nobody's alias; None if none is."""
    if said.account_name is None:
        return None
    found = store.account_by_name(said.account_name)
    if found is None or not _are_one(found.name, said):
        return None
    return None if _has_another_sid(store, found, said) else found


def _has_another_sid(
    store: AccountStore, account: Account, said: AssertedIdentity
) -> bool:
    """Tell whether an account is known to the issuer by a SID, and not by the client's.

    A domain gives names again, and no SID: whoever has the name by now is another.
    """
    if said.user is None:
        return False
    known = {
        alias.name
        for alias in store.aliases_of(account.sid)
        if alias.issuer == said.issuer and reads_as_sid(alias.name)
    }
    return bool(known) and str(said.user) not in known


def _are_one(name: str, said: AssertedIdentity) -> bool:
    """Tell whether an account's name is what the issuer calls its client."""
    theirs = said.account_name
    if theirs is None or not said.ignores_case:
        return name == theirs
    return differ_in_case_alone(name, theirs)


def asserted_groups(said: AssertedIdentity | None, user: Sid) -> tuple[TokenGroup, ...]:
    """Return the groups of a token that an issuer brings, its client's SID among them.

    Args:
        said: what the issuer says; None if there is no issuer.
        user: who the token is of.
    """
    if said is None:
        return ()
    own = () if said.user in (None, user) else (TokenGroup(said.user),)
    return own + said.groups


def asserted_sids(said: AssertedIdentity | None, user: Sid) -> tuple[Sid, ...]:
    """Return what rights and memberships hang on, of what an issuer brings.

    What matches deny entries alone gives nothing.
    """
    return tuple([g.sid for g in asserted_groups(said, user) if g.is_enabled])
