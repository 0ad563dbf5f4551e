"""Logging on with a password: who is admitted, and the same work for who is not."""

from __future__ import annotations

import threading
import time

import pytest
from argon2 import PasswordHasher

from stead.adapters.argon2 import Argon2Verifier
from stead.adapters.store import Store
from stead.authority.lockout import Lockout, LockoutPolicy
from stead.authority.logon import Logon
from stead.errors import (
    AccountDisabledError,
    AccountLockedOutError,
    InvalidRequestError,
    LogonTypeNotGrantedError,
    PasswordMismatchError,
    SecretUsedError,
    StoreUnavailableError,
    UnknownAccountError,
)
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.model.well_known import EVERYONE

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
POLICY = LockoutPolicy(threshold=3)
RIGHT = "tiger"


class Counted:
    """Passes every call on to the real thing, and writes down which they were."""

    def __init__(self, target, calls):
        self._target = target
        self._calls = calls

    def __getattr__(self, name):
        method = getattr(self._target, name)

        def call(*arguments, **named):
            self._calls.append(name)
            return method(*arguments, **named)

        return call


@pytest.fixture
def calls():
    return []


@pytest.fixture
def verifier():
    return Argon2Verifier(PasswordHasher(**CHEAP))


@pytest.fixture
def make_logon(whole_store, clock, calls, verifier):
    def errand(ask):
        calls.append("errand begins")
        try:
            return ask()
        finally:
            calls.append("errand ends")

    def host(_uid):
        calls.append("host")

    def make(verifier=verifier, policy=POLICY):
        credentials = Counted(whole_store.credentials, calls)
        return Logon(
            Counted(whole_store.accounts, calls),
            credentials,
            verifier=Counted(verifier, calls),
            host=host,
            lockout=Lockout(credentials, policy, clock),
            monotonic=clock,
            errand=errand,
        )

    return make


@pytest.fixture
def logon(make_logon, store, calls):
    logon = make_logon()
    for name in ("alice", "disabled", "denied", "locked"):
        account = store.add_account(name, None, None)
        logon.set_password(account.sid, Secret("tiger"))
        if name == "disabled":
            store.set_account_disabled(account.sid, is_disabled=True)
        if name == "denied":
            store.add_right(account.sid, "SeDenyNetworkLogonRight")
    store.add_account("without", None, None)
    for _ in range(POLICY.threshold):
        logon.attempt("locked", Secret("guess"), LogonType.NETWORK)
    calls.clear()
    return logon


@pytest.fixture
def attempt(logon):
    def make(name, secret=RIGHT, logon_type=LogonType.NETWORK):
        return logon.attempt(name, Secret(secret), logon_type)

    return make


def test_the_right_password_admits_its_account_however_its_name_is_spelled(attempt):
    for name in ("alice", "ALICE", "\uff41lice"):
        assert "alice" == attempt(name).require().name


@pytest.mark.parametrize(
    "logon_type",
    [LogonType.INTERACTIVE, LogonType.NETWORK, LogonType.BATCH, LogonType.SERVICE],
)
def test_who_is_admitted_comes_as_the_type_that_was_asked_for(
    attempt, store, logon_type
):
    store.add_right(EVERYONE, f"Se{logon_type.name.capitalize()}LogonRight")
    assert logon_type is attempt("alice", logon_type=logon_type).require().logon_type


FAILURES = {
    "unknown": ("mallory", "tiger", UnknownAccountError),
    "no name at all": ("x" * 100_000, "tiger", UnknownAccountError),
    "a well-known name": ("Everyone", "tiger", UnknownAccountError),
    "no text": ("\udc80", "tiger", UnknownAccountError),
    "wrong password": ("alice", "lion", PasswordMismatchError),
    "empty password": ("alice", "", PasswordMismatchError),
    "endless password": ("alice", "x" * 100_000, PasswordMismatchError),
    "no password": ("without", "tiger", PasswordMismatchError),
    "no password, empty": ("without", "", PasswordMismatchError),
    "disabled": ("disabled", "tiger", AccountDisabledError),
    "type denied": ("denied", "tiger", LogonTypeNotGrantedError),
    "locked": ("locked", "tiger", AccountLockedOutError),
    "locked, wrong": ("locked", "lion", AccountLockedOutError),
}


