"""What this host knows of its uids and gids: the name service's users and groups.

Where a directory is among its sources, one that takes what it is asked and says nothing
is given up (docs/adr/0140). Files answer at once, and are asked here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, TypeVar

from stead.adapters.patience import Patience
from stead.authority.name_sources import NameKind, SourceName
from stead.authority.names import name_key
from stead.model import well_known
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.privileged.hardened_thread import is_hardened
from stead.privileged.name_service import (
    HostNames,
    UnixGroup,
    User,
    identity_of,
    open_host_names,
)

_T = TypeVar("_T")

SECONDS: Final = 20.0
"""As long as PAM may take, the groups of who logs on by it included."""
_SILENCES: Final = 64
"""A few users whom a directory does not tell of are a matter of theirs alone."""
_WHOM: Final = "a source of this host's users and groups"
_USERS: Final = "Unix User"  # as Samba prints them
_GROUPS: Final = "Unix Group"
_USERS_KEY: Final = name_key(_USERS)
_GROUPS_KEY: Final = name_key(_GROUPS)


@cache
def host_names() -> HostNames:
    """Return what answers for this host; opened once, outside of any block.

    A block may neither open files nor load libraries, so a server does this when it
    starts. A change of nsswitch.conf counts from its next start.

    Raises:
        DirectoryUnavailableError: the host's sources cannot be opened.
    """
    return open_host_names()


@cache
def _patience() -> Patience:
    return Patience(
        SECONDS,
        advice="see whether what nsswitch.conf(5) names runs, and the network",
        silences=_SILENCES,
    )


def _in_time(names: HostNames, about: str, ask: Callable[[], _T]) -> _T:
    """Return what the host says, or raise that it takes too long.

    A hardened thread makes no thread: it might be a client's.

    Raises:
        DirectoryUnavailableError: it takes too long.
    """
    if names.is_local or is_hardened():
        return ask()
    return _patience().ask(_WHOM, ask, _forget, about)


def _forget(_answer: object) -> None:
    """What comes too late holds nothing."""


def host_identity(uid: int, names: HostNames | None = None) -> PosixIdentity | None:
    """Return the ids that this host gives a uid at logon; None if it has none.

    Args:
        uid: the number.
        names: what answers; this host if not given.

    Raises:
        DirectoryUnavailableError: a source of the host's cannot be asked. That is an
            error and never "no groups": a group left out can grant.
    """
    asked = names or host_names()
    return _in_time(asked, f"uid {uid}", partial(_identity_of_uid, uid, asked))


def _identity_of_uid(uid: int, names: HostNames) -> PosixIdentity | None:
    user = names.user_by_uid(uid)
    return None if user is None else identity_of(user, names)


@dataclass(frozen=True, slots=True)
class HostAccount:
    """What this host's name service says of a uid beside its groups.

    Attributes:
        name: its name on this host.
        home: its home directory.
        shell: its login shell; empty for the system's default.
    """

    name: str
    home: str
    shell: str


def host_account(uid: int, names: HostNames | None = None) -> HostAccount | None:
    """Return name, home and shell of a uid; None if this host has no such uid.

    Raises:
        DirectoryUnavailableError: a source of the host's cannot be asked.
    """
    asked = names or host_names()
    user = _in_time(asked, f"uid {uid}", partial(asked.user_by_uid, uid))
    return None if user is None else HostAccount(user.name, user.home, user.shell)


class HostNameSource:
    r"""The host's users and groups as names: `Unix User\alice`, `Unix Group\staff`.

    By the host's own name, and without a domain, a user comes before a group of the
    same name, as most users have one.

    Args:
        names: what answers.
        machine: the host's name.
    """

    name = "host"
    authorities = (well_known.UNIX_USERS, well_known.UNIX_GROUPS)

    def __init__(self, names: HostNames, machine: str) -> None:
        self._names = names
        self._machine = machine

    @property
    def domains(self) -> tuple[str, ...]:
        """Whose names it knows."""
        return (_USERS, _GROUPS, *([self._machine] if self._machine else []))

    def find(self, name: str, domain: str) -> SourceName | None:
        """Return whom a name means; raises `DirectoryUnavailableError`."""
        return _in_time(self._names, f"name {name}", partial(self._find, name, domain))

    def _find(self, name: str, domain: str) -> SourceName | None:
        key = name_key(domain)
        user = None if key == _GROUPS_KEY else self._names.user_by_name(name)
        if user is not None:
            return _user_name(user)
        group = None if key == _USERS_KEY else self._names.group_by_name(name)
        return None if group is None else _group_name(group)

    def name_of(self, sid: Sid) -> SourceName | None:
        """Return the name of a uid's or gid's SID; raises as `find`."""
        return _in_time(self._names, f"sid {sid}", partial(self._name_of, sid))

    def _name_of(self, sid: Sid) -> SourceName | None:
        uid, gid = well_known.uid_of(sid), well_known.gid_of(sid)
        if uid is not None:
            user = self._names.user_by_uid(uid)
            return None if user is None else _user_name(user)
        group = None if gid is None else self._names.group_by_gid(gid)
        return None if group is None else _group_name(group)


def _user_name(user: User) -> SourceName:
    sid = well_known.unix_user(user.uid)
    return SourceName(sid, NameKind.USER, user.name, _USERS, user.uid)


def _group_name(group: UnixGroup) -> SourceName:
    sid = well_known.unix_group(group.gid)
    return SourceName(sid, NameKind.GROUP, group.name, _GROUPS, group.gid)
