"""Who users and groups are to this host, told by each source, or not at all.

glibc asks the sources that nsswitch.conf(5) lists one after the other. If one of them
is down it goes on to the next, and nobody hears of it: `getgrouplist` then returns what
the others know, which is a *shorter* list, and a group that is left out can grant. So
each source is asked here by itself (`name_sources`), and one that cannot answer is an
error.

    names = open_host_names()
    user = names.user_by_name("alice")
    identity = identity_of(user, names)

A source whose library is not installed is not there, to glibc as to us. On a C library
without such sources there is nothing to hide, and Python's `pwd` and `grp` are asked.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar

from stead.errors import DirectoryUnavailableError
from stead.model.posix_identity import MAXIMUM_ID, PosixIdentity
from stead.privileged.name_sources import (
    Group,
    LoadedSource,
    Passwd,
    load,
    unavailable,
)
from stead.privileged.name_switch import Action, Source, Status, read_name_switch

_T = TypeVar("_T")
SWITCH: Final = Path("/etc/nsswitch.conf")
_LOCAL: Final = frozenset({"files", "systemd"})


@dataclass(frozen=True, slots=True)
class User:
    """A user of this host.

    Attributes:
        name: its name.
        uid: its number.
        gid: its primary group.
        home: its home directory.
        shell: its login shell; empty for the system's default.
    """

    name: str
    uid: int
    gid: int
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class UnixGroup:
    """A group of this host: its name and number."""

    name: str
    gid: int


class HostNames(Protocol):
    """Answers who users and groups are; each raises `DirectoryUnavailableError`."""

    @property
    def is_local(self) -> bool:
        """Whether it answers from this machine alone, and so at once."""
        ...

    def user_by_uid(self, uid: int) -> User | None:
        """Return the user with this number."""
        ...

    def user_by_name(self, name: str) -> User | None:
        """Return the user of this name."""
        ...

    def group_by_gid(self, gid: int) -> UnixGroup | None:
        """Return the group with this number."""
        ...

    def group_by_name(self, name: str) -> UnixGroup | None:
        """Return the group of this name."""
        ...

    def groups_of(self, user: User) -> tuple[int, ...]:
        """Return all groups that a user is in, the primary one too, sorted."""
        ...


def open_host_names(switch: Path = SWITCH) -> HostNames:
    """Return what answers on this host; the list of sources is read now and no more.

    Raises:
        DirectoryUnavailableError: that list, or a source's library, is unreadable.
    """
    if hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return NameService.open(switch)
    return PlainNames()  # pragma: no cover - on another C library


def identity_of(user: User, names: HostNames) -> PosixIdentity:
    """Return what the kernel calls a user, with all its groups.

    Groups are told by name, by every source that has some for it. So the name must be
    this user's: an entry of a directory that is called `root` would be in the groups of
    the host's own. It is asked for afterwards: whoever is made anew meanwhile, with
    another number, may be in other groups.

    Args:
        user: by one of its numbers, or its name, as `names` has just said.
        names: what answers.

    Raises:
        DirectoryUnavailableError: a source does not answer, or the name is another's.
    """
    groups = names.groups_of(user)
    named = names.user_by_name(user.name)
    if named is None or (named.uid, named.gid) != (user.uid, user.gid):
        whose = "nobody" if named is None else f"uid {named.uid}, gid {named.gid}"
        raise DirectoryUnavailableError(
            f"uid {user.uid}, gid {user.gid}, is `{user.name[:80]}` to a source of "
            f"this host's names, and that name is {whose}: its groups are not known",
            advice="try again if it has just been changed; else see to the entries, "
            "one of them hides the other: `getent passwd`",
        )
    return PosixIdentity(user.uid, user.gid, groups)


class PlainNames:
    """A host without a switch: what Python's own modules read."""

    is_local = True

    def user_by_uid(self, uid: int) -> User | None:
        """Return the user with this number."""
        return _found(lambda: _plain_user(pwd.getpwuid(uid)))

    def user_by_name(self, name: str) -> User | None:
        """Return the user of this name."""
        return _found(lambda: _plain_user(pwd.getpwnam(name)))

    def group_by_gid(self, gid: int) -> UnixGroup | None:
        """Return the group with this number."""
        return _found(lambda: UnixGroup(grp.getgrgid(gid).gr_name, gid))

    def group_by_name(self, name: str) -> UnixGroup | None:
        """Return the group of this name."""
        return _found(lambda: UnixGroup(name, grp.getgrnam(name).gr_gid))

    def groups_of(self, user: User) -> tuple[int, ...]:
        """Return all groups that a user is in, the primary one too."""
        return tuple(sorted(set(os.getgrouplist(user.name, user.gid))))


