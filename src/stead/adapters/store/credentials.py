"""Verifiers of passwords, and counts of failed logons, in the database."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from stead.adapters.store.database import Database
from stead.adapters.store.generation import count_change
from stead.adapters.store.naming import require_text
from stead.adapters.store.schema import LOGON_FAILURE, PASSWORD, PRINCIPAL
from stead.adapters.store.scram import keep_scram, read_decoys, read_scram
from stead.adapters.store.session_ends import end_sessions_of
from stead.authority.ports import (
    MAXIMUM_FAILURES,
    FailureChange,
    LogonFailures,
    Password,
    ScramDecoys,
)
from stead.errors import UnknownAccountError
from stead.model.scram_verifier import ScramVerifier
from stead.model.sid import Sid

# Built once: building a statement costs more than SQLite takes to answer it.
_PASSWORD: Final = select(PASSWORD).where(PASSWORD.c.sid == bindparam("key"))
_ACCOUNT: Final = select(PRINCIPAL.c.sid).where(
    PRINCIPAL.c.sid == bindparam("key"), PRINCIPAL.c.is_group.is_(False)
)
_FAILURES: Final = select(LOGON_FAILURE)
_FAILURES_OF: Final = _FAILURES.where(LOGON_FAILURE.c.name_key == bindparam("key"))
_FORGET: Final = delete(LOGON_FAILURE).where(
    LOGON_FAILURE.c.name_key == bindparam("key")
)
_NUMBER: Final = select(func.count()).select_from(LOGON_FAILURE)
_OLDEST: Final = select(LOGON_FAILURE.c.name_key).order_by("locked_until", "last_at")


class SqlCredentialStore:
    """The `CredentialStore` of a database.

    Args:
        database: where.
        maximum: of how many names failures are kept.
    """

    def __init__(self, database: Database, maximum: int = MAXIMUM_FAILURES) -> None:
        self._database = database
        self._maximum = maximum

    def password_of(self, sid: Sid) -> Password | None:
        """Return what is kept of an account's password; None if it has none."""
        with self._database.reading() as connection:
            row = connection.execute(_PASSWORD, {"key": sid}).first()
        return None if row is None else Password(row.verifier, row.changed_at)

    def accounts_with_password(self) -> frozenset[Sid]:
        """Return who has a password."""
        with self._database.reading() as connection:
            return frozenset(connection.execute(select(PASSWORD.c.sid)).scalars())

    def set_password(
        self,
        sid: Sid,
        verifier: str,
        *,
        changed_at: int,
        scram: ScramVerifier | None = None,
        ends_sessions: bool = False,
    ) -> None:
        """Keep new verifiers, and none of the old ones; end sessions if asked to.

        Raises:
            UnknownAccountError: there is no such account.
        """
        with self._database.writing() as connection:
            if connection.execute(_ACCOUNT, {"key": sid}).first() is None:
                raise UnknownAccountError(f"there is no account `{sid}`")
            # What SCRAM has of the old one goes with it: the schema says so.
            connection.execute(delete(PASSWORD).where(PASSWORD.c.sid == sid))
            connection.execute(
                insert(PASSWORD).values(
                    sid=sid, verifier=verifier, changed_at=changed_at
                )
            )
            if scram is not None:
                keep_scram(connection, sid, scram)
            count_change(connection)
            if ends_sessions:
                end_sessions_of(connection, sid)

    def require_change(self, sid: Sid) -> bool:
        """Have a password changed before it counts; False if there is none to change.

        Or if it must be changed already.
        """
        with self._database.writing() as connection:
            changed = connection.execute(
                update(PASSWORD)
                .where(PASSWORD.c.sid == sid, PASSWORD.c.changed_at != 0)
                .values(changed_at=0)
            )
            if changed.rowcount:
                count_change(connection)
            return changed.rowcount == 1

    def renew_verifier(
        self, sid: Sid, old: str, new: str, *, scram: ScramVerifier | None = None
    ) -> bool:
        """Keep better verifiers of the same password; False if `old` is kept no more.

        It is no change of the password.

        Args:
            sid: the account.
            old: what the password was compared with.
            new: what is kept in its place.
            scram: likewise for SCRAM; None keeps what there is.
        """
        with self._database.writing() as connection:
            renewed = connection.execute(
                update(PASSWORD)
                .where(PASSWORD.c.sid == sid, PASSWORD.c.verifier == old)
                .values(verifier=new)
            )
            if renewed.rowcount == 1 and scram is not None:
                keep_scram(connection, sid, scram)
            return renewed.rowcount == 1

    def scram_of(self, sid: Sid) -> ScramVerifier | None:
        """Return what is kept of an account's password for SCRAM, if anything."""
        with self._database.reading() as connection:
            return read_scram(connection, sid)

    def scram_decoys(self) -> ScramDecoys:
        """Return what challenges for nobody are made of."""
        with self._database.reading() as connection:
            return read_decoys(connection)

    def remove_password(self, sid: Sid) -> bool:
        """Forget an account's password; False if it had none."""
        with self._database.writing() as connection:
            gone = connection.execute(delete(PASSWORD).where(PASSWORD.c.sid == sid))
            if gone.rowcount:
                count_change(connection)
            return gone.rowcount == 1

    def change_failures(self, key: str, change: FailureChange) -> None:
        """Replace what is known of one name's failures, atomically.

        At most so many names are kept as this store was told: the one that failed
        longest ago goes first, and those that are locked out last.

        Args:
            key: what spellings of the name have in common, whoever has it.
            change: is given what is kept and returns what is to be kept.
        """
        require_text(key)
        with self._database.writing() as connection:
            row = connection.execute(_FAILURES_OF, {"key": key}).first()
            kept = change(None if row is None else _failures(row))
            connection.execute(_FORGET, {"key": key})
            if kept is not None:
                self._make_room(connection)
                _keep(connection, key, kept)

    def failures(self) -> dict[str, LogonFailures]:
        """Return what is kept, by name key."""
        with self._database.reading() as connection:
            rows = connection.execute(_FAILURES)
            return {row.name_key: _failures(row) for row in rows}

    def _make_room(self, connection: Connection) -> None:
        over = connection.execute(_NUMBER).scalar_one() + 1 - self._maximum
        if over > 0:
            gone = connection.execute(_OLDEST.limit(over)).scalars().all()
            connection.execute(
                delete(LOGON_FAILURE).where(LOGON_FAILURE.c.name_key.in_(gone))
            )


def _keep(connection: Connection, key: str, kept: LogonFailures) -> None:
    connection.execute(
        insert(LOGON_FAILURE).values(
            name_key=key,
            count=kept.count,
            first_at=kept.first_at,
            last_at=kept.last_at,
            locked_until=kept.locked_until,
        )
    )


def _failures(row: Row[Any]) -> LogonFailures:
    values = row._mapping  # noqa: SLF001 - its documented name; a tuple has a `count`
    return LogonFailures(
        values["count"],
        values["first_at"],
        values["last_at"],
        values["locked_until"],
    )
