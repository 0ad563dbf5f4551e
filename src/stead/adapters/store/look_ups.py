"""What a logon asks about accounts, groups and rights, in the driver's own words.

Each question is one statement, and so sees one state of the database. There, what
SQLAlchemy does around a statement takes ten times as long as SQLite itself; it makes
the texts, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, select

from stead.adapters.store.database import plain_text
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
Ask = Callable[[str, Row], Sequence[Row]]
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
_RIGHTS: Final = select(ACCOUNT_RIGHT.c.holder, ACCOUNT_RIGHT.c.name).order_by(
    ACCOUNT_RIGHT.c.holder, ACCOUNT_RIGHT.c.name
)


def _among(query: Select[Any], column: ColumnElement[Any]) -> dict[int, str]:
    """Return the texts that ask about so many SIDs at once."""
    return {
        count: plain_text(
            query.where(column.in_([bindparam(f"key_{n}") for n in range(count)]))
        )
        for count in (_FEW, _MANY)
    }


def _by(query: Select[Any], column: str) -> str:
    return plain_text(query.where(PRINCIPAL.c[column] == bindparam("key")))


GENERATION: Final = plain_text(select(STORE.c.generation))
ACCOUNTS: Final = plain_text(_ACCOUNTS)
ACCOUNT_BY_NAME: Final = _by(_ACCOUNTS, "name_key")
ACCOUNT_BY_SID: Final = _by(_ACCOUNTS, "sid")
ACCOUNT_BY_UID: Final = _by(_ACCOUNTS, "uid")
ACCOUNT_BY_ALIAS: Final = plain_text(
    _ACCOUNTS.join(ALIAS, ALIAS.c.sid == PRINCIPAL.c.sid)
    .where(ALIAS.c.issuer == bindparam("issuer"))
    .where(ALIAS.c.name == bindparam("name"))
)
GROUPS: Final = plain_text(_GROUPS)
GROUP_BY_NAME: Final = _by(_GROUPS, "name_key")
GROUP_BY_SID: Final = _by(_GROUPS, "sid")
RIGHTS: Final = plain_text(_RIGHTS)
_RIGHTS_OF: Final = _among(_RIGHTS, ACCOUNT_RIGHT.c.holder)
_MEMBERSHIPS_OF: Final = _among(
    select(MEMBERSHIP.c.member_sid, *_GROUP)
    .join(PRINCIPAL, MEMBERSHIP.c.group_sid == PRINCIPAL.c.sid)
    .where(PRINCIPAL.c.is_group.is_(True))
    .order_by(PRINCIPAL.c.name_key, MEMBERSHIP.c.member_sid),
    MEMBERSHIP.c.member_sid,
)
_MEMBERS: Final = plain_text(
    select(MEMBERSHIP.c.member_sid)
    .where(MEMBERSHIP.c.group_sid == bindparam("key"))
    .order_by(MEMBERSHIP.c.member_sid)
)
_ALIASES_OF: Final = plain_text(
    select(ALIAS.c.issuer, ALIAS.c.name)
    .where(ALIAS.c.sid == bindparam("key"))
    .order_by(ALIAS.c.issuer, ALIAS.c.name)
)


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
    for member, *group in _asked(ask, _MEMBERSHIPS_OF, members):
        yield Sid.from_string(member), group_of(group)


def rights_of(ask: Ask, holders: Sequence[Sid]) -> Iterator[tuple[Sid, str]]:
    """Yield each holder with a right that it holds."""
    for holder, right in _asked(ask, _RIGHTS_OF, holders):
        yield Sid.from_string(holder), right


def members_of(ask: Ask, group: Sid) -> Iterator[Sid]:
    """Yield the direct members of a group."""
    return (Sid.from_string(member) for (member,) in ask(_MEMBERS, (str(group),)))


def aliases_of(ask: Ask, sid: Sid) -> Iterator[Alias]:
    """Yield what issuers call an account, in order."""
    return (Alias(issuer, name) for issuer, name in ask(_ALIASES_OF, (str(sid),)))


def _asked(ask: Ask, texts: dict[int, str], sids: Sequence[Sid]) -> Iterator[Row]:
    """Ask about SIDs, as many at a time as a statement has room for."""
    count = _FEW if len(sids) <= _FEW else _MANY
    for start in range(0, len(sids), count):
        keys = tuple(map(str, sids[start : start + count]))
        yield from ask(texts[count], keys + keys[-1:] * (count - len(keys)))
