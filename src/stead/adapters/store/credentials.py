"""Verifiers of passwords, and counts of failed logons, in the database."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple
from typing import Final

from sqlalchemy import (
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from stead.adapters.store.database import Database, text_of
from stead.adapters.store.generation import count_change
from stead.adapters.store.naming import require_text
from stead.adapters.store.schema import LOGON_FAILURE, PASSWORD, PRINCIPAL
from stead.adapters.store.scram import keep_scram, read_decoys, read_scram
from stead.adapters.store.session_ends import end_sessions_of
from stead.authority.credential_ports import (
    MAXIMUM_FAILURES,
    FailureChange,
    ScramDecoys,
)
from stead.authority.ports import LogonFailures, Password
from stead.errors import PasswordMismatchError, UnknownAccountError
from stead.model.scram_verifier import ScramVerifier
from stead.model.sid import Sid

# Built once: building a statement costs more than SQLite takes to answer it.
_PASSWORD: Final = select(PASSWORD.c.verifier, PASSWORD.c.changed_at).where(
    PASSWORD.c.sid == bindparam("key")
)
_ACCOUNT: Final = select(PRINCIPAL.c.sid).where(
    PRINCIPAL.c.sid == bindparam("key"), PRINCIPAL.c.is_group.is_(False)
)
_FAILURES: Final = select(LOGON_FAILURE)
_FAILURES_OF: Final = select(
    *(each for each in LOGON_FAILURE.c if each.name != "name_key")
).where(LOGON_FAILURE.c.name_key == bindparam("key"))
_FORGET: Final = delete(LOGON_FAILURE).where(
    LOGON_FAILURE.c.name_key == bindparam("key")
)
_KEEP: Final = insert(LOGON_FAILURE)
_NUMBER: Final = select(func.count()).select_from(LOGON_FAILURE)
_IS_OPEN: Final = LOGON_FAILURE.c.locked_until <= bindparam("now")
_OPEN: Final = select(func.count()).select_from(LOGON_FAILURE).where(_IS_OPEN)
# Whoever failed that much later than now did so by a clock that was put back since: who
# fails now did not fail longer ago. Less is what others wait for a transaction.
_AHEAD: Final = 60 * 1_000_000_000
# By whether it is those that are open which have too much room.
_FORGET_OLDEST: Final = {
    are_open: delete(LOGON_FAILURE).where(
        LOGON_FAILURE.c.name_key.in_(
            select(LOGON_FAILURE.c.name_key)
            .where(_IS_OPEN if are_open else ~_IS_OPEN)
            .order_by(
                LOGON_FAILURE.c.last_at <= bindparam("soon"), LOGON_FAILURE.c.last_at
            )
            .limit(bindparam("over"))
        )
    )
    for are_open in (True, False)
}


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
        found = self._database.rows(_PASSWORD, (str(sid),))
        return Password(*found[0]) if found else None

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
        replaces: str | None = None,
        ends_sessions: bool = False,
    ) -> None:
        """Keep new verifiers, and none of the old ones; see `CredentialStore`."""
        with self._database.writing() as connection:
            if connection.execute(_ACCOUNT, {"key": sid}).first() is None:
                raise UnknownAccountError(f"there is no account `{sid}`")
            # What SCRAM has of the old one goes with it: the schema says so.
            old = delete(PASSWORD).where(PASSWORD.c.sid == sid)
            if replaces is not None:
                old = old.where(PASSWORD.c.verifier == replaces)
            gone = connection.execute(old)
            if replaces is not None and not gone.rowcount:
                raise PasswordMismatchError(
                    f"the password of `{sid}` was changed or taken meanwhile"
                )
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
        return read_scram(self._database.rows, sid)

    def scram_or_decoys(self, sid: Sid) -> tuple[ScramVerifier | None, ScramDecoys]:
        """Return both: what is kept, and what a challenge for nobody is made of."""
        return self.scram_of(sid), self.scram_decoys()

    def scram_decoys(self) -> ScramDecoys:
        """Return what challenges for nobody are made of."""
        return read_decoys(self._database.rows)

    def remove_password(self, sid: Sid) -> bool:
        """Forget an account's password; False if it had none."""
        with self._database.writing() as connection:
            gone = connection.execute(delete(PASSWORD).where(PASSWORD.c.sid == sid))
            if gone.rowcount:
                count_change(connection)
            return gone.rowcount == 1

    def change_failures(
        self, key: str, change: FailureChange, *, is_awaited: bool = True
    ) -> None:
        """Replace what is known of one name's failures, atomically.

        At most so many names are kept as this store was told, in two halves: those
        that are locked out by now, and all others. Who failed longest ago makes room,
        among those that have more than their half; before all, who did by a clock that
        was ahead.

        Args:
            key: what spellings of the name have in common, whoever has it.
            change: is given what is kept and returns what is to be kept.
            is_awaited: whether to wait for the disk.
        """
        require_text(key)

        def replace(driver: sqlite3.Cursor) -> None:
            found = driver.execute(text_of(_FAILURES_OF), (key,)).fetchone()
            kept = change(None if found is None else LogonFailures(*found))
            if found is not None:
                driver.execute(text_of(_FORGET), (key,))
            if kept is not None:
                self._make_room(driver, kept.last_at)
                driver.execute(text_of(_KEEP), (key, *astuple(kept)))

        (self._database.append if is_awaited else self._database.note)(replace)

    def failures(self) -> dict[str, LogonFailures]:
        """Return what is kept, by name key."""
        rows = self._database.rows(_FAILURES)
        return {key: LogonFailures(*found) for key, *found in rows}

    def _make_room(self, driver: sqlite3.Cursor, now: int) -> None:
        (number,) = driver.execute(text_of(_NUMBER)).fetchone()
        over = number + 1 - self._maximum
        if over > 0:
            (are_open,) = driver.execute(text_of(_OPEN), (now,)).fetchone()
            forget = _FORGET_OLDEST[are_open >= self._maximum // 2]
            # With OFFSET, for SQLite.
            driver.execute(text_of(forget), (now, now + _AHEAD, over, 0))
