"""Whether a session may go on: nobody ended it, and its account is what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from stead.authority import tokens
from stead.authority.identity import Identity, identify_again, require_logon_right
from stead.authority.ports import AccountStore
from stead.authority.roster import Leases
from stead.authority.session import Session
from stead.decision.token_ops import effective_part
from stead.errors import (
    AccountDisabledError,
    InvalidNameError,
    LogonTypeNotGrantedError,
    TooManyGroupsError,
    UnknownAccountError,
)
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.model.token import AccessToken

_T = TypeVar("_T")


class Asking(Protocol):
    """Asks something of the store, for not too long."""

    def __call__(self, act: Callable[[], _T], /) -> _T:
        """Return what `act` returns; raises `StoreUnavailableError` in time."""
        ...


def asked_here(act: Callable[[], _T], /) -> _T:
    """Ask on this thread, for as long as it takes."""
    return act()


@dataclass(frozen=True, slots=True)
class Fitness:
    """What is asked of a store when a lease is over.

    Attributes:
        store: where accounts live.
        leases: which sessions were ended, in every process that shares the store.
    """

    store: AccountStore
    leases: Leases

    def renew(self, session: Session) -> int | None:
        """Return the store's generation at which a session is fit; None if it is not.

        An account that gained something is fit: that counts from its next session.

        Raises:
            StoreUnavailableError: the store cannot say.
            LogonSessionEndedError: all sessions of this process were given up.
        """
        if session.is_own:
            return 0
        generation = self.leases.generation()
        if generation == session.generation:
            return generation
        user = None if session.outer is not None else session.record.user
        if self.leases.was_ended(session.record.logon_id, user, session.identified_at):
            return None
        if session.identity is None:
            return generation
        return generation if self._is_what_it_was(session, session.identity) else None

    def _is_what_it_was(self, session: Session, before: Identity) -> bool:
        # A bare uid that has an account by now is that account, disabled or not.
        if (
            before.account is None
            and before.posix is not None
            and self.store.account_by_uid(before.posix.uid) is not None
        ):
            return False
        try:
            by_now = identify_again(self.store, before)
            require_logon_right(by_now)
        except (
            AccountDisabledError,
            InvalidNameError,
            LogonTypeNotGrantedError,
            TooManyGroupsError,
            UnknownAccountError,
        ):
            return False
        return _has_kept(session, before, by_now)

    def is_up_to_date(self, session: Session) -> bool:
        """Tell whether a new logon would give the client what its session has.

        Raises:
            StoreUnavailableError: the store cannot say.
            LogonSessionEndedError: all sessions of this process were given up.
        """
        if session.identity is None:
            return True
        generation = self.leases.generation()
        if generation == session.same_at:
            return True
        try:
            by_now = identify_again(self.store, session.identity)
        except (AccountDisabledError, UnknownAccountError, TooManyGroupsError):
            return True  # and whoever acts in it is told
        made = _token_by_now(session, by_now)
        is_same = session.token in (made, effective_part(made))
        if is_same:
            session.same_at = generation
        return is_same


@dataclass(frozen=True, slots=True)
class LeasesOfStore:
    """`Leases` where nobody ends sessions of other processes: the store's changes."""

    store: AccountStore

    def generation(self) -> int:
        """Return the store's generation by now."""
        return self.store.generation()

    def was_ended(
        self,
        logon_id: Luid,  # noqa: ARG002 - as `Leases` has it
        user: Sid | None,  # noqa: ARG002 - likewise
        generation: int,  # noqa: ARG002 - likewise
    ) -> bool:
        """Tell that nobody ended it."""
        return False


def _has_kept(session: Session, before: Identity, by_now: Identity) -> bool:
    """Tell whether somebody still has all that their session's token holds."""
    if before.account != by_now.account:  # its version grows with every change
        return False
    begun, made = session.token, _token_by_now(session, by_now)
    return {group.sid for group in begun.groups} <= {
        group.sid for group in made.groups
    } and {entry.privilege for entry in begun.privileges} <= {
        entry.privilege for entry in made.privileges
    }


def _token_by_now(session: Session, by_now: Identity) -> AccessToken:
    """Return the token with which the session would begin now."""
    begun = session.token
    return tokens.client_token(
        by_now,
        level=begun.level,
        logon_id=begun.logon_id,
        token_id=begun.token_id,
        origin=begun.origin,
    )
