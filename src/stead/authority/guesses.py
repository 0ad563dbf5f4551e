"""Counting guesses of passwords that somebody else than the store knows.

A directory, PAM, a file of NTLM's: whoever compares, guesses of one name are counted
once, are answered late, and lock it, as those of the store's accounts are
(docs/adr/0117).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from stead.authority.lockout import Lockout, Reservation
from stead.authority.logon_attempt import LogonAttempt, locked_out, nobody
from stead.authority.name_turns import NameTurns
from stead.authority.names import name_key
from stead.authority.packages import Authenticated
from stead.authority.unknown_names import LONGEST_SHOWN, UnknownNames
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    SteadError,
    UnknownAccountError,
)

LONGEST_SPELLING: Final = 256
_SECOND: Final = 1_000_000_000
_T = TypeVar("_T")
_U = TypeVar("_U")


class Guesses:
    """Counts them.

    Args:
        lockout: counts failures.
        monotonic: nanoseconds that never step.
        unknown: writes names that nobody has.
    """

    def __init__(
        self,
        lockout: Lockout,
        monotonic: Callable[[], int],
        unknown: UnknownNames,
    ) -> None:
        self._lockout: Final = lockout
        self._unknown: Final = unknown
        self._monotonic: Final = monotonic
        # Each name's own: whoever is asked may answer late, or not at all.
        self._turns: Final = NameTurns()

    def attempt(
        self, name: str, ask: Callable[[], _T], admit: Callable[[_T], _U]
    ) -> LogonAttempt[_U]:
        """Have somebody tell whether a name's password is right, and count it.

        A directory that does not answer is no failure of the name's.

        Args:
            name: the account with its domain.
            ask: asks; what it raises is why the logon fails.
            admit: says who that is here; likewise.
        """
        began, key = self._monotonic(), name_key(name[:LONGEST_SPELLING])
        with self._turns.of(key):
            reservation = self._lockout.reserve(key)
            outcome, shown = self._asked(name, ask, admit)
            if reservation.is_locked:
                LogonAttempt(outcome).discard()
                outcome = locked_out()
            if isinstance(outcome, SteadError):
                locks = False
                if isinstance(outcome, DirectoryUnavailableError):
                    self._lockout.forgive(key)
                else:
                    locks = self._lockout.fail(key, reservation)
                late = self.delay(began, reservation)
                return LogonAttempt(outcome, locks, late, shown)
            late = self.delay(began, reservation)
            succeeded = LogonAttempt(outcome, delay=late, shown=shown)
            try:
                self._lockout.succeed(key)
            except BaseException:
                succeeded.discard()
                raise
        return succeeded

    def _asked(
        self, name: str, ask: Callable[[], _T], admit: Callable[[_T], _U]
    ) -> tuple[_U | SteadError, str]:
        """Return who it is, or why it is nobody; and what records call it."""
        shown = name[:LONGEST_SHOWN]
        try:
            found = ask()
        except UnknownAccountError:
            # In its words, too, there may be the name.
            return nobody(), self._unknown.shown(name)
        except EvidenceRefusedError as error:
            return error.with_traceback(None), self._unknown.shown(name)
        except SteadError as error:
            return error.with_traceback(None), shown
        try:
            return admit(found), shown
        except SteadError as error:
            return error.with_traceback(None), shown

    def delay(self, began: int, reservation: Reservation) -> float:
        """Return how late an answer is: a whole number of first delays, and then some.

        Rounding hides what little the causes still differ in.

        Args:
            began: monotonic nanoseconds.
            reservation: what failed.
        """
        policy = self._lockout.policy
        late = policy.delay(reservation.count)
        if policy.first_delay <= 0:
            return late
        took = (self._monotonic() - began) / _SECOND
        steps = math.ceil(took / policy.first_delay)
        return late + steps * policy.first_delay - took


@dataclass(frozen=True, slots=True)
class Counting:
    """How a package's clients are counted, whose passwords it compares itself.

    Attributes:
        guesses: counts them.
        require_fit: returns if whoever knows a password may log on here and now;
            raises why not. Who may not is a failure like any, as late, and counted.
    """

    guesses: Guesses
    require_fit: Callable[[Authenticated], object]
