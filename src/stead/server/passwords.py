"""Passwords of accounts, and the locks of names that were guessed at.

An administrator gives a password and takes it; whoever knows one may change it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from stead.authority.logon import Confirmed, Logon
from stead.authority.names import name_key, split_name
from stead.authority.ports import Account, AccountStore
from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    LogonFailureError,
    LoopThreadError,
    PasswordMismatchError,
    UnknownAccountError,
)
from stead.model.audit_record import AuditEvent
from stead.model.secret import Secret
from stead.model.sid import Sid
from stead.monitor import loops
from stead.server.account_desk import AccountDesk, account_named
from stead.server.own_objects import AccountDatabase
from stead.server.refusals import about

_LONGEST_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class LockedName:
    """A name that nobody logs on by for now.

    Attributes:
        name: folded, as failures are counted: case and spelling make no other name.
            Of a name that nobody has, a digest.
        account: the store's account of this name; None for a directory's name, and
            for one that nobody has.
        until: nanoseconds since the epoch, UTC.
    """

    name: str
    account: Account | None
    until: int


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
            told = {"sid": str(account.sid)}
            with self.desk.changing(AuditEvent.PASSWORD_RESET, account.name, **told):
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
        if logon.password_of(account.sid) is None:
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
                confirmed = attempt.require()
                self._require_changed(confirmed.account, old, new)
                if self._is_replaced(logon, confirmed, new):
                    self._end_sessions(logon, confirmed.account.sid)
                    return
                raise LogonFailureError
        failure = LogonFailureError()
        try:
            failure.record = self.desk.record(
                AuditEvent.PASSWORD_CHANGED, attempt.shown, attempt.error
            )
            if attempt.locks:
                self.desk.record(
                    AuditEvent.ACCOUNT_LOCKED_OUT,
                    attempt.shown,
                    None,
                    **about(attempt.sid),
                )
        finally:
            self.sleep(attempt.delay)
        raise failure

    def _is_replaced(self, logon: Logon, confirmed: Confirmed, new: Secret) -> bool:
        """Keep a new password in the place of the one that was compared.

        An administrator who gives or takes a password has the last word: whoever knew
        the one of before, and was compared with it just then, does not undo that.

        Returns:
            whether it was that one still.
        """
        account = confirmed.account
        changed, sid = AuditEvent.PASSWORD_CHANGED, str(account.sid)
        try:
            with self.desk.changing(changed, account.name, sid=sid):
                logon.set_password(account.sid, new, replaces=confirmed.verifier)
        except PasswordMismatchError:
            return False
        return True

    def _require_changed(self, account: Account, old: Secret, new: Secret) -> None:
        """Return if a password is changed at all.

        The answer says that the old one was right: so it is written down, or this
        would be a way to try passwords that leaves nothing of the one that fits.

        Raises:
            InvalidRequestError: it is not.
        """
        try:
            _require_another(old, new)
        except InvalidRequestError as error:
            changed, sid = AuditEvent.PASSWORD_CHANGED, str(account.sid)
            error.record = self.desk.record(changed, account.name, error, sid=sid)
            raise

    def remove(self, name: str) -> bool:
        """Take an account's password, so that none logs it on; False if it had none.

        Raises:
            UnknownAccountError: there is no such account.
            AccessDeniedError: the subject may not.
        """
        self.desk.require(AccountDatabase.WRITE)
        account, logon = account_named(self.store, name), self._require_logon()
        if logon.password_of(account.sid) is None:
            return False
        told = {"sid": str(account.sid), "to": "none"}
        with self.desk.changing(AuditEvent.PASSWORD_RESET, account.name, **told):
            return logon.remove_password(account.sid)

    def unlock(self, name: str) -> bool:
        """Forget a name's failed logons; False if it was not locked.

        Args:
            name: an account's, or any name that was guessed at, such as a realm's
                `alice@EXAMPLE.COM`; or as `locked_names` has it.

        Raises:
            UnknownAccountError: no account has this name, and it is not locked.
            AccessDeniedError: the subject may not.
        """
        self.desk.require(AccountDatabase.WRITE)
        logon = self._require_logon()
        locked = logon.lockout.locked()
        keys = (*_keys_of(name), logon.unknown.key(name), name)
        key = next((each for each in keys if each in locked), None)
        if key is None:
            self._require_account(name)
            return False
        account = self.store.account_by_name(name)
        shown = key[:_LONGEST_SHOWN] if account is None else account.name
        told = {} if account is None else {"sid": str(account.sid)}
        with self.desk.changing(AuditEvent.ACCOUNT_UNLOCKED, shown, **told):
            logon.lockout.clear(key)
        return True

    def holders(self) -> frozenset[Sid]:
        """Return the accounts that have a password; raises `AccessDeniedError`."""
        self.desk.require(AccountDatabase.READ)
        return frozenset() if self.logon is None else self.logon.with_password()

    def _require_account(self, name: str) -> None:
        if self.store.account_by_name(name) is None:
            raise UnknownAccountError(
                f"no account is called `{name[:80]}`, and no such name is locked",
                advice="`stead account locked` shows those that are",
            )

    def locked_names(self) -> tuple[LockedName, ...]:
        """Return the names that are locked now: accounts', a directory's, nobody's.

        Raises:
            AccessDeniedError: the subject may not.
        """
        self.desk.require(AccountDatabase.READ)
        locked = {} if self.logon is None else self.logon.lockout.locked()
        known = {name_key(one.name): one for one in self.store.accounts()}
        return tuple(
            LockedName(key, known.get(key), until)
            for key, until in sorted(locked.items())
        )

    def locked(self) -> frozenset[Sid]:
        """Return the accounts that are locked now; raises `AccessDeniedError`."""
        found = (each.account for each in self.locked_names())
        return frozenset(account.sid for account in found if account is not None)

    def _require_logon(self) -> Logon:
        if loops.is_loop_thread():
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


def _keys_of(name: str) -> tuple[str, ...]:
    """Return what failures of a name are counted by, however its domain is written."""
    account, domain = split_name(name)
    return name_key(name), name_key(f"{account}@{domain}")


def _require_another(old: Secret, new: Secret) -> None:
    """Return if a password is changed at all; raises `InvalidRequestError`."""
    with old.revealed() as before, new.revealed() as after:
        if compare_digest(before, after):
            raise InvalidRequestError(
                "the new password is the old one", advice="choose another"
            )
