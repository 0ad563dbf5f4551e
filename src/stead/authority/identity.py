"""Who a client is to this store, and what the kernel calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stead.authority.membership import Membership, memberships
from stead.authority.ports import Account, AccountStore
from stead.errors import AccountDisabledError, UnknownAccountError
from stead.model import well_known
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid

HostIdentity = Callable[[int], PosixIdentity | None]
"""What this host knows of a uid; None if nothing; raises if it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything a token is built of.

    Attributes:
        user: the account's SID, or `S-1-22-1-<uid>` for a bare uid.
        name: as records print it.
        account: the store's account, if there is one.
        posix: what the kernel calls the client; None if no kernel act is done for it.
        unix_sids: `S-1-22` SIDs that the kernel or the host vouches for.
        memberships: groups of the store, with paths.
        rights: account rights and privileges, by Win32 name.
    """

    user: Sid
    name: str
    account: Account | None
    posix: PosixIdentity | None
    unix_sids: tuple[Sid, ...]
    memberships: tuple[Membership, ...]
    rights: frozenset[str]


def identify_peer(store: AccountStore, peer: PosixIdentity) -> Identity:
    """Return who a local peer is, whose ids the kernel vouches for.

    Raises:
        AccountDisabledError: the account of this uid is disabled.
        TooManyGroupsError: it is in too many groups.
    """
    account = store.account_by_uid(peer.uid)
    if account is None:
        user, name = well_known.unix_user(peer.uid), f"uid {peer.uid}"
    else:
        user, name = account.sid, account.name
    return _identity(store, user=user, name=name, account=account, posix=peer)


def identify_account(store: AccountStore, name: str, *, host: HostIdentity) -> Identity:
    """Return who an account is, by name.

    The host's own idea of the uid's groups counts, where it has one: a group that is
    left out can *grant* (a file may be closed to a group and open to others).

    Raises:
        UnknownAccountError: there is no such account.
        AccountDisabledError: it is disabled.
        TooManyGroupsError: it is in too many groups.
    """
    account = store.account_by_name(name)
    if account is None:
        raise UnknownAccountError(
            f"no account is called `{name}`",
            advice=f"add it: `stead account add {name}`",
        )
    posix = None
    if account.uid is not None and account.gid is not None:
        posix = host(account.uid) or PosixIdentity(account.uid, account.gid)
    return _identity(
        store, user=account.sid, name=account.name, account=account, posix=posix
    )


def _identity(
    store: AccountStore,
    *,
    user: Sid,
    name: str,
    account: Account | None,
    posix: PosixIdentity | None,
) -> Identity:
    if account is not None and account.is_disabled:
        raise AccountDisabledError(
            f"account `{name}` is disabled", advice=f"`stead account enable {name}`"
        )
    unix = () if posix is None else _unix_sids(posix)
    starts = tuple(dict.fromkeys((user, *unix)))
    found = memberships(store, starts)
    if posix is not None:
        mapped = tuple(m.group.gid for m in found if m.group.gid is not None)
        posix = PosixIdentity(posix.uid, posix.gid, (*posix.groups, *mapped))
        unix = _unix_sids(posix)
    holders = (*dict.fromkeys((*starts, *unix)), *(m.group.sid for m in found))
    rights = frozenset(right for _, right in store.rights(holders))
    return Identity(user, name, account, posix, unix, found, rights)


def _unix_sids(posix: PosixIdentity) -> tuple[Sid, ...]:
    gids = dict.fromkeys((posix.gid, *posix.groups))
    return (well_known.unix_user(posix.uid), *map(well_known.unix_group, gids))
