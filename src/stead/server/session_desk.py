"""Logon sessions of every process that shares the store: seen, and ended.

Who may is the descriptor of the object `stead:accounts`: READ to see, WRITE to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from stead.authority.ports import AccountStore
from stead.authority.roster import FoundSession, SessionEnds, SessionRoster
from stead.errors import UnknownSessionError
from stead.model.arguments import require_kind
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonRecord
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.server.account_desk import AccountDesk, account_named
from stead.server.own_objects import AccountDatabase

_END: Final = 1 << 63
"""Beyond what a store gives out."""


@dataclass(frozen=True, slots=True)
class SessionDesk:
    """Where sessions are asked for and ended.

    Attributes:
        desk: judges and records, for a subject; ends those of this process.
        store: where accounts live.
        roster: where every process writes down its own, soon after they open.
        ends: ends those of other processes.
    """

    desk: AccountDesk
    store: AccountStore
    roster: SessionRoster
    ends: SessionEnds

    def list(self) -> tuple[FoundSession, ...]:
        """Return the sessions of every process, oldest first.

        What opened or ended within the last second may not be told yet.

        Raises:
            AccessDeniedError: the subject may not.
        """
        self.desk.require(AccountDatabase.READ)
        return self.roster.sessions()

    def end(self, logon_id: Luid) -> LogonRecord:
        """End a session, whichever process it is of: here at once, there in a second.

        Raises:
            UnknownSessionError: none that lives has this number.
            AccessDeniedError: the subject may not.
            LedgerUnavailableError: it could not be recorded; it is not ended.
        """
        require_kind("logon_id", logon_id, int, "such as a record's `logon_id`")
        self.desk.require(AccountDatabase.WRITE)
        record = self._find(logon_id)
        with self._ending(str(logon_id), record.user, record.name):
            self.ends.end_session(logon_id)
        self.desk.sessions.end(logon_id)
        return record

    def end_all(self, name: str) -> int:
        """End every session of an account, in every process; return how many.

        Sessions of other processes that opened within the last second end too, and are
        not counted.

        Raises:
            UnknownAccountError: there is no such account.
            AccessDeniedError, LedgerUnavailableError: as `end`.
        """
        self.desk.require(AccountDatabase.WRITE)
        account = account_named(self.store, name)
        listed = self.roster.numbers_of(account.sid)
        with self._ending("all", account.sid, account.name):
            self.ends.end_sessions_of(account.sid)
        here = self.desk.sessions.end_all_of(account.sid)
        return len(listed | {record.logon_id for record in here})

    def _find(self, logon_id: Luid) -> LogonRecord:
        """Return what is known of a session, of this process or another."""
        here = self.desk.sessions.record_of(logon_id)
        if here is not None:
            return here
        if 0 <= logon_id < _END:
            found = self.roster.session(Luid(logon_id))
            if found is not None:
                return found.record
        raise UnknownSessionError(
            f"no session {logon_id} lives", advice="`stead session list` shows those"
        )

    @contextmanager
    def _ending(self, which: str, user: Sid, name: str) -> Iterator[None]:
        changing = self.desk.guard.recorder.changing(
            AuditEvent.LOGOFF_ASKED,
            self.desk.subject,
            object_type="LogonSession",
            object_name=which,
            detail={"account": name, "sid": str(user)},
        )
        with changing:
            yield
