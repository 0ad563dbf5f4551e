"""Passwords of accounts, and the locks of names that were guessed at.

An administrator gives a password and takes it; whoever knows one may change it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest

from stead.authority.logon import Logon
from stead.authority.names import name_key
from stead.authority.ports import AccountStore
from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    LogonFailureError,
    LoopThreadError,
)
from stead.model.audit_record import AuditEvent
from stead.model.secret import Secret
from stead.model.sid import Sid
from stead.monitor import context
from stead.server.account_desk import AccountDesk, account_named
from stead.server.own_objects import AccountDatabase


@dataclass(frozen=True, slots=True)
class PasswordDesk:
    """Where passwords are given, changed and taken.

    Attributes:
        desk: judges and records, for a subject.
        store: where accounts live.
        logon: compares passwords; None where the library for that is missing.
        sleep: waits for some seconds before a wrong password is answered.
    """

    desk: AccountDesk
    store: AccountStore
    logon: Logon | None
    sleep: Callable[[float], None]

    def reset(self, name: str, secret: Secret, *, must_change: bool = False) -> None:
        """Give an account a password, whatever it had; the secret is wiped.

        Sessions that the old one opened go on, as on Windows, unless the policy says
        otherwise (`AccountPolicy.password_ends_sessions`).

        Args:
            name: the account.
            secret: the password.
            must_change: whether its owner must change it before it logs anybody on.

        Raises:
            UnknownAccountError: there is no such account.
            InvalidRequestError: the password is empty or too long.
            EnforcementUnavailableError: this server can keep no passwords.
            AccessDeniedError: the subject may not.
        """
        with secret:
            self.desk.require(AccountDatabase.WRITE)
            account, logon = account_named(self.store, name), self._require_logon()
            with self.desk.changing(AuditEvent.PASSWORD_RESET, account.name):
                logon.set_password(account.sid, secret, must_change=must_change)
            self._end_sessions(logon, account.sid)

    def require_change(self, name: str) -> bool:
        """Have a password changed by its owner before it logs anybody on.

        Returns:
            whether there is one, that need not be changed already.

        Raises:
            UnknownAccountError: there is no such account.
            EnforcementUnavailableError: this server keeps no passwords.
            AccessDeniedError: the subject may not.
        """
        self.desk.require(AccountDatabase.WRITE)
        account, logon = account_named(self.store, name), self._require_logon()
        if account.sid not in logon.with_password():
            return False
        told = {"sid": str(account.sid), "new": "the password must be changed"}
        with self.desk.changing(AuditEvent.ACCOUNT_CHANGED, account.name, **told):
            return logon.require_change(account.sid)

    def _end_sessions(self, logon: Logon, sid: Sid) -> None:
        if logon.policy.password_ends_sessions:
            self.desk.sessions.end_all_of(sid)

    def change(self, name: str, old: Secret, new: Secret) -> None:
        """Change a password by whoever knows it; both secrets are wiped.

        The old one is compared as at a logon: wrong ones are counted, answered late,
        and lock the name. One that must be changed, or is too old, counts here: so its
        owner gets in again.

        Raises:
            LogonFailureError: whatever the cause; the trail has it.
            InvalidRequestError: the new password is empty, too long, or the old one.
            EnforcementUnavailableError: this server can keep no passwords.
            LoopThreadError: an event loop runs on this thread, and this waits.
            LogonSessionEndedError: the subject's session has ended.
        """
        with old, new:
            logon = self._require_logon()
            self.desk.guard.liveness.require_live(self.desk.subject.token)
            attempt = logon.confirm(name, old)
            if attempt.error is None:
                account = attempt.require()
                self._require_changed(account.name, old, new)
                with self.desk.changing(AuditEvent.PASSWORD_CHANGED, account.name):
                    logon.set_password(account.sid, new)
                self._end_sessions(logon, account.sid)
                return
        failure = LogonFailureError()
        try:
            failure.record = self.desk.record(
                AuditEvent.PASSWORD_CHANGED, name[:80], attempt.error
            )
            if attempt.locks:
                self.desk.record(AuditEvent.ACCOUNT_LOCKED_OUT, name[:80], None)
        finally:
            self.sleep(attempt.delay)
        raise failure

    def _require_changed(self, name: str, old: Secret, new: Secret) -> None:
        """Return if a password is changed at all.

        The answer says that the old one was right: so it is written down, or this
        would be a way to try passwords that leaves nothing of the one that fits.

        Raises:
            InvalidRequestError: it is not.
        """
        try:
            _require_another(old, new)
        except InvalidRequestError as error:
            error.record = self.desk.record(AuditEvent.PASSWORD_CHANGED, name, error)
            raise

    def remove(self, name: str) -> bool:
        """Take an account's password, so that none logs it on; False if it had none.

        Raises:
            UnknownAccountError: there is no such account.
            AccessDeniedError: the subject may not.
        """
        self.desk.require(AccountDatabase.WRITE)
        account, logon = account_named(self.store, name), self._require_logon()
        if account.sid not in logon.with_password():
            return False
        with self.desk.changing(AuditEvent.PASSWORD_RESET, account.name, to="none"):
            return logon.remove_password(account.sid)

    def unlock(self, name: str) -> bool:
        """Forget an account's failed logons; False if it was not locked.

        Raises:
            UnknownAccountError: there is no such account.
            AccessDeniedError: the subject may not.
        """
        self.desk.require(AccountDatabase.WRITE)
        account, logon = account_named(self.store, name), self._require_logon()
        key = name_key(account.name)
        if key not in logon.lockout.locked():
            return False
        with self.desk.changing(AuditEvent.ACCOUNT_UNLOCKED, account.name):
            logon.lockout.clear(key)
        return True

    def holders(self) -> frozenset[Sid]:
        """Return the accounts that have a password; raises `AccessDeniedError`."""
        self.desk.require(AccountDatabase.READ)
        return frozenset() if self.logon is None else self.logon.with_password()

    def locked(self) -> frozenset[Sid]:
        """Return the accounts that are locked now; raises `AccessDeniedError`."""
        self.desk.require(AccountDatabase.READ)
        keys = frozenset[str]() if self.logon is None else self.logon.lockout.locked()
        return frozenset(
            account.sid
            for account in self.store.accounts()
            if name_key(account.name) in keys
        )

    def _require_logon(self) -> Logon:
        if context.is_loop_thread():
            raise LoopThreadError(
                "passwords take long, and an event loop runs on this thread",
                advice="call it from a thread: `await asyncio.to_thread(...)`",
            )
        if self.logon is None:
            raise EnforcementUnavailableError(
                "no library that compares passwords is installed",
                advice="`pip install 'stead[password]'`",
            )
        return self.logon


def _require_another(old: Secret, new: Secret) -> None:
    """Return if a password is changed at all; raises `InvalidRequestError`."""
    with old.revealed() as before, new.revealed() as after:
        if compare_digest(before, after):
            raise InvalidRequestError(
                "the new password is the old one", advice="choose another"
            )
