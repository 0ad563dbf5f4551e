"""What the authority keeps, and what it asks of whatever stores it.

A store keeps accounts, groups, who is a member of what, account rights, and the
descriptors of named objects. It decides nothing. One transaction a call; every change
is durable when the call returns; concurrent processes may share a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
    """

    sid: Sid
    name: str
    uid: int | None = None
    gid: int | None = None
    is_disabled: bool = False
    version: int = 1


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


class AccountStore(Protocol):
    """Where accounts and groups live. Names are found without regard to case."""

    def domain(self) -> Sid:
        """Return the store's own authority, `S-1-5-21-a-b-c`, made with the store."""
        ...

    def founder(self) -> int:
        """Return the uid of whoever created the store."""
        ...

    def allocate_luid(self) -> Luid:
        """Return a number that this store never gave out before and never will."""
        ...

    def add_account(self, name: str, uid: int | None, gid: int | None) -> Account:
        """Add an account under a new RID; raises `AccountExistsError`."""
        ...

    def add_group(self, name: str, gid: int | None) -> Group:
        """Add a group under a new RID; raises `AccountExistsError`."""
        ...

    def set_account_disabled(self, sid: Sid, *, is_disabled: bool) -> Account:
        """Disable or enable; raises `UnknownAccountError`."""
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

    def groups_of(self, member: Sid) -> tuple[Group, ...]:
        """Return the groups that `member` is directly in."""
        ...

    def add_right(self, holder: Sid, right: str) -> bool:
        """Give an account right or privilege; False if it was held already."""
        ...

    def remove_right(self, holder: Sid, right: str) -> bool:
        """Take an account right or privilege; False if it was not held."""
        ...

    def rights(self, holders: tuple[Sid, ...]) -> tuple[tuple[Sid, str], ...]:
        """Return (holder, right) of all these holders."""
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

    def objects(self) -> tuple[StoredObject, ...]:
        """Return all objects, by name."""
        ...