@pytest.mark.parametrize(("name", "secret", "error"), FAILURES.values(), ids=FAILURES)
def test_each_failure_is_precise_here(attempt, name, secret, error):
    made = attempt(name, secret)
    assert error is type(made.error)
    with pytest.raises(error):
        made.require()
    assert "tiger" not in str(made.error)


def test_every_failure_does_the_same_work_and_a_naive_logon_does_not(
    attempt, calls, store, whole_store, verifier
):
    """What a naive logon does tells whether the name exists; what ours does, nothing.

    The calls are those of the real store and verifier, in order.
    """

    def naive(name, secret):
        done = ["account_by_name"]
        account = store.account_by_name(name)
        if account is not None and not account.is_disabled:
            kept = whole_store.credentials.password_of(account.sid)
            if kept is not None:
                verifier.matches(kept.verifier, secret.encode())
                done.append("matches")
        return tuple(done)

    work = {}
    for what, (name, secret, _error) in FAILURES.items():
        calls.clear()
        attempt(name, secret)
        work[what] = tuple(call for call in calls if call != "decoy")
    [done] = set(work.values())
    assert 1 == done.count("matches")
    assert 2 == done.count("change_failures")
    assert 2 == done.count("errand begins")
    assert 1 < len({naive(name, secret) for name, secret, _ in FAILURES.values()})


def test_nobody_waits_for_a_password_or_the_host_in_an_errand_to_the_store(
    attempt, logon, calls, store
):
    dora = store.add_account("dora", 70001, 70001)
    logon.set_password(dora.sid, Secret(RIGHT))
    calls.clear()
    assert dora == attempt("dora").require().account
    assert {"matches", "host"} < set(calls)
    is_away = False
    for call in calls:
        is_away = call == "errand begins" or (is_away and call != "errand ends")
        assert not (is_away and call in {"matches", "host"})
    assert 3 == calls.count("errand begins")


def test_a_failure_is_counted_for_names_that_nobody_has_too(attempt):
    for name in ("alice", "mallory"):
        made = [attempt(name, "lion") for _ in range(4)]
        assert [False, False, True, False] == [one.locks for one in made]
        assert isinstance(made[-1].error, AccountLockedOutError)


def test_the_failure_that_locks_a_name_tells_its_account_for_no_more_work(
    attempt, calls, store
):
    told, asked = {}, {}
    for name in ("alice", "mallory"):
        for _ in range(POLICY.threshold):
            calls.clear()
            told[name] = attempt(name, "lion")
        asked[name] = [call for call in calls if call != "decoy"]
    assert (True, True) == (told["alice"].locks, told["mallory"].locks)
    assert (store.account_by_name("alice").sid, None) == (
        told["alice"].sid, told["mallory"].sid,
    )  # fmt: skip
    assert asked["alice"] == asked["mallory"]


def test_a_locked_name_is_admitted_when_the_lock_ends(attempt, clock):
    assert isinstance(attempt("locked").error, AccountLockedOutError)
    clock.pass_seconds(POLICY.duration)
    assert attempt("locked").error is None


def test_success_takes_failures_back(attempt):
    for _ in range(5):
        for _ in range(POLICY.threshold - 1):
            attempt("alice", "lion")
        assert attempt("alice").error is None


def test_each_failure_is_answered_later_and_at_whole_steps(make_logon, clock):
    policy = LockoutPolicy(first_delay=0.5, longest_delay=2.0)
    logon = make_logon(policy=policy)
    told = []
    for took in (0.0, 0.1, 0.3, 0.6):
        inner = logon._passwords.verifier

        class Slow:
            """Takes a while, as hand-moved clocks tell it."""

            def __getattr__(self, name, inner=inner, took=took):
                if name == "decoy":
                    clock.pass_seconds(took)
                return getattr(inner, name)

        logon._passwords.verifier = Slow()
        told.append(
            took + logon.attempt("nobody", Secret("x"), LogonType.NETWORK).delay
        )
        logon._passwords.verifier = inner
    # 0.5, 1, 2 and 2 seconds late, counted from a whole number of half seconds.
    assert pytest.approx([0.5, 1.5, 2.5, 3.0]) == told