def _found(ask: Callable[[], _T]) -> _T | None:
    try:
        return ask()
    except (KeyError, OverflowError, ValueError):  # a number or name that none can be
        return None


def _plain_user(entry: pwd.struct_passwd) -> User:
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


@dataclass(frozen=True, slots=True)
class NameService:
    """The sources of users and groups, each asked by itself.

    Attributes:
        users: sources of users, in order.
        groups: sources of groups, in order.
        memberships: sources of who is in what, in order.
    """

    users: tuple[LoadedSource, ...]
    groups: tuple[LoadedSource, ...]
    memberships: tuple[LoadedSource, ...]

    @classmethod
    def open(cls, switch: Path = SWITCH) -> Self:
        """Read nsswitch.conf, and load the libraries of what it lists.

        Raises:
            DirectoryUnavailableError: it, or a library, is there and unreadable.
        """
        read = read_name_switch(_text_of(switch))
        return cls(_loaded(read.users), _loaded(read.groups), _loaded(read.memberships))

    @property
    def is_local(self) -> bool:
        """Whether no source of its is a directory, or may be one."""
        every = (*self.users, *self.groups, *self.memberships)
        return all(each.source.name in _LOCAL for each in every)

    def user_by_uid(self, uid: int) -> User | None:
        """Return the user with this number; raises `DirectoryUnavailableError`."""
        if not 0 <= uid <= MAXIMUM_ID:
            return None
        key = ctypes.c_uint(uid)
        found = _first(self.users, "getpwuid_r", key, Passwd, f"who uid {uid} is")
        if found is None:
            return None
        user = _user(*found)
        _require_asked(f"uid {uid}", uid, user.uid)
        return user

    def user_by_name(self, name: str) -> User | None:
        """Return the user of this name; raises `DirectoryUnavailableError`."""
        letters = _letters(name)
        if letters is None:
            return None
        key, what = ctypes.c_char_p(letters), f"who `{name[:80]}` is"
        found = _first(self.users, "getpwnam_r", key, Passwd, what)
        return None if found is None else _user(*found)

    def group_by_gid(self, gid: int) -> UnixGroup | None:
        """Return the group with this number; raises `DirectoryUnavailableError`."""
        if not 0 <= gid <= MAXIMUM_ID:
            return None
        key = ctypes.c_uint(gid)
        found = _first(self.groups, "getgrgid_r", key, Group, f"what gid {gid} is")
        if found is None:
            return None
        group = _group(*found)
        _require_asked(f"gid {gid}", gid, group.gid)
        return group

    def group_by_name(self, name: str) -> UnixGroup | None:
        """Return the group of this name; raises `DirectoryUnavailableError`."""
        letters = _letters(name)
        if letters is None:
            return None
        key, what = ctypes.c_char_p(letters), f"which group `{name[:80]}` is"
        found = _first(self.groups, "getgrnam_r", key, Group, what)
        return None if found is None else _group(*found)

    def groups_of(self, user: User) -> tuple[int, ...]:
        """Return all groups that a user is in, the primary one too, sorted.

        Raises:
            DirectoryUnavailableError: a source that would know does not answer. That is
                never "no groups".
        """
        letters, what = _letters(user.name), f"which groups `{user.name}` is in"
        gids = {user.gid}
        for each in self.memberships if letters else ():
            status, more = each.groups_of(letters or b"", user.gid, what)
            if more and max(more) > MAXIMUM_ID:
                raise _unsound(what, letters)
            gids |= more
            if each.source.actions[status] is Action.RETURN:
                break
        return tuple(sorted(gids))


