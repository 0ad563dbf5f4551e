"""Changes of accounts and groups that exist: names, ids of the kernel, and their end.

Each is made within a transaction of the caller's.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, delete, select, update

from stead.adapters.store.generation import count_change
from stead.adapters.store.naming import name_key
from stead.adapters.store.schema import (
    ACCOUNT_RIGHT,
    ALIAS,
    AUDIT_SETTING,
    MEMBERSHIP,
    PASSWORD,
    PRINCIPAL,
)
from stead.adapters.store.session_ends import end_sessions_of
from stead.authority.ports import Times
from stead.errors import AccountExistsError, UnknownAccountError
from stead.model.sid import Sid

_VERSION: Final = PRINCIPAL.c.version + 1


def require_free(
    connection: Connection,
    column: Column[Any],
    value: str | int | None,
    what: str,
    *,
    but: Sid | None = None,
) -> None:
    """Return if nobody has this value, or only the one that may.

    Raises:
        AccountExistsError: it is taken.
    """
    if value is None:
        return
    holder = connection.execute(select(PRINCIPAL.c.sid).where(column == value)).scalar()
    if holder not in {None, but}:
        raise AccountExistsError(f"the {what} is taken")


def rename(connection: Connection, sid: Sid, name: str) -> None:
    """Give an account or group another name."""
    key = name_key(name)
    require_free(connection, PRINCIPAL.c.name_key, key, f"name `{name}`", but=sid)
    _change(connection, sid, name=name, name_key=key)


def set_account_ids(
    connection: Connection, sid: Sid, uid: int | None, gid: int | None
) -> None:
    """Say what the kernel knows an account by."""
    require_free(connection, PRINCIPAL.c.uid, uid, f"uid `{uid}`", but=sid)
    _change(connection, sid, uid=uid, primary_gid=gid)
    end_sessions_of(connection, sid)


def set_account_times(connection: Connection, sid: Sid, times: Times) -> None:
    """Say when an account may log on, and whether its password may grow old."""
    values: dict[str, Any] = {**times}
    hours = times.get("logon_hours")
    if hours is not None:
        values["logon_hours"] = hours.to_bytes()
    _change(connection, sid, is_account=True, **values)
    end_sessions_of(connection, sid)


def set_group_gid(connection: Connection, sid: Sid, gid: int | None) -> None:
    """Say what gid the members of a group have."""
    require_free(connection, PRINCIPAL.c.group_gid, gid, f"gid `{gid}`", but=sid)
    _change(connection, sid, group_gid=gid)


def remove(connection: Connection, sid: Sid) -> None:
    """Forget an account or group, with all that is said of it."""
    for column in (
        MEMBERSHIP.c.group_sid,
        MEMBERSHIP.c.member_sid,
        ACCOUNT_RIGHT.c.holder,
        ALIAS.c.sid,
        PASSWORD.c.sid,
    ):
        _delete(connection, column, column == sid)
    _delete(connection, AUDIT_SETTING.c.holder, AUDIT_SETTING.c.holder == str(sid))
    gone = _delete(connection, PRINCIPAL.c.sid, PRINCIPAL.c.sid == sid)
    if not gone:
        raise UnknownAccountError(f"there is no account or group `{sid}`")
    end_sessions_of(connection, sid)


def _delete(
    connection: Connection, column: Column[Any], which: ColumnElement[bool]
) -> int:
    return connection.execute(delete(column.table).where(which)).rowcount


def _change(
    connection: Connection,
    sid: Sid,
    *,
    is_account: bool = False,
    **values: str | int | bytes | None,
) -> None:
    statement = update(PRINCIPAL).where(PRINCIPAL.c.sid == sid)
    if is_account:
        statement = statement.where(PRINCIPAL.c.is_group.is_(False))
    changed = connection.execute(statement.values(version=_VERSION, **values))
    if changed.rowcount != 1:
        raise UnknownAccountError(f"there is no account or group `{sid}`")
    count_change(connection)
