"""What is kept of the passwords of a store's accounts: made, compared, made better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from stead.authority.account_policy import MUST_CHANGE, AccountPolicy
from stead.authority.credential_ports import (
    CredentialStore,
    PasswordVerifier,
    ScramVerifiers,
)
from stead.authority.errands import Errand, at_once
from stead.authority.logon_attempt import Answer
from stead.authority.ports import Account, Password
from stead.errors import SteadError
from stead.model.scram_verifier import ScramVerifier
from stead.model.secret import Secret
from stead.model.sid import Sid


@dataclass(slots=True, eq=False)
class KeptPasswords:
    """Verifiers of passwords, and what makes and compares them.

    Attributes:
        credentials: where verifiers live.
        verifier: makes and compares them.
        policy: what a new password ends.
        clock: nanoseconds since the epoch, UTC.
        renewing: is told, before, that an account's verifier is made again.
        scram: returns what makes what is kept for SCRAM; None for nothing.
        aside: has done what takes long on purpose.
    """

    credentials: CredentialStore
    verifier: PasswordVerifier
    policy: AccountPolicy
    clock: Callable[[], int]
    renewing: Callable[[Account], object]
    scram: Callable[[], ScramVerifiers | None]
    aside: Errand = at_once

    def of(self, sid: Sid) -> Password | None:
        """Return what is kept of an account's password; None if it has none."""
        return self.credentials.password_of(sid)

    def set(
        self,
        sid: Sid,
        secret: Secret,
        *,
        must_change: bool = False,
        replaces: str | None = None,
    ) -> None:
        """Keep a new password of an account; the policy may end its sessions with it.

        Args:
            sid: whose.
            secret: the password.
            must_change: whether its owner must change it before it counts.
            replaces: the only verifier in whose place it is kept; None for any, or
                none.

        Raises:
            InvalidRequestError: it is empty or too long.
            PasswordMismatchError: what is kept by now is another than `replaces`.
            UnknownAccountError: there is no such account.
        """
        verifier, scram = self._make(secret), _make_scram(secret, self.scram())
        self.credentials.set_password(
            sid,
            verifier,
            changed_at=MUST_CHANGE if must_change else self.clock(),
            scram=scram,
            replaces=replaces,
            ends_sessions=self.policy.password_ends_sessions,
        )

    def require_change(self, sid: Sid) -> bool:
        """Have an account's password changed before it counts.

        Returns:
            whether there is one, that need not be changed already.
        """
        return self.credentials.require_change(sid)

    def remove(self, sid: Sid) -> bool:
        """Forget an account's password; False if it had none."""
        return self.credentials.remove_password(sid)

    def owners(self) -> frozenset[Sid]:
        """Return the accounts that have a password."""
        return self.credentials.accounts_with_password()

    def verify(self, kept: Password | None, secret: Secret) -> Answer:
        """Tell whether the password is right; once, whether there is one or not."""
        stored = self.verifier.decoy() if kept is None else kept.verifier
        try:
            is_right = self._compare(stored, secret)
        except SteadError as error:
            # Without the frames that held the secret.
            return error.with_traceback(None)
        return is_right and kept is not None

    def renew(self, account: Account, kept: Password, secret: Secret) -> None:
        """Make verifiers again that are weaker than those made today.

        Args:
            account: whose.
            kept: what the password was compared with.
            secret: the password, which is right.
        """
        is_old = self.verifier.is_outdated(kept.verifier)
        scram = self._better_scram(account, secret)
        if is_old or scram is not None:
            better = self._make(secret) if is_old else kept.verifier
            self.renewing(account)
            self.credentials.renew_verifier(
                account.sid, kept.verifier, better, scram=scram
            )

    def _compare(self, stored: str, secret: Secret) -> bool:
        with secret.revealed() as content:
            return self.aside(partial(self.verifier.matches, stored, content))

    def _make(self, secret: Secret) -> str:
        with secret.revealed() as content:
            try:
                return self.aside(partial(self.verifier.make, content))
            except SteadError as error:
                refusal = error.with_traceback(None)
            finally:
                del content
        raise refusal

    def _better_scram(self, account: Account, secret: Secret) -> ScramVerifier | None:
        makes = self.scram()
        if makes is None:
            return None
        known = self.credentials.scram_of(account.sid)
        if known is not None and not makes.is_outdated(known):
            return None
        return _make_scram(secret, makes)


def _make_scram(secret: Secret, makes: ScramVerifiers | None) -> ScramVerifier | None:
    if makes is None:
        return None
    with secret.revealed() as content:
        return makes.make(content)