@dataclass(frozen=True, slots=True)
class SourceState:
    """How one of the host's sources is.

    Attributes:
        name: as nsswitch.conf lists it.
        is_installed: whether its library is there; without it, it is not asked.
        problem: why it does not answer now; empty if it does.
    """

    name: str
    is_installed: bool
    problem: str = ""


def examine_sources(switch: Path = SWITCH) -> tuple[SourceState, ...]:
    """Return how each source of users and groups is, by asking it who root is.

    Raises:
        DirectoryUnavailableError: the list of sources cannot be read.
    """
    read = read_name_switch(_text_of(switch))
    listed = (*read.users, *read.groups, *read.memberships)
    return tuple(map(_state_of, {each.name: each for each in listed}.values()))


def _state_of(source: Source) -> SourceState:
    try:
        loaded = load(source)
        if loaded is None:
            return SourceState(source.name, is_installed=False)
        loaded.look_up("getpwuid_r", ctypes.c_uint(0), Passwd, "who root is")
        loaded.groups_of(b"root", 0, "which groups root is in")
    except DirectoryUnavailableError as error:
        return SourceState(source.name, is_installed=True, problem=error.args[0])
    return SourceState(source.name, is_installed=True)


def _text_of(switch: Path) -> str:
    try:
        return switch.read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        what = "which sources there are"
        raise unavailable(str(switch), what, str(error)) from error


def _loaded(sources: tuple[Source, ...]) -> tuple[LoadedSource, ...]:
    found = (load(source) for source in sources)
    return tuple(each for each in found if each is not None)


def _letters(name: str) -> bytes | None:
    """Return a name as sources take it; None if no user or group can have it."""
    try:
        letters = os.fsencode(name)
    except UnicodeEncodeError:
        return None
    return None if not letters or b"\0" in letters else letters


def _first(
    sources: tuple[LoadedSource, ...],
    function: str,
    key: Any,
    record: type[Passwd | Group],
    what: str,
) -> tuple[Any, object] | None:
    """Return the entry of the first source that has it, and what it points into."""
    for each in sources:
        status, entry, kept = each.look_up(function, key, record, what)
        if status is Status.SUCCESS:
            return entry, kept
        if each.source.actions[status] is Action.RETURN:
            break
    return None


def _require_asked(what: str, asked: int, answered: int) -> None:
    """Return if a source tells of the number that it was asked about.

    An entry of a directory that has two numbers is found by each of them, and shows
    one: who comes by the other would be somebody else to the kernel.

    Raises:
        DirectoryUnavailableError: it does not.
    """
    if answered != asked:
        raise DirectoryUnavailableError(
            f"a source of this host's names answers with {answered} for {what}",
            advice="see to the entry in the directory: it has several numbers",
        )


def _unsound(what: str, name: bytes | None) -> DirectoryUnavailableError:
    """Return the error for an answer without a name, or with a number that is none.

    A directory's entry may have 4294967295 where it was given no number, or -1: to the
    kernel that is nobody.
    """
    has = f"the number {MAXIMUM_ID + 1}, which means none" if name else "no name"
    return DirectoryUnavailableError(
        f"a source of this host's names says {what}, and there is {has}",
        advice="see to the entry in the directory",
    )


def _user(entry: Passwd, _kept: object) -> User:
    name, uid, gid = entry.name, entry.uid, entry.gid
    if not name or uid > MAXIMUM_ID or gid > MAXIMUM_ID:
        shown = os.fsdecode(name or b"")[:80]
        raise _unsound(f"who `{shown}`, uid {uid}, is", name)
    return User(
        os.fsdecode(name), uid, gid,
        os.fsdecode(entry.home or b""), os.fsdecode(entry.shell or b""),
    )  # fmt: skip


def _group(entry: Group, _kept: object) -> UnixGroup:
    name, gid = entry.name, entry.gid
    if not name or gid > MAXIMUM_ID:
        shown = os.fsdecode(name or b"")[:80]
        raise _unsound(f"which group `{shown}`, gid {gid}, is", name)
    return UnixGroup(os.fsdecode(name), gid)
