"""What a logon asks about accounts, groups and rights, in the driver's own words.

Each question is one statement, and so sees one state of the database. There, what
SQLAlchemy does around a statement takes ten times as long as SQLite itself; it makes
the texts, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ClauseElement,
    ColumnElement,
    bindparam,
    null,
    select,
    union_all,
)

from stead.adapters.store.naming import name_key
from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    ALIAS,
    MEMBERSHIP,
    PRINCIPAL,
    STORE,
)
from stead.authority.ports import NOTHING_ASSIGNED, Account, Alias, Assignments, Group
from stead.model.logon_hours import LogonHours
from stead.model.sid import Sid

Row = Sequence[Any]
Ask = Callable[[ClauseElement, Row], Sequence[Row]]
"""Answers a statement with the values of its parameters."""

_AT_ONCE: Final = (1, 16, 128)
"""Of how many SIDs one statement asks: its text, and so its plan, is made once."""

_ACCOUNT: Final = (
    PRINCIPAL.c.sid,
    PRINCIPAL.c.name,
    PRINCIPAL.c.uid,
    PRINCIPAL.c.primary_gid,
    PRINCIPAL.c.is_disabled,
    PRINCIPAL.c.version,
    PRINCIPAL.c.expires_at,
    PRINCIPAL.c.logon_hours,
    PRINCIPAL.c.password_lasts,
)
_ACCOUNTS: Final = (
    select(*_ACCOUNT)
    .where(PRINCIPAL.c.is_group.is_(False))
    .order_by(PRINCIPAL.c.name_key)
)
_GROUP: Final = (PRINCIPAL.c.sid, PRINCIPAL.c.name, PRINCIPAL.c.group_gid)
_GROUPS: Final = (
    select(*_GROUP).where(PRINCIPAL.c.is_group.is_(True)).order_by(PRINCIPAL.c.name_key)
)


def _is(column: str) -> ColumnElement[bool]:
    return PRINCIPAL.c[column] == bindparam("key")


GENERATION: Final = select(STORE.c.generation)
ACCOUNTS: Final = _ACCOUNTS
ACCOUNT_BY_NAME: Final = _ACCOUNTS.where(_is("name_key"))
ACCOUNT_BY_SID: Final = _ACCOUNTS.where(_is("sid"))
ACCOUNT_BY_UID: Final = _ACCOUNTS.where(_is("uid"))
GROUPS: Final = _GROUPS
GROUP_BY_NAME: Final = _GROUPS.where(_is("name_key"))
GROUP_BY_SID: Final = _GROUPS.where(_is("sid"))
RIGHTS: Final = select(ACCOUNT_RIGHT.c.holder, ACCOUNT_RIGHT.c.name).order_by(
    ACCOUNT_RIGHT.c.holder, ACCOUNT_RIGHT.c.name
)
_MEMBERS: Final = (
    select(MEMBERSHIP.c.member_sid)
    .where(MEMBERSHIP.c.group_sid == bindparam("key"))
    .order_by(MEMBERSHIP.c.member_sid)
)
_ALIASES_OF: Final = (
    select(ALIAS.c.issuer, ALIAS.c.name)
    .where(ALIAS.c.sid == bindparam("key"))
    .order_by(ALIAS.c.issuer, ALIAS.c.name)
)


_ALIAS_NAMES: Final = (
    select(ALIAS.c.name)
    .where(ALIAS.c.issuer == bindparam("issuer"))
    .limit(bindparam("most"))
    .offset(bindparam("first"))
)
# Not only those that differ: for that, SQLite would read all before the first.
_ASSIGNED_TO: Final = (
    union_all(select(MEMBERSHIP.c.member_sid), select(ACCOUNT_RIGHT.c.holder))
    .limit(bindparam("most"))
    .offset(bindparam("first"))
)
_CALLED: Final = union_all(*[
    select(ALIAS.c.name, *_ACCOUNT)
    .join(PRINCIPAL, ALIAS.c.sid == PRINCIPAL.c.sid)
    .where(PRINCIPAL.c.is_group.is_(False))
    .where(ALIAS.c.issuer == bindparam(f"issuer_{number}"))
    .where(ALIAS.c.name == bindparam(f"name_{number}"))
    for number in range(2)
])  # fmt: skip
"""The account that an issuer knows by one of two names."""


@cache
def _assigned_to(count: int) -> ClauseElement:
    """Ask for groups that SIDs are directly in, and for rights that they hold."""
    keys = _keys(count)
    groups = (
        select(MEMBERSHIP.c.member_sid, *_GROUP)
        .join(PRINCIPAL, MEMBERSHIP.c.group_sid == PRINCIPAL.c.sid)
        .where(PRINCIPAL.c.is_group.is_(True))
        .where(MEMBERSHIP.c.member_sid.in_(keys))
    )
    rights = select(ACCOUNT_RIGHT.c.holder, null(), ACCOUNT_RIGHT.c.name, null())
    return union_all(groups, rights.where(ACCOUNT_RIGHT.c.holder.in_(keys)))


def _keys(count: int) -> list[BindParameter[Any]]:
    return [bindparam(f"key_{number}") for number in range(count)]


def account_of(row: Row) -> Account:
    """Make an account of what a statement says of it."""
    sid, name, uid, gid, is_disabled, version, expires_at, hours, lasts = row
    return Account(
        Sid.from_string(sid),
        name,
        uid,
        gid,
        bool(is_disabled),
        version,
        expires_at,
        None if hours is None else LogonHours.from_bytes(hours),
        bool(lasts),
    )


def group_of(row: Row) -> Group:
    """Make a group of what a statement says of it."""
    sid, name, gid = row
    return Group(Sid.from_string(sid), name, gid)


def account_by_alias(ask: Ask, issuer: str, names: Sequence[str]) -> Account | None:
    """Return the account that an issuer knows by the first of these names that is one.

    Args:
        ask: answers statements.
        issuer: who calls it so.
        names: one or two.
    """
    first, last = names[0], names[-1]
    found = {name: row for name, *row in ask(_CALLED, (issuer, first, issuer, last))}
    row = found.get(first) or found.get(last)
    return None if row is None else account_of(row)


def assignments_of(ask: Ask, sids: Sequence[Sid]) -> dict[Sid, Assignments]:
    """Return what is assigned to each SID: by one statement, if they are few."""
    count = next((size for size in _AT_ONCE if len(sids) <= size), _AT_ONCE[-1])
    found: dict[str, list[Row]] = {}
    keys = [str(sid) for sid in sids]
    for start in range(0, len(keys), count):
        asked = keys[start : start + count]
        asked += asked[-1:] * (count - len(asked))
        for key, *row in ask(_assigned_to(count), asked + asked):
            found.setdefault(key, []).append(row)
    return {
        sid: _assignments(found[key]) if key in found else NOTHING_ASSIGNED
        for sid, key in zip(sids, keys, strict=True)
    }


def _assignments(rows: Sequence[Row]) -> Assignments:
    """Make groups and rights of rows; a right has no SID."""
    groups = [group_of(row) for row in rows if row[0] is not None]
    groups.sort(key=lambda group: name_key(group.name))
    rights = tuple(name for sid, name, _ in rows if sid is None)
    return Assignments(tuple(groups), rights)


def assigned_to(ask: Ask, most: int) -> list[str]:
    """Return the SIDs that anything is assigned to, as text, within a bound."""
    return [sid for (sid,) in ask(_ASSIGNED_TO, (most, 0))]


def alias_names(ask: Ask, issuer: str, most: int) -> list[str]:
    """Return what an issuer calls accounts, within a bound."""
    return [name for (name,) in ask(_ALIAS_NAMES, (issuer, most, 0))]


def members_of(ask: Ask, group: Sid) -> Iterator[Sid]:
    """Yield the direct members of a group."""
    return (Sid.from_string(member) for (member,) in ask(_MEMBERS, (str(group),)))


def aliases_of(ask: Ask, sid: Sid) -> Iterator[Alias]:
    """Yield what issuers call an account, in order."""
    return (Alias(issuer, name) for issuer, name in ask(_ALIASES_OF, (str(sid),)))
