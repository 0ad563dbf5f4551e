"""When accounts may log on, changed only by who may; recorded first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Unpack

from stead.authority.ports import Account, AccountStore, Times
from stead.errors import InvalidRequestError
from stead.model.arguments import require_kind
from stead.model.audit_record import AuditEvent
from stead.model.logon_hours import LogonHours
from stead.server.account_desk import AccountDesk, account_named
from stead.server.own_objects import AccountDatabase

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_NANOSECONDS: Final = 1_000
_LATEST: Final = 1 << 63  # the year 2262


@dataclass(frozen=True, slots=True)
class AccountTimes:
    """Where it is said when accounts may log on.

    A change ends the account's sessions, in every process within a second.

    Attributes:
        desk: judges and records, for a subject.
        store: where accounts live.
    """

    desk: AccountDesk
    store: AccountStore

    def set_end(self, name: str, end: datetime | None) -> Account:
        """Say from when an account may log on no more; None for never.

        Args:
            name: the account.
            end: a time with a time zone.

        Raises:
            UnknownAccountError: there is no such account.
            InvalidRequestError: it has no zone, or lies beyond what a store can keep.
            AccessDeniedError: the subject may not.
        """
        at = None if end is None else _nanoseconds(end)
        shown = "never" if end is None else end.astimezone(UTC).isoformat()
        return self._change(name, f"ends {shown}", expires_at=at)

    def set_hours(self, name: str, hours: LogonHours | str) -> Account:
        """Say in which hours of the week, in UTC, an account may log on.

        Args:
            name: the account.
            hours: such as `mon-fri 08-18`; `always`, or `never`.

        Raises:
            UnknownAccountError: there is no such account.
            InvalidNameError: that names no hours.
            InvalidRequestError: it is neither.
            AccessDeniedError: the subject may not.
        """
        require_kind("hours", hours, (str, LogonHours), "such as `mon-fri 08-18`")
        meant = LogonHours.from_string(hours) if isinstance(hours, str) else hours
        kept = None if meant.is_always else meant
        return self._change(name, f"hours {meant}", logon_hours=kept)

    def let_password_last(self, name: str, *, lasts: bool = True) -> Account:
        """Say whether an account's password may grow older than the policy allows.

        Raises:
            UnknownAccountError, AccessDeniedError: as `set_hours`.
        """
        return self._change(name, f"password lasts: {lasts}", password_lasts=lasts)

    def _change(self, name: str, what: str, **times: Unpack[Times]) -> Account:
        self.desk.require(AccountDatabase.WRITE)
        account = account_named(self.store, name)
        told = {"sid": str(account.sid), "new": what}
        with self.desk.changing(AuditEvent.ACCOUNT_CHANGED, account.name, **told):
            made = self.store.set_account_times(account.sid, **times)
        self.desk.sessions.end_all_of(account.sid)
        return made


def _nanoseconds(moment: datetime) -> int:
    require_kind("end", moment, datetime, "a time with a time zone, or None for never")
    if moment.tzinfo is None:
        raise InvalidRequestError(
            "an account ends at a time with a time zone",
            advice="write `datetime(2027, 1, 1, tzinfo=UTC)`",
        )
    found = (moment - _EPOCH) // timedelta(microseconds=1) * _NANOSECONDS
    if not 0 <= found < _LATEST:
        raise InvalidRequestError(
            f"`{moment}` is no end of an account: those lie between 1970 and 2262",
            advice="None is never",
        )
    return found
