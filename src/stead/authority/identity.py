"""Who a client is to this store, and what the kernel calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from stead.authority.account_policy import out_of_time
from stead.authority.asserted_identity import (
    AssertedIdentity,
    account_of_alias,
    asserted_sids,
)
from stead.authority.errands import Errand, at_once
from stead.authority.logon_rules import logon_rule
from stead.authority.membership import Asker, Assigned, Membership, memberships
from stead.authority.ports import Account, AccountStore
from stead.errors import (
    AccountDisabledError,
    InvalidNameError,
    LogonTypeNotGrantedError,
    UnknownAccountError,
)
from stead.model import well_known
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.model.system_ids import owner_of

HostIdentity = Callable[[int], PosixIdentity | None]
"""What this host knows of a uid; None if nothing; raises if it cannot be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything a token is built of.

    Attributes:
        user: the account's SID, `S-1-22-1-<uid>` for a bare uid, or what an issuer
            says that it is.
        name: as records print it.
        account: the store's account, if there is one.
        posix: what the kernel calls the client; None if no kernel act is done for it.
        vouched: the same without what groups of the store add to it.
        logon_type: how it comes.
        generation: the store's, before any of this was read.
        unix_sids: `S-1-22` SIDs that the kernel or the host vouches for.
        memberships: groups of the store, with paths.
        rights: account rights and privileges, by Win32 name.
        asserted: what an issuer says of it, if one brought it.
        is_sent: whether another service brought it, with a ticket in its name, to whom
            it need not have shown anything (`S-1-18-2`).
    """

    user: Sid
    name: str
    account: Account | None
    posix: PosixIdentity | None
    vouched: PosixIdentity | None
    logon_type: LogonType
    generation: int
    unix_sids: tuple[Sid, ...]
    memberships: tuple[Membership, ...]
    rights: frozenset[str]
    asserted: AssertedIdentity | None = field(default=None)
    is_sent: bool = False


def identify_peer(
    store: AccountStore,
    peer: PosixIdentity,
    *,
    logon_type: LogonType = LogonType.NETWORK,
    is_sent: bool = False,
) -> Identity:
    """Return who somebody is whose ids the kernel, or this host, vouches for.

    Args:
        store: where accounts live.
        peer: those ids.
        logon_type: how it comes.
        is_sent: whether another service brought it.

    Raises:
        AccountDisabledError: the account of this uid is disabled.
        TooManyGroupsError: it is in too many groups.
    """
    generation = store.generation()
    account = store.account_by_uid(peer.uid)
    if account is None:
        user, name = well_known.unix_user(peer.uid), f"uid {peer.uid}"
    else:
        user, name = account.sid, account.name
    return _identity(
        store.assignments_of, user=user, name=name, account=account, vouched=peer,
        logon_type=logon_type, generation=generation, is_sent=is_sent,
    )  # fmt: skip


def identify_account(
    store: AccountStore,
    name: str,
    *,
    host: HostIdentity,
    logon_type: LogonType = LogonType.NETWORK,
    errand: Errand = at_once,
) -> Identity:
    """Return who an account is, by name.

    The host's own idea of the uid's groups counts, where it has one: a group that is
    left out can *grant* (a file may be closed to a group and open to others).

    Raises:
        UnknownAccountError: there is no such account.
        AccountDisabledError: it is disabled.
        TooManyGroupsError: it is in too many groups.
        InvalidNameError: the store alone gives it a group of the system.
    """
    found = errand(partial(_begun, store, name, logon_type))
    if isinstance(found, Identity):
        return found
    generation, account = found
    vouched = vouched_by_host(account, host)  # no errand: it may keep one waiting
    return errand(partial(_of_account, store, account, vouched, logon_type, generation))


def vouched_by_host(account: Account, host: HostIdentity) -> PosixIdentity | None:
    """Return what the host knows an account by; None if the account has no uid.

    Raises:
        InvalidNameError: only the store gives it a group of the system.
    """
    if account.uid is None or account.gid is None:
        return None
    known = host(account.uid)
    if known is None:
        require_mappable(account.gid)
        return PosixIdentity(account.uid, account.gid)
    return known


def identify_alias(
    ask: Asker,
    said: AssertedIdentity,
    *,
    account: Account | None,
    name: str,
    vouched: PosixIdentity | None,
    logon_type: LogonType,
    generation: int,
) -> Identity:
    """Return who a client is, whom an issuer brought.

    Args:
        ask: says what the store assigns to SIDs.
        said: what counts of what the issuer says.
        account: who the client is here, if anybody.
        name: as records print it.
        vouched: what the host knows the account by.
        logon_type: how it comes.
        generation: the store's, before the account was read.

    Raises:
        UnknownAccountError: it is nobody here, and the issuer gives it no SID.
        AccountDisabledError, TooManyGroupsError, InvalidNameError: as of
            `identify_account`.
    """
    user = said.user if account is None else account.sid
    if user is None:
        raise UnknownAccountError(
            f"no account is `{name[:120]}`",
            advice="`stead account alias`, or `names_accounts=True` of the issuer",
        )
    return _identity(
        ask, user=user, name=name, account=account, vouched=vouched,
        logon_type=logon_type, generation=generation, asserted=said,
    )  # fmt: skip


def identify_nobody(
    store: AccountStore, logon_type: LogonType, errand: Errand = at_once
) -> Identity:
    """Return who an account would be that has nothing but what all accounts have.

    It asks the store as much as it is asked for an account that is in no group.
    """
    return errand(partial(_nobody, store, logon_type))


def _nobody(store: AccountStore, logon_type: LogonType) -> Identity:
    generation, _ = store.generation(), store.account_by_name("")  # which none has
    nobody = Account(well_known.NULL_SID, "nobody")
    return _of_account(store, nobody, None, logon_type, generation)


def _begun(
    store: AccountStore, name: str, logon_type: LogonType
) -> Identity | tuple[int, Account]:
    """Return who an account is; of whom the host knows, that it must be asked.

    Then: the store's generation before the account was read, and the account.
    """
    generation, account = store.generation(), store.account_by_name(name)
    if account is None:
        raise UnknownAccountError(
            f"no account is called `{name[:80]}`", advice="add it: `stead account add`"
        )
    if account.uid is not None and account.gid is not None:
        return generation, account
    return _of_account(store, account, None, logon_type, generation)


def _of_account(
    store: AccountStore,
    account: Account,
    vouched: PosixIdentity | None,
    logon_type: LogonType,
    generation: int,
) -> Identity:
    return _identity(
        store.assignments_of, user=account.sid, name=account.name, account=account,
        vouched=vouched, logon_type=logon_type, generation=generation,
    )  # fmt: skip


def identify_again(store: AccountStore, before: Identity) -> Identity:
    """Return who somebody is by now, whom the kernel, the host or a password named.

    Raises:
        UnknownAccountError: the account is gone.
        AccountDisabledError: it is disabled.
        TooManyGroupsError: it is in too many groups.
        InvalidNameError: the store alone gives it a group of the system.
    """
    generation = store.generation()
    account = None
    if before.asserted is not None:
        account = account_of_alias(store, before.asserted)
        if (before.account and before.account.sid) != (account and account.sid):
            raise UnknownAccountError(f"`{before.name}` is somebody else by now")
    elif before.account is not None:
        account = store.account_by_sid(before.user)
        if account is None:
            raise UnknownAccountError(f"account `{before.name}` is gone")
    return _identity(
        store.assignments_of, user=before.user, name=before.name, account=account,
        vouched=before.vouched, logon_type=before.logon_type, generation=generation,
        asserted=before.asserted, is_sent=before.is_sent,
    )  # fmt: skip


def require_may_log_on(identity: Identity, now: int) -> None:
    """Return if somebody may log on the way they come, and at this time.

    Args:
        identity: who.
        now: nanoseconds since the epoch, UTC.

    Raises:
        AccountExpiredError, LogonHoursError: not at this time.
        LogonTypeNotGrantedError, InvalidRequestError: as `require_logon_right`.
    """
    if identity.account is not None:
        error = out_of_time(identity.account, now)
        if error is not None:
            raise error
    require_logon_right(identity)


def require_logon_right(identity: Identity) -> None:
    """Return if somebody may log on the way they come; a denial overrides.

    Raises:
        LogonTypeNotGrantedError: they are denied it, or not given it.
        InvalidRequestError: this way is not offered.
    """
    rule = logon_rule(identity.logon_type)
    shown = identity.logon_type.name.lower()
    if rule.denial.value in identity.rights:
        raise LogonTypeNotGrantedError(
            f"`{identity.name}` is denied to log on as {shown}",
            advice=f"see who holds {rule.denial.value}: `stead privilege list`",
        )
    if rule.right.value not in identity.rights:
        raise LogonTypeNotGrantedError(
            f"`{identity.name}` is not given to log on as {shown}",
            advice=f"`stead privilege grant {identity.name} {rule.right.value}`",
        )


def _identity(  # noqa: PLR0913 - what it is made of, each by name
    ask: Asker,
    *,
    user: Sid,
    name: str,
    account: Account | None,
    vouched: PosixIdentity | None,
    logon_type: LogonType,
    generation: int,
    asserted: AssertedIdentity | None = None,
    is_sent: bool = False,
) -> Identity:
    if account is not None and account.is_disabled:
        raise AccountDisabledError(
            f"account `{name}` is disabled", advice=f"`stead account enable {name}`"
        )
    known = (
        user,
        well_known.EVERYONE,
        well_known.AUTHENTICATED_USERS,
        logon_rule(logon_type).sid,
        *(() if account is None else (well_known.USERS,)),
        *((well_known.SERVICE_ASSERTED_IDENTITY,) if is_sent else ()),
        *asserted_sids(asserted, user),
    )  # what the token holds before groups: what these are in and hold counts too
    assigned = Assigned(ask)
    found, posix = _expand(assigned, known, vouched)
    return Identity(
        user=user,
        name=name,
        account=account,
        posix=posix,
        vouched=vouched,
        logon_type=logon_type,
        generation=generation,
        unix_sids=() if posix is None else _unix_sids(posix),
        memberships=found,
        rights=assigned.rights(),
        asserted=asserted,
        is_sent=is_sent,
    )


def _expand(
    assigned: Assigned, known: tuple[Sid, ...], posix: PosixIdentity | None
) -> tuple[tuple[Membership, ...], PosixIdentity | None]:
    """Return all groups, and the kernel's view with the gids they map to.

    A gid may be a member of groups itself: asked again until nothing is added.
    """
    while True:
        unix = () if posix is None else _unix_sids(posix)
        found = memberships(assigned, tuple(dict.fromkeys((*known, *unix))))
        mapped = tuple(m.group.gid for m in found if m.group.gid is not None)
        require_mappable(*mapped)
        if posix is None or {*mapped} <= {*posix.groups}:
            return found, posix
        posix = PosixIdentity(posix.uid, posix.gid, (*posix.groups, *mapped))


def require_mappable(*gids: int) -> None:
    """Refuse gids of the system that only the store gives.

    The kernel and the host may vouch for a member of `shadow` or `disk`; whoever may
    administer the store may not make one.

    Raises:
        InvalidNameError: a gid is the system's.
    """
    for gid in gids:
        whose = owner_of(gid)
        if whose is not None:
            raise InvalidNameError(
                f"gid {gid} is {whose}, and a store may not give it to anybody",
                advice="give the account this group on the host itself",
            )


def _unix_sids(posix: PosixIdentity) -> tuple[Sid, ...]:
    gids = dict.fromkeys((posix.gid, *posix.groups))
    return (well_known.unix_user(posix.uid), *map(well_known.unix_group, gids))
