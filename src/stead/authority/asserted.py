"""Who a client is here, whom an issuer authenticated ([MS-LSAD]; [MS-PAC] 4.1.2.2).

1. The issuer is one that is believed, through the package that brought the client.
2. An account that has the client as an alias is who it is; the alias is the client's
   SID or its name, exactly as the issuer writes it. Else, if the issuer names accounts,
   the account of that name.
3. Of the SIDs that came along, those count that the issuer may assert. With an account
   they are groups of its token; without one, the client's own SID is who it is.
4. `S-1-18-1` says that its credentials were verified, `S-1-18-2` that a service only
   said who it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from stead.authority.asserted_identity import AssertedIdentity
from stead.authority.identity import (
    HostIdentity,
    Identity,
    identify_alias,
    vouched_by_host,
)
from stead.authority.issuers import Issuer, Issuers
from stead.authority.membership import MAXIMUM_GROUPS
from stead.authority.names import reads_as_sid
from stead.authority.packages import AssertedSids, Authenticated
from stead.authority.ports import AccountStore
from stead.authority.remembered import KnownClient
from stead.errors import EvidenceRefusedError, TooManyGroupsError
from stead.model import well_known
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.token import ENABLED_GROUP, GroupAttributes, TokenGroup

_LONGEST_NAME: Final = 1024
_THEIRS_TO_SAY: Final = (
    ENABLED_GROUP | GroupAttributes.USE_FOR_DENY_ONLY | GroupAttributes.RESOURCE
)
_SECOND: Final = 1_000_000_000
_NOT_THEIRS: Final = ~int(_THEIRS_TO_SAY)


def identify_asserted(
    store: AccountStore,
    client: Authenticated,
    issuers: Issuers,
    *,
    host: HostIdentity,
    logon_type: LogonType = LogonType.NETWORK,
) -> Identity:
    """Return who a client is to this store.

    Args:
        store: where accounts live.
        client: what a package says of it; the issuer is not empty.
        issuers: who is believed.
        host: what this host knows of a uid.
        logon_type: how the client comes.

    Raises:
        EvidenceRefusedError: the issuer is not believed, or says what it may not.
        UnknownAccountError: the client is nobody here.
        AccountDisabledError, TooManyGroupsError, InvalidNameError: as of
            `identify_account`.
    """
    issuer = issuers.believed(client.issuer, client.package)
    _require_name(client.name)
    generation = store.generation()
    known = issuers.remembered.at(generation)
    key = (issuer.name, client.name, client.is_verified_by_service, logon_type)
    found, now = known.clients.get(key), issuers.monotonic()
    if found is not None and found.sids == client.sids:
        if now < found.host_counts_until:
            return found.identity
        said, account = found.said, found.identity.account
    else:
        found, said = None, _asserted(issuer, client)
        account = known.account_of(store, said)
    # What the host says has no generation: it is asked each time, or counts a while.
    vouched = None if account is None else vouched_by_host(account, host)
    until = _host_counts_until(issuer, vouched, now)
    if found is not None and found.identity.vouched == vouched:
        if until:
            known.clients.offer(key, replace(found, host_counts_until=until))
        return found.identity
    identity = identify_alias(
        partial(known.assignments_of, store),
        said,
        account=account,
        name=f"{client.name}@{issuer.name}" if account is None else account.name,
        vouched=vouched,
        logon_type=logon_type,
        generation=generation,
    )
    known.clients.offer(key, KnownClient(client.sids, said, identity, until))
    return identity


def _require_name(name: str) -> None:
    """Refuse what nobody is called; raises `EvidenceRefusedError`."""
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise EvidenceRefusedError(
            "what a client is called has 1 to 1024 letters, all of them to be seen"
        )


def _host_counts_until(issuer: Issuer, vouched: PosixIdentity | None, now: int) -> int:
    """Return until when the host's word counts; 0 for no longer than now.

    Args:
        issuer: who brought the client.
        vouched: what the host says. Where it has groups, at least one is among them:
            that it knows nobody of a uid never counts any longer.
        now: monotonic nanoseconds, before the host was asked.
    """
    if vouched is None or not vouched.groups:
        return 0
    lasts = int(issuer.host_lasts * _SECOND)
    return now + lasts if lasts else 0


def _asserted(issuer: Issuer, client: Authenticated) -> AssertedIdentity:
    """Return what counts of what an issuer says of a client."""
    sids = _believed_sids(issuer, client)
    return AssertedIdentity(
        issuer=issuer.name,
        aliases=_aliases(client, sids),
        account_name=client.name if issuer.names_accounts else None,
        ignores_case=issuer.ignores_case,
        user=None if sids is None else sids.user,
        groups=_groups(client, sids),
        primary_group=None if sids is None else sids.primary_group,
        user_claims=() if sids is None else sids.user_claims,
        device_groups=() if sids is None else sids.device_groups,
        device_claims=() if sids is None else sids.device_claims,
    )


def _aliases(client: Authenticated, sids: AssertedSids | None) -> tuple[str, ...]:
    """Return what an account may know the client by: its SID, which stays, first.

    A name that reads as a SID is nobody's alias: whoever chooses a name of its own
    would be whom it names.
    """
    names = () if reads_as_sid(client.name) else (client.name,)
    return names if sids is None else (str(sids.user), *names)


def _believed_sids(issuer: Issuer, client: Authenticated) -> AssertedSids | None:
    """Return what counts of the SIDs that came along; None if they do not count."""
    said = client.sids
    if said is None or not issuer.domains:
        return None
    if not issuer.speaks_for(said.user):
        raise EvidenceRefusedError(
            f"`{issuer.name}` says that somebody is `{said.user}`, of no domain of its",
            advice="name that domain among the issuer's `domains`, if it is its own",
        )
    primary = said.primary_group
    return AssertedSids(
        user=said.user,
        groups=_spoken_for(issuer, said.groups),
        primary_group=primary if primary and issuer.speaks_for(primary) else None,
        user_claims=said.user_claims,
        device_groups=_spoken_for(issuer, said.device_groups),
        device_claims=said.device_claims,
    )


def _spoken_for(
    issuer: Issuer, groups: tuple[TokenGroup, ...]
) -> tuple[TokenGroup, ...]:
    return tuple([group for group in groups if issuer.may_add(group.sid)])


def _as_theirs(group: TokenGroup) -> TokenGroup:
    """Return a group without what is not the issuer's to say of it."""
    if not int(group.attributes) & _NOT_THEIRS:
        return group
    return TokenGroup(group.sid, group.attributes & _THEIRS_TO_SAY)


def _groups(client: Authenticated, sids: AssertedSids | None) -> tuple[TokenGroup, ...]:
    """Return the groups that come along, as far as how they are held is theirs to say.

    Who owns, and which session and which integrity it is, is said here.
    """
    how = (
        well_known.SERVICE_ASSERTED_IDENTITY
        if client.is_verified_by_service
        else well_known.AUTHORITY_ASSERTED_IDENTITY
    )
    said = () if sids is None else sids.groups
    kept = {group.sid: _as_theirs(group) for group in said}
    if len(kept) > MAXIMUM_GROUPS:
        raise TooManyGroupsError(
            f"`{client.name[:120]}` is in more than {MAXIMUM_GROUPS} groups of a domain"
        )
    return (*kept.values(), TokenGroup(how))
