"""What the authority keeps, and what it asks of whatever stores it.

A store keeps accounts, groups, who is a member of what, account rights, and the
descriptors of named objects; verifiers of passwords and failed logons, as
`credential_ports` has them. It decides nothing. One transaction a call; every change is
durable when the call returns; concurrent processes may share a store.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypedDict, Unpack

from stead.model.logon_hours import LogonHours
from stead.model.luid import Luid
from stead.model.sid import Sid


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the store.

    Attributes:
        sid: `S-1-5-21-<store>-<rid>`.
        name: as it was given; compared without regard to case.
        uid: the uid that the kernel knows it by on this host, or None.
        gid: its primary group there; None exactly if `uid` is None.
        is_disabled: whether it may log on no more.
        version: grows with every change of the account, from 1.
        expires_at: nanoseconds since the epoch, UTC, from which it may log on no more;
            None for never.
        logon_hours: when it may log on; None for always.
        password_lasts: whether its password may grow older than others'.
    """

    sid: Sid
    name: str
    uid: int | None = None
    gid: int | None = None
    is_disabled: bool = False
    version: int = 1
    expires_at: int | None = None
    logon_hours: LogonHours | None = None
    password_lasts: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group of the store.

    Attributes:
        sid: `S-1-5-21-<store>-<rid>`, or a well-known one such as `S-1-5-32-544`.
        name: as it was given; compared without regard to case.
        gid: the gid that its members have for the kernel, or None.
    """

    sid: Sid
    name: str
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Assignments:
    """What a store assigns to one SID by itself.

    Attributes:
        groups: the groups that it is directly in, by name.
        rights: the account rights and privileges that it holds.
    """

    groups: tuple[Group, ...] = ()
    rights: tuple[str, ...] = ()


NOTHING_ASSIGNED: Final = Assignments()


@dataclass(frozen=True, slots=True, order=True)
class Alias:
    """What an issuer calls an account of the store.

    Attributes:
        issuer: as `stead.authority.issuers.Issuer` has it.
        name: the client's name or SID, exactly as the issuer writes it.
    """

    issuer: str
    name: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A named securable object's descriptor.

    Attributes:
        name: unique in the store, case-sensitive.
        type_name: the kind of object, such as `Doc`.
        rights: names of its own rights and their bits.
        descriptor: the self-relative descriptor.
        version: grows with every change, from 1.
        mapping: what generic rights mean on it: read, write, execute, all; None where
            that follows from the names of its rights.
    """

    name: str
    type_name: str
    rights: dict[str, int]
    descriptor: bytes
    version: int = 1
    mapping: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Password:
    """What is kept of an account's password, which is never the password.

    Attributes:
        verifier: tells the password from others; never shown.
        changed_at: nanoseconds since the epoch, UTC; 0 if it must be changed before it
            counts.
    """

    verifier: str = field(repr=False)
    changed_at: int


@dataclass(frozen=True, slots=True)
class LogonFailures:
    """Logons of one name that failed, lately and one after the other.

    Attributes:
        count: how many.
        first_at: nanoseconds since the epoch, UTC, of the first.
        last_at: of the last.
        locked_until: until when no logon of the name succeeds; 0 if it is not locked.
    """

    count: int
    first_at: int
    last_at: int
    locked_until: int = 0


class Times(TypedDict, total=False):
    """What is changed of when an account may log on; as `Account` has it."""

    expires_at: int | None
    logon_hours: LogonHours | None
    password_lasts: bool


