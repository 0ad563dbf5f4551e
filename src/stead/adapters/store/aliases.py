"""What issuers call the accounts of the store: exact names, each of one account.

Each is read or changed within a transaction of the caller's.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from stead.adapters.store.generation import count_change
from stead.adapters.store.naming import is_text, require_text
from stead.adapters.store.schema import ALIAS, PRINCIPAL
from stead.authority.ports import Alias
from stead.errors import AccountExistsError, UnknownAccountError
from stead.model.sid import Sid

_ACCOUNTS: Final = select(PRINCIPAL).where(PRINCIPAL.c.is_group.is_(False))
_ACCOUNT: Final = _ACCOUNTS.where(PRINCIPAL.c.sid == bindparam("key"))
_CALLED: Final = _ACCOUNTS.join(ALIAS, ALIAS.c.sid == PRINCIPAL.c.sid).where(
    ALIAS.c.issuer == bindparam("issuer"), ALIAS.c.name == bindparam("name")
)


def add(connection: Connection, sid: Sid, alias: Alias) -> bool:
    """Let an account be called so; False if it is already.

    Raises:
        AccountExistsError: another account is called so.
        UnknownAccountError: there is no such account.
    """
    require_text(alias.issuer)
    require_text(alias.name)
    if connection.execute(_ACCOUNT, {"key": sid}).first() is None:
        raise UnknownAccountError(f"there is no account `{sid}`")
    held = _called(connection, alias)
    if held is not None and held.sid == sid:
        return False
    if held is not None:
        raise AccountExistsError(
            f"`{alias.name[:120]}` of `{alias.issuer[:120]}` is taken",
            advice=f"`{held.name}` has it: `stead account alias --remove`",
        )
    connection.execute(insert(ALIAS).values(sid=sid, **_words(alias)))
    count_change(connection)
    return True


def remove(connection: Connection, sid: Sid, alias: Alias) -> bool:
    """Let an account be called so no more; False if it was not."""
    gone = connection.execute(
        delete(ALIAS).where(
            ALIAS.c.sid == sid,
            ALIAS.c.issuer == alias.issuer,
            ALIAS.c.name == alias.name,
        )
    )
    count_change(connection)
    return gone.rowcount == 1


def is_writable(alias: Alias) -> bool:
    """Tell whether the store could hold it: what it could not, nobody is called."""
    return is_text(alias.issuer) and is_text(alias.name)


def _called(connection: Connection, alias: Alias) -> Row[Any] | None:
    return connection.execute(_CALLED, _words(alias)).first()


def _words(alias: Alias) -> dict[str, str]:
    return {"issuer": alias.issuer, "name": alias.name}
