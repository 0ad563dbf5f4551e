"""Who a client is to this store, and what the kernel calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stead.authority.membership import Membership, memberships
from stead.authority.ports import Account, AccountStore
from stead.errors import (
    AccountDisabledError,
    InvalidNameError,
    UnknownAccountError,
)
from stead.model import well_known
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.model.system_ids import owner_of

CLIENTS_ARE: Final = (
    well_known.EVERYONE,
    well_known.AUTHENTICATED_USERS,
    well_known.NETWORK,
)
"""What every client's token holds, so what these are members of and hold counts too."""

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
        InvalidNameError: the store alone gives it a group of the system.
    """
    account = store.account_by_name(name)
    if account is None:
        raise UnknownAccountError(
            f"no account is called `{name[:80]}`", advice="add it: `stead account add`"
        )
    posix = None
    if account.uid is not None and account.gid is not None:
        posix = host(account.uid)
        if posix is None:
            require_mappable(account.gid)
            posix = PosixIdentity(account.uid, account.gid)
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
    known = (user, *CLIENTS_ARE, *(() if account is None else (well_known.USERS,)))
    found, posix = _expand(store, known, posix)
    unix = () if posix is None else _unix_sids(posix)
    holders = (*dict.fromkeys((*known, *unix)), *(m.group.sid for m in found))
    rights = frozenset(right for _, right in store.rights(holders))
    return Identity(user, name, account, posix, unix, found, rights)


def _expand(
    store: AccountStore, known: tuple[Sid, ...], posix: PosixIdentity | None
) -> tuple[tuple[Membership, ...], PosixIdentity | None]:
    """Return all groups, and the kernel's view with the gids they map to.

    A gid may be a member of groups itself: asked again until nothing is added.
    """
    while True:
        unix = () if posix is None else _unix_sids(posix)
        found = memberships(store, tuple(dict.fromkeys((*known, *unix))))
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