class AccountStore(Protocol):
    """Where accounts and groups live. Names are found without regard to case."""

    def domain(self) -> Sid:
        """Return the store's own authority, `S-1-5-21-a-b-c`, made with the store."""
        ...

    def founder(self) -> int:
        """Return the uid of whoever created the store."""
        ...

    def generation(self) -> int:
        """Return a number that grows with every change of what a logon depends on.

        That is accounts, groups, memberships, rights and passwords.

        Raises:
            StoreUnavailableError: it cannot be asked, or is not the store that was
                opened.
        """
        ...

    def allocate_luid(self) -> Luid:
        """Return a number that this store never gave out before and never will."""
        ...

    def allocate_luids(self, count: int) -> tuple[Luid, ...]:
        """Return so many such numbers."""
        ...

    def new_sid(self) -> Sid:
        """Return a SID of the store's domain that nobody has, nor is given again."""
        ...

    def add_account(
        self, name: str, uid: int | None, gid: int | None, *, sid: Sid | None = None
    ) -> Account:
        """Add an account; raises `AccountExistsError`.

        Args:
            name: its name.
            uid: what the kernel knows it by.
            gid: its primary group there.
            sid: what `new_sid` returned; None for another new one.
        """
        ...

    def add_group(self, name: str, gid: int | None, *, sid: Sid | None = None) -> Group:
        """Add a group; `sid` as in `add_account`, and raises as that does."""
        ...

    def set_account_disabled(self, sid: Sid, *, is_disabled: bool) -> Account:
        """Disable or enable; raises `UnknownAccountError`."""
        ...

    def set_account_times(self, sid: Sid, **times: Unpack[Times]) -> Account:
        """Say when an account may log on: what is given, and nothing else of it.

        Raises:
            UnknownAccountError: there is no such account.
        """
        ...

    def rename(self, sid: Sid, name: str) -> None:
        """Give an account or group another name.

        Raises:
            AccountExistsError: the name is taken.
            UnknownAccountError: there is none with this SID.
        """
        ...

    def set_account_ids(self, sid: Sid, uid: int | None, gid: int | None) -> Account:
        """Say what the kernel knows an account by; raises as `rename`."""
        ...

    def set_group_gid(self, sid: Sid, gid: int | None) -> Group:
        """Say what gid the members of a group have; raises as `rename`."""
        ...

    def remove_principal(self, sid: Sid) -> None:
        """Forget an account or group: memberships, rights and password as well.

        Its SID is never given out again. Raises `UnknownAccountError`.
        """
        ...

    def account_by_name(self, name: str) -> Account | None:
        """Return the account of this name."""
        ...

    def account_by_sid(self, sid: Sid) -> Account | None:
        """Return the account with this SID."""
        ...

    def account_by_uid(self, uid: int) -> Account | None:
        """Return the account that maps to this uid."""
        ...

    def account_by_alias(self, issuer: str, *names: str) -> Account | None:
        """Return the account that is known to an issuer by a name, exactly.

        Args:
            issuer: who calls it so.
            names: one or two; the first counts that is an account's.
        """
        ...

    def alias_names(self, issuer: str, most: int) -> Collection[str]:
        """Return what an issuer calls accounts; `most` of it if it is more."""
        ...

    def aliases_of(self, sid: Sid) -> tuple[Alias, ...]:
        """Return what issuers call an account, in order."""
        ...

    def add_alias(self, sid: Sid, alias: Alias) -> bool:
        """Let an account be known by an issuer's name; False if it is already.

        Raises:
            AccountExistsError: another account is known by it.
            UnknownAccountError: there is no such account.
        """
        ...

    def remove_alias(self, sid: Sid, alias: Alias) -> bool:
        """Take an alias of an account; False if it has none such."""
        ...

    def accounts(self) -> tuple[Account, ...]:
        """Return all accounts, by name."""
        ...

    def group_by_name(self, name: str) -> Group | None:
        """Return the group of this name."""
        ...

    def group_by_sid(self, sid: Sid) -> Group | None:
        """Return the group with this SID."""
        ...

    def groups(self) -> tuple[Group, ...]:
        """Return all groups, by name."""
        ...

    def add_member(self, group: Sid, member: Sid) -> bool:
        """Make `member` a direct member; False if it was one already."""
        ...

    def remove_member(self, group: Sid, member: Sid) -> bool:
        """End a direct membership; False if there was none."""
        ...

    def members(self, group: Sid) -> tuple[Sid, ...]:
        """Return the direct members of a group."""
        ...

    def assignments_of(self, sids: Sequence[Sid]) -> Mapping[Sid, Assignments]:
        """Return what is assigned to each of these SIDs."""
        ...

    def assigned_to(self, most: int) -> Collection[str]:
        """Return the SIDs, as text, that are in a group or hold a right.

        Those that do both, or are in several, stand there as often.

        Args:
            most: how many at most; the rest is left out.
        """
        ...

    def add_right(self, holder: Sid, right: str) -> bool:
        """Give an account right or privilege; False if it was held already."""
        ...

    def remove_right(self, holder: Sid, right: str) -> bool:
        """Take an account right or privilege; False if it was not held."""
        ...

    def all_rights(self) -> tuple[tuple[Sid, str], ...]:
        """Return every (holder, right) of the store."""
        ...


class ObjectStore(Protocol):
    """Where descriptors of named objects live."""

    def object_by_name(self, name: str) -> StoredObject | None:
        """Return the object of this name."""
        ...

    def add_object(self, stored: StoredObject) -> StoredObject:
        """Keep a new object; if the name exists, return what is kept and keep that."""
        ...

    def set_object_descriptor(
        self, name: str, descriptor: bytes, *, version: int
    ) -> StoredObject:
        """Replace a descriptor if its version is still `version`.

        Raises:
            UnknownObjectError: there is no such object.
            StaleVersionError: somebody else changed it meanwhile.
        """
        ...

    def remove_object(self, name: str, *, version: int) -> None:
        """Forget an object if its version is still `version`.

        One that is made later under the same name has a higher version than any had.

        Raises:
            UnknownObjectError, StaleVersionError: as `set_object_descriptor`.
        """
        ...

    def objects(self) -> tuple[StoredObject, ...]:
        """Return all objects, by name."""
        ...
