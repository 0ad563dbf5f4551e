"""Accounts, groups, memberships and account rights in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Unpack

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    Select,
    delete,
    insert,
    select,
    update,
)

from stead.adapters.store import aliases, look_ups, principals
from stead.adapters.store.database import Database
from stead.adapters.store.generation import count_change
from stead.adapters.store.luids import Luids
from stead.adapters.store.naming import (
    is_id,
    is_text,
    name_key,
    require_id,
    require_text,
)
from stead.adapters.store.place import Place
from stead.adapters.store.principals import require_free
from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    MEMBERSHIP,
    PRINCIPAL,
    STORE,
)
from stead.adapters.store.session_ends import end_sessions_of
from stead.authority.ports import Account, Alias, Assignments, Group, Times
from stead.errors import UnknownAccountError
from stead.model.luid import Luid
from stead.model.sid import Sid


class SqlAccountStore:
    """The `AccountStore` of a database."""

    def __init__(self, database: Database, place: Place) -> None:
        """Read what never changes about the store, whose files are at a place."""
        self._database = database
        self._place = place
        self._ask: Final = database.rows
        self._luids = Luids(database)
        with database.reading() as connection:
            row = connection.execute(select(STORE.c.domain, STORE.c.founder)).one()
        self._domain: Sid = row.domain
        self._founder: int = row.founder

    def domain(self) -> Sid:
        """Return the store's own authority, `S-1-5-21-a-b-c`, made with the store."""
        return self._domain

    def founder(self) -> int:
        """Return the uid of whoever created the store."""
        return self._founder

    def generation(self) -> int:
        """Return a number that grows with every change of what a logon depends on.

        Raises:
            StoreUnavailableError: it cannot be asked, or is not the store that was
                opened.
        """
        since = self._place.latest
        number: int = self._ask(look_ups.GENERATION, ())[0][0]
        self._place.require_current(number, since)
        return number

    def allocate_luid(self) -> Luid:
        """Return a number that this store never gave out before and never will."""
        return self._luids.allocate()

    def allocate_luids(self, count: int) -> tuple[Luid, ...]:
        """Return so many such numbers."""
        return tuple(self._luids.allocate() for _ in range(count))

    def new_sid(self) -> Sid:
        """Return a SID of the store's domain that nobody has, nor is given again."""
        with self._database.writing() as connection:
            return _next_sid(connection)

    def add_account(
        self, name: str, uid: int | None, gid: int | None, *, sid: Sid | None = None
    ) -> Account:
        """Add an account; see `AccountStore.add_account`."""
        key = name_key(name)
        require_id(uid)
        require_id(gid)
        with self._database.writing() as connection:
            require_free(connection, PRINCIPAL.c.name_key, key, f"name `{name}`")
            require_free(connection, PRINCIPAL.c.uid, uid, f"uid `{uid}`")
            account = Account(sid or _next_sid(connection), name, uid, gid)
            row = {"is_group": False, "uid": uid, "primary_gid": gid}
            _insert(connection, account.sid, name, **row)
            count_change(connection)
        return account

    def add_group(self, name: str, gid: int | None, *, sid: Sid | None = None) -> Group:
        """Add a group; see `AccountStore.add_group`."""
        key = name_key(name)
        require_id(gid)
        with self._database.writing() as connection:
            require_free(connection, PRINCIPAL.c.name_key, key, f"name `{name}`")
            require_free(connection, PRINCIPAL.c.group_gid, gid, f"gid `{gid}`")
            group = Group(sid or _next_sid(connection), name, gid)
            _insert(connection, group.sid, name, is_group=True, group_gid=gid)
            count_change(connection)
        return group

    def set_account_disabled(self, sid: Sid, *, is_disabled: bool) -> Account:
        """Disable or enable; raises `UnknownAccountError`."""
        with self._database.writing() as connection:
            connection.execute(
                update(PRINCIPAL)
                .where(PRINCIPAL.c.sid == sid, PRINCIPAL.c.is_group.is_(False))
                .where(PRINCIPAL.c.is_disabled != is_disabled)
                .values(is_disabled=is_disabled, version=PRINCIPAL.c.version + 1)
            )
            count_change(connection)
            if is_disabled:
                end_sessions_of(connection, sid)
            return self._require_account(sid)

    def set_account_times(self, sid: Sid, **times: Unpack[Times]) -> Account:
        """Say when an account may log on; see `AccountStore.set_account_times`."""
        with self._database.writing() as connection:
            principals.set_account_times(connection, sid, times)
            return self._require_account(sid)

    def rename(self, sid: Sid, name: str) -> None:
        """Give an account or group another name.

        Raises:
            AccountExistsError: the name is taken.
            UnknownAccountError: there is none with this SID.
        """
        with self._database.writing() as connection:
            principals.rename(connection, sid, name)

    def set_account_ids(self, sid: Sid, uid: int | None, gid: int | None) -> Account:
        """Say what the kernel knows an account by; raises as `rename`."""
        require_id(uid)
        require_id(gid)
        with self._database.writing() as connection:
            principals.set_account_ids(connection, sid, uid, gid)
            return self._require_account(sid)

    def set_group_gid(self, sid: Sid, gid: int | None) -> Group:
        """Say what gid the members of a group have; raises as `rename`."""
        require_id(gid)
        with self._database.writing() as connection:
            principals.set_group_gid(connection, sid, gid)
            return self._require_group(sid)

    def remove_principal(self, sid: Sid) -> None:
        """Forget an account or group: memberships, rights and password as well.

        Its SID is never given out again. Raises `UnknownAccountError`.
        """
        with self._database.writing() as connection:
            principals.remove(connection, sid)

    def account_by_name(self, name: str) -> Account | None:
        """Return the account of this name."""
        if not is_text(name):
            return None
        return self._account(look_ups.ACCOUNT_BY_NAME, name_key(name))

    def account_by_sid(self, sid: Sid) -> Account | None:
        """Return the account with this SID."""
        return self._account(look_ups.ACCOUNT_BY_SID, str(sid))

    def account_by_uid(self, uid: int) -> Account | None:
        """Return the account that maps to this uid."""
        return self._account(look_ups.ACCOUNT_BY_UID, uid) if is_id(uid) else None

    def account_by_alias(self, issuer: str, *names: str) -> Account | None:
        """Return the account that is known to an issuer by a name, of two."""
        known = [name for name in names if is_text(name)]
        if not known or not is_text(issuer):
            return None
        return look_ups.account_by_alias(self._ask, issuer, known)

    def alias_names(self, issuer: str, most: int) -> list[str]:
        """Return what an issuer calls accounts; `most` of it if it is more."""
        return look_ups.alias_names(self._ask, issuer, most) if is_text(issuer) else []

    def aliases_of(self, sid: Sid) -> tuple[Alias, ...]:
        """Return what issuers call an account, in order."""
        return tuple(look_ups.aliases_of(self._ask, sid))

    def add_alias(self, sid: Sid, alias: Alias) -> bool:
        """Let an account be known by an issuer's name; False if it is already.

        Raises:
            AccountExistsError: another account is known by it.
            UnknownAccountError: there is no such account.
        """
        with self._database.writing() as connection:
            return aliases.add(connection, sid, alias)

    def remove_alias(self, sid: Sid, alias: Alias) -> bool:
        """Take an alias of an account; False if it has none such."""
        if not aliases.is_writable(alias):
            return False
        with self._database.writing() as connection:
            return aliases.remove(connection, sid, alias)

    def accounts(self) -> tuple[Account, ...]:
        """Return all accounts, by name."""
        return tuple(map(look_ups.account_of, self._ask(look_ups.ACCOUNTS, ())))

    def group_by_name(self, name: str) -> Group | None:
        """Return the group of this name."""
        if not is_text(name):
            return None
        return self._group(look_ups.GROUP_BY_NAME, name_key(name))

    def group_by_sid(self, sid: Sid) -> Group | None:
        """Return the group with this SID."""
        return self._group(look_ups.GROUP_BY_SID, str(sid))

    def groups(self) -> tuple[Group, ...]:
        """Return all groups, by name."""
        return tuple(map(look_ups.group_of, self._ask(look_ups.GROUPS, ())))

    def add_member(self, group: Sid, member: Sid) -> bool:
        """Make `member` a direct member; False if it was one already.

        Raises:
            UnknownAccountError: there is no such group.
        """
        with self._database.writing() as connection:
            self._require_group(group)
            if connection.execute(_membership(group, member)).first() is not None:
                return False
            connection.execute(
                insert(MEMBERSHIP).values(group_sid=group, member_sid=member)
            )
            count_change(connection)
        return True

    def remove_member(self, group: Sid, member: Sid) -> bool:
        """End a direct membership; False if there was none."""
        with self._database.writing() as connection:
            gone = connection.execute(
                delete(MEMBERSHIP).where(
                    MEMBERSHIP.c.group_sid == group, MEMBERSHIP.c.member_sid == member
                )
            )
            count_change(connection)
            return gone.rowcount == 1

    def members(self, group: Sid) -> tuple[Sid, ...]:
        """Return the direct members of a group."""
        return tuple(look_ups.members_of(self._ask, group))

    def assignments_of(self, sids: Sequence[Sid]) -> dict[Sid, Assignments]:
        """Return what is assigned to each of these SIDs."""
        return look_ups.assignments_of(self._ask, sids)

    def assigned_to(self, most: int) -> list[str]:
        """Return SIDs, as text, that are in a group or hold a right; `most` at most.

        Those that do both, or are in several, stand there as often.
        """
        return look_ups.assigned_to(self._ask, most)

    def add_right(self, holder: Sid, right: str) -> bool:
        """Give an account right or privilege; False if it was held already."""
        require_text(right)
        with self._database.writing() as connection:
            held = select(ACCOUNT_RIGHT).where(*_held(holder, right))
            if connection.execute(held).first() is not None:
                return False
            connection.execute(insert(ACCOUNT_RIGHT).values(holder=holder, name=right))
            count_change(connection)
        return True

    def remove_right(self, holder: Sid, right: str) -> bool:
        """Take an account right or privilege; False if it was not held."""
        if not is_text(right):
            return False
        with self._database.writing() as connection:
            gone = connection.execute(
                delete(ACCOUNT_RIGHT).where(*_held(holder, right))
            )
            count_change(connection)
            return gone.rowcount == 1

    def all_rights(self) -> tuple[tuple[Sid, str], ...]:
        """Return every (holder, right) of the store."""
        return tuple(
            (Sid.from_string(holder), name)
            for holder, name in self._ask(look_ups.RIGHTS, ())
        )

    def _account(self, query: ClauseElement, key: str | int) -> Account | None:
        found = self._ask(query, (key,))
        return look_ups.account_of(found[0]) if found else None

    def _group(self, query: ClauseElement, key: str) -> Group | None:
        found = self._ask(query, (key,))
        return look_ups.group_of(found[0]) if found else None

    def _require_account(self, sid: Sid) -> Account:
        found = self.account_by_sid(sid)
        if found is None:
            raise UnknownAccountError(f"there is no account `{sid}`")
        return found

    def _require_group(self, sid: Sid) -> Group:
        found = self.group_by_sid(sid)
        if found is None:
            raise UnknownAccountError(f"there is no group `{sid}`")
        return found


def _next_sid(connection: Connection) -> Sid:
    row = connection.execute(select(STORE.c.domain, STORE.c.next_rid)).one()
    connection.execute(update(STORE).values(next_rid=row.next_rid + 1))
    domain: Sid = row.domain
    return domain.with_rid(row.next_rid)


def _insert(
    connection: Connection, sid: Sid, name: str, **columns: bool | int | None
) -> None:
    key = name_key(name)
    connection.execute(
        insert(PRINCIPAL).values(sid=sid, name=name, name_key=key, **columns)
    )


def _membership(group: Sid, member: Sid) -> Select[Any]:
    return select(MEMBERSHIP).where(
        MEMBERSHIP.c.group_sid == group, MEMBERSHIP.c.member_sid == member
    )


def _held(holder: Sid, right: str) -> tuple[ColumnElement[bool], ...]:
    return ACCOUNT_RIGHT.c.holder == holder, ACCOUNT_RIGHT.c.name == right
