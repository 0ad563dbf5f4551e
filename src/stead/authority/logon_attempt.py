"""What came of an attempt to log on, and the first reason why one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from stead.authority.lockout import Reservation
from stead.authority.ports import Account
from stead.authority.unknown_names import UNSEEN
from stead.errors import (
    AccountDisabledError,
    AccountLockedOutError,
    PasswordMismatchError,
    SteadError,
    StoreUnavailableError,
    UnknownAccountError,
)
from stead.model.sid import Sid

_T = TypeVar("_T")

Answer = bool | SteadError
"""Whether a password is right, or why that cannot be told."""


@dataclass(frozen=True, slots=True)
class LogonAttempt(Generic[_T]):
    """What came of an attempt to log on.

    Attributes:
        outcome: what it gives, or why it failed, for the trail.
        locks: whether this failure is what locked the name.
        delay: seconds to wait before anybody hears of a failure; also of one that
            comes after it, or a fast answer would say that the password was right.
        shown: what records call whoever it is (`stead.authority.unknown_names`).
        sid: the account of the store that has the name; None if none has.
    """

    outcome: _T | SteadError
    locks: bool = False
    delay: float = 0.0
    shown: str = UNSEEN
    sid: Sid | None = None

    @property
    def error(self) -> SteadError | None:
        """Why it failed; None if it did not."""
        return self.outcome if isinstance(self.outcome, SteadError) else None

    def require(self) -> _T:
        """Return what it gives; raises `error` if it failed."""
        if isinstance(self.outcome, SteadError):
            raise self.outcome
        return self.outcome

    def discard(self) -> None:
        """Close what it gives: nobody gets it."""
        close = getattr(self.outcome, "close", None)
        if close is not None:
            close()


def admitted(
    account: Account | None,
    error: SteadError | None,
    admit: Callable[[Account | None], _T],
) -> _T | SteadError:
    """Take step 5: ask about the account, or as much about nobody.

    Raises:
        StoreUnavailableError: the store cannot be asked, whoever it is about.
    """
    if error is not None:
        admit(None)
        return error
    try:
        return admit(account)
    except StoreUnavailableError:
        raise
    except SteadError as refused:
        return refused


def refusal(
    account: Account | None,
    reservation: Reservation,
    answer: Answer,
) -> SteadError | None:
    """Return the first reason not to admit, or None."""
    if reservation.is_locked:
        return locked_out()
    if account is None:
        return nobody()
    if isinstance(answer, SteadError):
        return answer
    if not answer:
        return PasswordMismatchError(f"the password is not that of `{account.name}`")
    if account.is_disabled:
        return AccountDisabledError(
            f"account `{account.name}` is disabled",
            advice=f"`stead account enable {account.name}`",
        )
    return None


def nobody() -> UnknownAccountError:
    """Return why nobody logs on by a name, without the name."""
    return UnknownAccountError("no account has this name")


def locked_out() -> AccountLockedOutError:
    """Return why nobody logs on by a name for a while."""
    return AccountLockedOutError(
        "too many logons of this name failed",
        advice="wait, or `stead account unlock`",
    )