def test_without_a_delay_nothing_waits(make_logon):
    logon = make_logon(policy=LockoutPolicy(first_delay=0.0))
    assert 0.0 == logon.attempt("nobody", Secret("x"), LogonType.NETWORK).delay


def test_parallel_logons_of_an_owner_do_not_count_as_failures_of_each_other(attempt):
    """More at once than the threshold, all with the right password."""
    together, made = threading.Barrier(8), []

    def log_on():
        together.wait(60)
        made.append(attempt("alice"))

    threads = [threading.Thread(target=log_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [None] * 8 == [one.error for one in made]


def test_a_verifier_of_weaker_parameters_is_made_again_on_success_alone(
    make_logon, logon, store, whole_store
):
    stronger = Argon2Verifier(PasswordHasher(**{**CHEAP, "time_cost": 2}))
    logon = make_logon(stronger)
    alice = store.account_by_name("alice")

    def kept():
        return whole_store.credentials.password_of(alice.sid)

    before = kept()
    logon.attempt("alice", Secret("lion"), LogonType.NETWORK)
    assert before == kept()
    logon.attempt("alice", Secret("tiger"), LogonType.NETWORK).require()
    assert "t=2" in kept().verifier
    assert before.changed_at == kept().changed_at
    logon.attempt("alice", Secret("tiger"), LogonType.NETWORK).require()


def test_a_password_is_confirmed_as_at_a_logon(logon):
    assert "alice" == logon.confirm("alice", Secret("tiger")).require().account.name
    # Whoever may not log on this way may still change a password that they know.
    assert "denied" == logon.confirm("denied", Secret("tiger")).require().account.name
    for _ in range(POLICY.threshold):
        error = logon.confirm("alice", Secret("lion")).error
    assert isinstance(error, PasswordMismatchError)
    error = logon.attempt("alice", Secret("tiger"), LogonType.NETWORK).error
    assert isinstance(error, AccountLockedOutError)


def test_a_type_that_is_not_offered_is_no_attempt(logon, calls):
    for _ in range(POLICY.threshold + 1):
        with pytest.raises(InvalidRequestError, match="not offered"):
            logon.attempt("alice", Secret("tiger"), LogonType.UNLOCK)
        with pytest.raises(InvalidRequestError, match="`3` is not offered"):
            logon.attempt("alice", Secret("tiger"), LogonType.NETWORK.value)
    assert [] == calls


def test_a_secret_that_is_used_up_is_no_attempt(logon, calls):
    with Secret("tiger") as used:
        pass
    with pytest.raises(SecretUsedError):
        logon.attempt("alice", used, LogonType.NETWORK)
    assert [] == calls


def test_a_password_that_none_can_be_is_refused(logon, store):
    alice = store.account_by_name("alice")
    for secret in ("", "x" * 2000):
        with pytest.raises(InvalidRequestError) as refused:
            logon.set_password(alice.sid, Secret(secret))
        assert b"x" * 9 not in _held(refused.value)


def test_a_damaged_verifier_admits_nobody_and_its_error_holds_no_secret(
    attempt, store, whole_store
):
    alice = store.account_by_name("alice")
    whole_store.credentials.set_password(alice.sid, "damaged", changed_at=1)
    error = attempt("alice").error
    assert isinstance(error, StoreUnavailableError)
    assert b"tiger" not in _held(error)


def test_what_cannot_be_compared_counts_against_nobody(
    attempt, logon, store, whole_store
):
    """As where the machine lacks the memory: who knew the password was locked out."""
    alice = store.account_by_name("alice")
    right = whole_store.credentials.password_of(alice.sid).verifier
    whole_store.credentials.set_password(alice.sid, "damaged", changed_at=1)
    for _ in range(logon.lockout.policy.threshold + 1):
        found = attempt("alice")
        assert isinstance(found.error, StoreUnavailableError)
        assert not found.locks
    whole_store.credentials.set_password(alice.sid, right, changed_at=1)
    assert attempt("alice").error is None
    # What was counted before stays: who guesses wins nothing by it.
    for _ in range(logon.lockout.policy.threshold):
        attempt("alice", "wrong")
    whole_store.credentials.set_password(alice.sid, "damaged", changed_at=1)
    assert isinstance(attempt("alice").error, AccountLockedOutError)
    whole_store.credentials.set_password(alice.sid, right, changed_at=1)
    assert isinstance(attempt("alice").error, AccountLockedOutError)


def _held(error):
    """Return all that frames of an error and of what led to it hold, as text."""
    found = []
    while error is not None:
        found.append(repr(error.args))
        step = error.__traceback__
        while step is not None:
            name = step.tb_frame.f_code.co_filename
            if "/src/stead/" in name or "argon2" in name:
                found.append(repr(step.tb_frame.f_locals))
            step = step.tb_next
        error = error.__cause__ or error.__context__
    return "\n".join(found).encode()


def test_names_that_a_slow_directory_is_asked_for_do_not_wait_for_one_another(
    make_logon,
):
    """Of so many names, any table of locks would have two share one."""
    logon, all_are_asked = make_logon(), threading.Barrier(80)
    done = []

    def ask():
        all_are_asked.wait(120)
        raise PasswordMismatchError("the password is wrong")

    def attempt(number):
        made = logon.elsewhere.attempt(f"name{number}@EXAMPLE.COM", ask, str)
        done.append(made.error)

    threads = [threading.Thread(target=attempt, args=(n,)) for n in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {PasswordMismatchError} == set(map(type, done))
    assert {} == logon.elsewhere._turns._turns


def test_one_name_takes_turns_also_with_a_directory(make_logon):
    logon, inside, most = make_logon(), [], []

    def ask():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)
        inside.pop()
        return "alice"

    threads = [
        threading.Thread(
            target=logon.elsewhere.attempt, args=("a@EXAMPLE.COM", ask, str)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [1] * 8 == most


@pytest.mark.parametrize("secret", ["tiger", "lion"])
def test_a_store_that_is_gone_says_nothing_of_the_password(
    tmp_path, clock, verifier, secret
):
    """Whichever it was, it is an error of the store's, and no failure that is late."""
    tmp_path.chmod(0o700)
    place = tmp_path / "store.db"
    with Store.open(place) as opened:
        logon = Logon(
            opened.accounts,
            opened.credentials,
            verifier=verifier,
            host=lambda _uid: None,
            lockout=Lockout(opened.credentials, POLICY, clock),
            monotonic=clock,
        )
        account = opened.accounts.add_account("alice", None, None)
        logon.set_password(account.sid, Secret("tiger"))
        opened.accounts.generation()
        place.rename(tmp_path / "away.db")
        with pytest.raises(StoreUnavailableError, match="is not at its place"):
            logon.attempt("alice", Secret(secret), LogonType.NETWORK)


def test_a_name_whose_host_does_not_answer_keeps_no_other_name_waiting(
    whole_store, clock, verifier
):
    """With a few locks for all names, some others would wait for a directory, too."""
    asked, answers = threading.Event(), threading.Event()

    def host(_uid):
        asked.set()
        answers.wait(120)

    logon = Logon(
        whole_store.accounts,
        whole_store.credentials,
        verifier=verifier,
        host=host,
        lockout=Lockout(whole_store.credentials, POLICY, clock),
        monotonic=clock,
    )
    account = whole_store.accounts.add_account("alice", 70001, 70001)
    logon.set_password(account.sid, Secret("tiger"))
    naive = [threading.Lock() for _ in range(64)]
    others = [f"other {number}" for number in range(1000)]
    waits = next(n for n in others if hash(n) % 64 == hash("alice") % 64)

    def attempt():
        with naive[hash("alice") % 64]:
            logon.attempt("alice", Secret("tiger"), LogonType.NETWORK)

    thread = threading.Thread(target=attempt)
    thread.start()
    assert asked.wait(120)
    try:
        assert not naive[hash(waits) % 64].acquire(blocking=False)
        assert logon.attempt(waits, Secret("lion"), LogonType.NETWORK).error
    finally:
        answers.set()
        thread.join(120)
