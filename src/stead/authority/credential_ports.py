"""What is kept of passwords and of failed logons, and what is asked of who keeps it.

One transaction a call, as of the other stores (`stead.authority.ports`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from stead.authority.ports import LogonFailures, Password
from stead.model.scram_verifier import ScramVerifier
from stead.model.sid import Sid

FailureChange = Callable[[LogonFailures | None], LogonFailures | None]
"""What becomes of a name's failures; None for none."""


@dataclass(frozen=True, slots=True)
class ScramDecoys:
    """What a challenge is made of for a name without a verifier.

    Attributes:
        key: the store's own secret.
        iterations: by count of iterations: how many verifiers have it.
    """

    key: bytes = field(repr=False)
    iterations: tuple[tuple[int, int], ...] = ()


class ScramVerifiers(Protocol):
    """Makes verifiers of passwords for SCRAM."""

    def make(self, secret: bytes) -> ScramVerifier:
        """Return a new verifier of a secret."""
        ...

    def is_outdated(self, verifier: ScramVerifier) -> bool:
        """Tell whether `make` would by now make a stronger one."""
        ...


class PasswordVerifier(Protocol):
    """Makes verifiers of passwords and tells whether a password is the one."""

    def make(self, secret: bytes) -> str:
        """Return a new verifier of a secret.

        Raises:
            InvalidRequestError: the secret is empty or too long.
        """
        ...

    def decoy(self) -> str:
        """Return a verifier that nothing matches and that costs what others cost."""
        ...

    def matches(self, verifier: str, secret: bytes) -> bool:
        """Tell whether a secret is the one; works as long for any secret.

        Raises:
            StoreUnavailableError: the verifier is damaged, or the machine lacks what
                verifying takes.
        """
        ...

    def is_outdated(self, verifier: str) -> bool:
        """Tell whether `make` would by now make a stronger one."""
        ...


class CredentialStore(Protocol):
    """Where verifiers of passwords and counts of failed logons live."""

    def password_of(self, sid: Sid) -> Password | None:
        """Return what is kept of an account's password; None if it has none."""
        ...

    def accounts_with_password(self) -> frozenset[Sid]:
        """Return who has a password."""
        ...

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
        """Keep new verifiers, and none of the old ones; end sessions if asked to.

        Args:
            sid: the account.
            verifier: what is kept from now on.
            changed_at: nanoseconds since the epoch, UTC.
            scram: likewise for SCRAM.
            replaces: what must be kept until now; None for whatever is.
            ends_sessions: whether the account's sessions end with it.

        Raises:
            PasswordMismatchError: it is not `replaces` that is kept.
            UnknownAccountError: there is no such account.
        """
        ...

    def require_change(self, sid: Sid) -> bool:
        """Have a password changed before it counts; False if there is none to change.

        Or if it must be changed already.
        """
        ...

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
        ...

    def scram_of(self, sid: Sid) -> ScramVerifier | None:
        """Return what is kept of an account's password for SCRAM, if anything."""
        ...

    def scram_or_decoys(self, sid: Sid) -> tuple[ScramVerifier | None, ScramDecoys]:
        """Return both: what is kept, and what a challenge for nobody is made of."""
        ...

    def scram_decoys(self) -> ScramDecoys:
        """Return what challenges for nobody are made of."""
        ...

    def remove_password(self, sid: Sid) -> bool:
        """Forget an account's password; False if it had none."""
        ...

    def change_failures(
        self, key: str, change: FailureChange, *, is_awaited: bool = True
    ) -> None:
        """Replace what is known of one name's failures, atomically.

        Every process sees it when the call returns.

        At most `MAXIMUM_FAILURES` names are kept, in two halves: those that are locked
        out by now, and all others. Who failed longest ago makes room, among those that
        have more than their half.

        Args:
            key: what spellings of the name have in common, whoever has it.
            change: is given what is kept and returns what is to be kept.
            is_awaited: whether it is durable by then, too, and not only when something
                of the store is, that is written after it.
        """
        ...

    def failures(self) -> dict[str, LogonFailures]:
        """Return what is kept, by name key."""
        ...


MAXIMUM_FAILURES: Final = 20_000
"""Names whose failures are kept. Pushing out the count of a name costs as many
verifications as half of them, or a lock that many times the threshold, and wins no more
guesses than that. Locks that are over, or a flood of new ones, change nothing of it."""
