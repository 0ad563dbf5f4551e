"""What a logon asks about accounts, groups and rights, in the driver's own words.

Each question is one statement, and so sees one state of the database. There, what
SQLAlchemy does around a statement takes ten times as long as SQLite itself; it makes
the texts, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import BindParameter, ClauseElement, ColumnElement, bindparam, select

from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    ALIAS,
    MEMBERSHIP,
    PRINCIPAL,
    STORE,
)
from stead.authority.ports import Account, Alias, Group
from stead.model.logon_hours import LogonHours
from stead.model.sid import Sid

Row = Sequence[Any]
Ask = Callable[[ClauseElement, Row], Sequence[Row]]
"""Answers a statement with the values of its parameters."""

_FEW, _MANY = 16, 128
"""Of how many SIDs one statement asks: its text, and so its plan, is made once."""

_ACCOUNTS: Final = (
    select(
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
ACCOUNT_BY_ALIAS: Final = (
    _ACCOUNTS.join(ALIAS, ALIAS.c.sid == PRINCIPAL.c.sid)
    .where(ALIAS.c.issuer == bindparam("issuer"))
    .where(ALIAS.c.name == bindparam("name"))
)
GROUPS: Final = _GROUPS
GROUP_BY_NAME: Final = _GROUPS.where(_is("name_key"))
GROUP_BY_SID: Final = _GROUPS.where(_is("sid"))
RIGHTS: Final = select(ACCOUNT_RIGHT.c.holder, ACCOUNT_RIGHT.c.name).order_by(
    ACCOUNT_RIGHT.c.holder, ACCOUNT_RIGHT.c.name
)
_MEMBERSHIPS: Final = (
    select(MEMBERSHIP.c.member_sid, *_GROUP)
    .join(PRINCIPAL, MEMBERSHIP.c.group_sid == PRINCIPAL.c.sid)
    .where(PRINCIPAL.c.is_group.is_(True))
    .order_by(PRINCIPAL.c.name_key, MEMBERSHIP.c.member_sid)
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


@cache
def _rights_of(count: int) -> ClauseElement:
    return RIGHTS.where(ACCOUNT_RIGHT.c.holder.in_(_keys(count)))


@cache
def _memberships_of(count: int) -> ClauseElement:
    return _MEMBERSHIPS.where(MEMBERSHIP.c.member_sid.in_(_keys(count)))


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


def memberships_of(ask: Ask, members: Sequence[Sid]) -> Iterator[tuple[Sid, Group]]:
    """Yield each member with a group that it is directly in, by the group's name."""
    for member, *group in _asked(ask, _memberships_of, members):
        yield Sid.from_string(member), group_of(group)


def rights_of(ask: Ask, holders: Sequence[Sid]) -> Iterator[tuple[Sid, str]]:
    """Yield each holder with a right that it holds."""
    for holder, right in _asked(ask, _rights_of, holders):
        yield Sid.from_string(holder), right


def members_of(ask: Ask, group: Sid) -> Iterator[Sid]:
    """Yield the direct members of a group."""
    return (Sid.from_string(member) for (member,) in ask(_MEMBERS, (str(group),)))


def aliases_of(ask: Ask, sid: Sid) -> Iterator[Alias]:
    """Yield what issuers call an account, in order."""
    return (Alias(issuer, name) for issuer, name in ask(_ALIASES_OF, (str(sid),)))


def _asked(
    ask: Ask, query_of: Callable[[int], ClauseElement], sids: Sequence[Sid]
) -> Iterator[Row]:
    """Ask about SIDs, as many at a time as a statement has room for."""
    count = _FEW if len(sids) <= _FEW else _MANY
    for start in range(0, len(sids), count):
        keys = tuple(map(str, sids[start : start + count]))
        yield from ask(query_of(count), keys + keys[-1:] * (count - len(keys)))
