"""Logging on with a password ([MS-LSAD], LSA logon; Win32 LogonUser).

What this returns and raises is precise, and for the trail: whoever tells a client about
it says one thing for every cause. What it does is the same for every cause, so that
nobody learns from the time it takes whether a name exists, is locked, or is disabled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Generic, TypeVar

from stead.authority.account_policy import (
    AccountPolicy,
    out_of_time,
    outdated_password,
)
from stead.authority.credential_ports import (
    CredentialStore,
    PasswordVerifier,
    ScramVerifiers,
)
from stead.authority.errands import Errand, at_once
from stead.authority.guesses import LONGEST_SPELLING, Guesses
from stead.authority.identity import (
    HostIdentity,
    Identity,
    identify_account,
    identify_nobody,
    require_logon_right,
)
from stead.authority.kept_passwords import KeptPasswords
from stead.authority.lockout import Lockout, Reservation
from stead.authority.logon_attempt import (
    Answer,
    LogonAttempt,
    admitted,
    refusal,
)
from stead.authority.logon_rules import logon_rule
from stead.authority.name_turns import NameTurns
from stead.authority.names import name_key, require_name
from stead.authority.ports import Account, AccountStore, Password
from stead.authority.unknown_names import (
    LONGEST_SHOWN,
    UnknownNames,
)
from stead.errors import (
    DirectoryUnavailableError,
    InvalidNameError,
    SteadError,
    StoreUnavailableError,
)
from stead.model import well_known
from stead.model.logon_record import LogonType
from stead.model.secret import Secret

_T = TypeVar("_T")
_NOBODYS_NAME: Final = ""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Whose password somebody knows.

    Attributes:
        account: whose.
        verifier: what it was compared with.
    """

    account: Account
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is known of a name before anything is compared.

    Attributes:
        generation: the store's, before the rest was read.
        key: under what the name is counted.
        reservation: the attempt, counted.
        account: whose name it is.
        kept: what is kept of its password.
    """

    generation: int
    key: str
    reservation: Reservation
    account: Account | None
    kept: Password | None


@dataclass(frozen=True, slots=True)
class _Counted(Generic[_T]):
    """An attempt that was counted, and of one that did not fail: whose it is."""

    attempt: LogonAttempt[_T]
    account: Account | None = None
    kept: Password | None = None


class Logon:
    """Tells who an account is, to whoever knows its password.

    Args:
        store: where accounts live.
        credentials: where verifiers live.
        verifier: compares passwords.
        host: what this host knows of a uid.
        lockout: counts failures.
        policy: how old passwords may be, and what a new one ends.
        monotonic: nanoseconds that never step.
        renewing: is told, before, that an account's verifier is made again.
        scram: returns what makes what is kept of passwords for SCRAM; None for nothing.
        unknown: writes names that nobody has; as by default if None.
        errand: has several questions asked of the store at once.
        aside: has done what takes long on purpose: making verifiers, and comparing.

    What others compare is counted by `elsewhere` (`Guesses`).
    What is kept of passwords it sets, removes and lists as `KeptPasswords` does.
    """

    def __init__(  # noqa: PLR0913 - what it asks, each by name
        self,
        store: AccountStore,
        credentials: CredentialStore,
        *,
        verifier: PasswordVerifier,
        host: HostIdentity,
        lockout: Lockout,
        policy: AccountPolicy | None = None,
        monotonic: Callable[[], int],
        renewing: Callable[[Account], object] = lambda _account: None,
        scram: Callable[[], ScramVerifiers | None] = lambda: None,
        unknown: UnknownNames | None = None,
        errand: Errand = at_once,
        aside: Errand = at_once,
    ) -> None:
        self.lockout: Final = lockout
        self.unknown: Final = unknown or UnknownNames.of(credentials)
        self.elsewhere: Final = Guesses(lockout, monotonic, self.unknown)
        self.policy: Final = policy or AccountPolicy()
        passwords = KeptPasswords(
            credentials, verifier, self.policy, lockout.clock, renewing, scram, aside
        )
        self._passwords = passwords
        self.set_password: Final = passwords.set
        self.require_change: Final = passwords.require_change
        self.remove_password: Final = passwords.remove
        self.password_of: Final = passwords.of
        self.with_password: Final = passwords.owners
        self._store = store
        self._host = host
        self._errand = errand
        self._monotonic = monotonic
        # Each name's own: the host may answer late, or not at all.
        self._turns: Final = NameTurns()

    def attempt(
        self, name: str, secret: Secret, logon_type: LogonType
    ) -> LogonAttempt[Identity]:
        """Log an account on with its password, or say why not.

        1. The type of logon is one that is offered.
        2. The account is read. The attempt is counted as a failure, of any name alike;
           a name that is locked goes on and will fail whatever the password is.
        3. What is kept of its password is read.
        4. One verification; for an account without a password, or no account at all,
           of a decoy that nothing matches. Then whether the account may log on now, and
           the password need not be changed first.
        5. Whoever has passed so far is identified, and must hold the account right of
           the type. For whoever has not, the store is asked as much about nobody. What
           the store says counts as of step 2: a password that was changed since then
           ends what this opens, if it ends sessions.
        6. The failure is taken back, or stands and is stamped.
        7. A verifier that is weaker than those made today is made again.

        Attempts for one name take turns in this process, so that several of its owner's
        at once do not count as each other's failures.

        Raises:
            InvalidRequestError: the type is not offered.
            SecretUsedError: the secret was wiped before.
            StoreUnavailableError: the store cannot be asked; the attempt stays counted.
        """
        logon_rule(logon_type)
        return self._attempt(name, secret, partial(self._identify, logon_type))

    def attempt_proof(
        self,
        name: str,
        is_proof: Callable[[Account | None], bool],
        logon_type: LogonType,
    ) -> LogonAttempt[Identity]:
        """Log an account on with a proof that its password is known, or say why not.

        As `attempt`, with a comparison that somebody else makes, and nothing to renew.

        Args:
            name: the account.
            is_proof: compares, with as much work for an account that is None.
            logon_type: of what kind.
        """
        logon_rule(logon_type)

        def verify(account: Account | None, _kept: Password | None) -> Answer:
            try:
                return is_proof(account)
            except SteadError as error:
                return error.with_traceback(None)

        admit = partial(self._identify, logon_type)
        return self._count(name, self._monotonic(), verify, admit).attempt

    def account_named(self, name: str) -> Account | None:
        """Return the account of a name as a client spells it, however it does that."""
        return self._store.account_by_name(_as_kept(name))

    def _identify(
        self, logon_type: LogonType, account: Account | None, told: _Asked
    ) -> Identity:
        if account is None:
            identity = identify_nobody(self._store, logon_type, self._errand)
            return replace(identity, generation=told.generation)
        identity = identify_account(
            self._store, account.name, host=self._host, logon_type=logon_type,
            errand=self._errand,
        )  # fmt: skip
        require_logon_right(identity)
        return replace(identity, generation=told.generation)

    def confirm(self, name: str, secret: Secret) -> LogonAttempt[Confirmed]:
        """Compare an account's password, counting as a logon does; raises alike.

        One that must be changed counts here: this is how its owner changes it.
        """

        def admit(account: Account | None, told: _Asked) -> Confirmed:
            nobody = Account(well_known.NULL_SID, "nobody")
            verifier = "" if told.kept is None else told.kept.verifier
            return Confirmed(account or nobody, verifier)

        return self._attempt(name, secret, admit, is_change=True)

    def _attempt(
        self,
        name: str,
        secret: Secret,
        admit: Callable[[Account | None, _Asked], _T],
        *,
        is_change: bool = False,
    ) -> LogonAttempt[_T]:
        secret.require_unused()  # else the caller's mistake, and nobody's failure
        began = self._monotonic()

        def verify(_account: Account | None, kept: Password | None) -> Answer:
            return self._passwords.verify(kept, secret)

        counted = self._count(name, began, verify, admit, is_change=is_change)
        if counted.account is not None and counted.kept is not None and not is_change:
            self._passwords.renew(counted.account, counted.kept, secret)
        return counted.attempt

    def _count(
        self,
        name: str,
        began: int,
        verify: Callable[[Account | None, Password | None], Answer],
        admit: Callable[[Account | None, _Asked], _T],
        *,
        is_change: bool = False,
    ) -> _Counted[_T]:
        """Take steps 2 to 6 of `attempt`; tell whose the name is, too."""
        asked = _as_kept(name)
        with self._turns.of(name_key(asked)):
            told = self._errand(partial(self._begin, asked))
            account, shown = told.account, self.shown(told.account, name)
            answer = verify(account, told.kept)
            error = refusal(account, told.reservation, answer) or self._untimely(
                account, None if is_change else told.kept
            )
            outcome = admitted(account, error, lambda one: admit(one, told))
            if isinstance(outcome, SteadError):
                locks = self._let_stand(told, answer, outcome)
                late = self.elsewhere.delay(began, told.reservation)
                sid = None if account is None else account.sid
                return _Counted(LogonAttempt(outcome, locks, late, shown, sid))
            self.lockout.succeed(told.key)
        late = self.elsewhere.delay(began, told.reservation)
        attempt = LogonAttempt(outcome, delay=late, shown=shown)
        return _Counted(attempt, account, told.kept)

    def _let_stand(self, told: _Asked, answer: Answer, outcome: SteadError) -> bool:
        """Let a failure count; return whether it locks the name.

        Where the machine lacked what it takes to compare, nobody can tell if it is one.
        Where the host cannot say who an account is, its password was right: whoever
        tries until the directory is back would be locked by then.
        """
        is_known = not isinstance(answer, StoreUnavailableError) and not isinstance(
            outcome, DirectoryUnavailableError
        )
        if not is_known and not told.reservation.is_locked:
            self.lockout.forgive(told.key)
            return False
        return self.lockout.fail(told.key, told.reservation)

    def shown(self, account: Account | None, name: str) -> str:
        """Return what records call a name, whose account this is, if anybody's."""
        return self.unknown.shown(name) if account is None else name[:LONGEST_SHOWN]

    def _begin(self, asked: str) -> _Asked:
        """Take steps 2 and 3 of `attempt`."""
        generation = self._store.generation()
        account = self._store.account_by_name(asked)
        key = self.unknown.key(asked) if account is None else name_key(asked)
        reservation = self.lockout.reserve(key)
        sid = well_known.NULL_SID if account is None else account.sid
        kept = self._passwords.of(sid)
        return _Asked(generation, key, reservation, account, kept)

    def _untimely(
        self, account: Account | None, kept: Password | None
    ) -> SteadError | None:
        """Return why an account may not log on at this time, or with this password."""
        if account is None:
            return None
        now = self.lockout.clock()
        error = out_of_time(account, now)
        if error is None and kept is not None:
            error = outdated_password(account, kept, self.policy, now)
        return error


def _as_kept(name: str) -> str:
    """Return a name as accounts have it, or a name that none has."""
    if len(name) > LONGEST_SPELLING:
        return _NOBODYS_NAME
    try:
        return require_name(name)
    except InvalidNameError:
        return _NOBODYS_NAME
