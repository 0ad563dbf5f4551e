"""When an account may log on, and for how long its password is one ([MS-SAMR] 3.1.1.6).

An account has a time at which it ends, hours of the week, and a password that it must
change at its next logon or when it is too old. Whoever logs on is refused for the first
of these that fails; the trail has which one, and the client hears what it always hears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stead.authority.credential_ports import CredentialStore
from stead.authority.ports import Account, Password
from stead.errors import (
    AccountExpiredError,
    InvalidRequestError,
    LogonHoursError,
    PasswordExpiredError,
    PasswordMustChangeError,
    SteadError,
)

_SECOND: Final = 1_000_000_000
MUST_CHANGE: Final = 0
"""When a password was changed that is to be changed before it counts (pwdLastSet)."""


@dataclass(frozen=True, slots=True)
class AccountPolicy:
    """What holds for every account of a server.

    Attributes:
        maximum_password_age: seconds after which a password must be changed; 0 for
            never, as is advised by now; Windows has 42 days.
        force_logoff: whether sessions end when the account's hours or its time are
            over, as a Windows file server has it.
        password_ends_sessions: whether a new password ends the account's sessions;
            on Windows it does not.
    """

    maximum_password_age: float = 0.0
    force_logoff: bool = True
    password_ends_sessions: bool = False

    def __post_init__(self) -> None:
        """Refuse an age that is none; raises `InvalidRequestError`."""
        if not self.maximum_password_age >= 0:
            raise InvalidRequestError("the age of passwords is in seconds; 0 is never")


def out_of_time(account: Account, now: int) -> SteadError | None:
    """Return why an account may not log on at a moment; None if it may.

    Args:
        account: which.
        now: nanoseconds since the epoch, UTC.
    """
    if account.expires_at is not None and now >= account.expires_at:
        return AccountExpiredError(
            f"the time of account `{account.name}` is over",
            advice=f"`stead account expires {account.name} never`",
        )
    if account.logon_hours is not None and not account.logon_hours.allows(now):
        return LogonHoursError(
            f"account `{account.name}` may log on {account.logon_hours} UTC only",
            advice=f"`stead account hours {account.name} always`",
        )
    return None


def end_of_time(account: Account, now: int) -> int | None:
    """Return when an account may log on no more; None for never.

    Args:
        account: which.
        now: nanoseconds since the epoch, UTC.
    """
    hours = account.logon_hours
    ends = (account.expires_at, None if hours is None else hours.end_after(now))
    return min((end for end in ends if end is not None), default=None)


def outdated_password(
    account: Account, password: Password, policy: AccountPolicy, now: int
) -> SteadError | None:
    """Return why a password must be changed before it counts; None if it counts.

    Args:
        account: whose it is.
        password: what is kept of it.
        policy: how old it may be.
        now: nanoseconds since the epoch, UTC.
    """
    advice = f"`stead account change-password {account.name}`"
    if password.changed_at == MUST_CHANGE:
        return PasswordMustChangeError(
            f"`{account.name}` must change the password first", advice=advice
        )
    age = (now - password.changed_at) / _SECOND
    is_bounded = policy.maximum_password_age > 0 and not account.password_lasts
    if is_bounded and age >= policy.maximum_password_age:
        return PasswordExpiredError(
            f"the password of `{account.name}` is too old", advice=advice
        )
    return None


@dataclass(frozen=True, slots=True)
class PasswordAges:
    """Whether accounts' passwords count, for what proves them without comparing them.

    Attributes:
        credentials: where it is kept when they were changed.
        policy: how old they may be.
        clock: nanoseconds since the epoch, UTC.
    """

    credentials: CredentialStore
    policy: AccountPolicy
    clock: Callable[[], int]

    def require(self, account: Account) -> None:
        """Return if an account's password need not be changed first.

        Raises:
            PasswordMustChangeError, PasswordExpiredError: it must.
        """
        kept = self.credentials.password_of(account.sid)
        if kept is None:
            return
        error = outdated_password(account, kept, self.policy, self.clock())
        if error is not None:
            raise error
