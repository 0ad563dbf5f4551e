"""Counting failures, slowing answers, locking names."""

from __future__ import annotations

import threading

import pytest

from stead.adapters.store import Store
from stead.adapters.store.credentials import SqlCredentialStore
from stead.authority.lockout import Lockout, LockoutPolicy, Reservation
from stead.authority.ports import LogonFailures

POLICY = LockoutPolicy(threshold=3, window=60.0, duration=30.0)


@pytest.fixture
def lockout(whole_store, clock):
    return Lockout(whole_store.credentials, POLICY, clock)


def fail(lockout, key="alice"):
    reservation = lockout.reserve(key)
    return reservation, lockout.fail(key, reservation)


def test_the_default_is_that_of_windows():
    policy = LockoutPolicy()
    assert (10, 600.0, 600.0) == (policy.threshold, policy.window, policy.duration)


def test_each_answer_is_later_than_the_one_before_up_to_a_bound():
    policy = LockoutPolicy(first_delay=0.1, longest_delay=2.0)
    assert [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0] == [
        policy.delay(count) for count in range(1, 8)
    ]
    assert 2.0 == policy.delay(10_000)
    assert 0.1 == policy.delay(0)


def test_so_many_failures_lock_a_name_and_the_last_one_says_so(lockout):
    assert [False, False, True] == [fail(lockout)[1] for _ in range(3)]
    reservation, locks = fail(lockout)
    assert (Reservation(3, is_locked=True), False) == (reservation, locks)
    assert {"alice"} == set(lockout.locked())
    assert not lockout.reserve("bob").is_locked


def test_success_takes_every_failure_back(lockout):
    for _ in range(2):
        fail(lockout)
    assert Reservation(3, is_locked=False) == lockout.reserve("alice")
    lockout.clear("alice")
    assert Reservation(1, is_locked=False) == lockout.reserve("alice")


def test_a_lock_ends_by_itself_and_is_not_made_longer_meanwhile(lockout, clock):
    for _ in range(3):
        fail(lockout)
    clock.pass_seconds(29)
    assert fail(lockout)[0].is_locked
    clock.pass_seconds(1)
    assert {} == lockout.locked()
    assert Reservation(1, is_locked=False) == lockout.reserve("alice")


def test_failures_are_forgotten_a_window_after_the_first(lockout, clock):
    fail(lockout)
    clock.pass_seconds(59)
    assert 2 == fail(lockout)[0].count
    clock.pass_seconds(2)
    assert 1 == fail(lockout)[0].count


def test_a_clock_that_is_put_back_locks_nobody_for_longer(lockout, clock):
    clock.pass_seconds(1_000_000)
    for _ in range(3):
        fail(lockout)
    clock.pass_seconds(-900_000)
    assert lockout.reserve("alice").is_locked
    clock.pass_seconds(31)
    assert not lockout.reserve("alice").is_locked


def test_failures_of_a_clock_that_was_put_back_do_not_count_for_a_year(lockout, clock):
    """One that was wrong by that: a typing error a week locked the name at last."""
    clock.pass_seconds(31_536_000)
    for _ in range(2):
        fail(lockout)
    clock.pass_seconds(-10)  # a step of no account: who guesses wins nothing by it
    assert 3 == lockout.reserve("alice").count
    lockout.forgive("alice")
    clock.pass_seconds(-31_535_000)
    assert 1 == lockout.reserve("alice").count


def test_a_failure_after_somebody_elses_success_is_the_first(lockout, whole_store):
    reservation = lockout.reserve("alice")
    lockout.clear("alice")
    lockout.fail("alice", reservation)
    assert 1 == whole_store.credentials.failures()["alice"].count


def test_a_threshold_of_nothing_locks_nobody(whole_store, clock):
    lockout = Lockout(whole_store.credentials, LockoutPolicy(threshold=0), clock)
    assert not any(fail(lockout)[1] for _ in range(50))
    assert not lockout.reserve("alice").is_locked


class LockedLast:
    """A naive store of failures: when it is full, those never locked make room."""

    def __init__(self, maximum):
        self._maximum = maximum
        self._kept = {}

    def change_failures(self, key, change, *, is_awaited=True):
        kept = change(self._kept.pop(key, None))
        if kept is not None:
            if len(self._kept) == self._maximum:
                age = {k: (f.locked_until, f.last_at) for k, f in self._kept.items()}
                del self._kept[min(age, key=age.get)]
            self._kept[key] = kept


def guesses_of_one_name(credentials, clock, *, rest):
    """Fill a table with locked names, then guess at one while others come and go.

    Returns:
        how many guesses were compared.
    """
    lockout = Lockout(credentials, POLICY, clock)
    for number in range(20):
        for _ in range(POLICY.threshold):
            fail(lockout, f"locked {number}")
    clock.pass_seconds(rest)
    compared = 0
    for number in range(30):
        compared += not fail(lockout)[0].is_locked
        fail(lockout, f"other {number % 5}")
    return compared


@pytest.mark.parametrize("rest", [0, 31], ids=["in force", "over"])
def test_a_table_full_of_locks_has_room_for_the_count_of_who_is_guessed_at(
    whole_store, clock, rest
):
    """Where the newest count makes room, each guess is the first one of its name."""
    ours = SqlCredentialStore(whole_store.credentials._database, maximum=20)
    assert POLICY.threshold == guesses_of_one_name(ours, clock, rest=rest)
    assert 30 == guesses_of_one_name(LockedLast(20), clock, rest=rest)


def guesses_after_a_step_back(credentials, clock):
    """Fill a table while the clock is ahead, then guess at one name beside others."""
    lockout = Lockout(credentials, POLICY, clock)
    clock.pass_seconds(1_000_000)
    for number in range(20):
        fail(lockout, f"before {number}")
    clock.pass_seconds(-1_000_000)
    compared = 0
    for number in range(30):
        clock.pass_seconds(0.1)
        compared += not fail(lockout)[0].is_locked
        fail(lockout, f"other {number}")
    return compared


def test_what_a_clock_that_was_ahead_has_counted_makes_room_first(whole_store, clock):
    """By that clock, whoever fails now fails longest ago, and is forgotten at once."""
    ours = SqlCredentialStore(whole_store.credentials._database, maximum=20)
    assert POLICY.threshold == guesses_after_a_step_back(ours, clock)
    assert 30 == guesses_after_a_step_back(LockedLast(20), clock)


def test_locks_make_room_for_locks(whole_store, clock):
    """And never for failures of names that are not locked, however many these are."""
    few = SqlCredentialStore(whole_store.credentials._database, maximum=4)
    lockout = Lockout(few, POLICY, clock)
    for name in ("a", "b"):
        for _ in range(POLICY.threshold):
            fail(lockout, name)
            clock.pass_seconds(1)
    for number in range(10):
        fail(lockout, f"other {number}")
    assert {"a", "b"} == set(lockout.locked())
    for name in ("c", "d", "e"):
        for _ in range(POLICY.threshold):
            fail(lockout, name)
            clock.pass_seconds(1)
    assert 4 == len(few.failures())
    assert "e" in lockout.locked()


def test_parallel_guesses_pass_the_threshold_only_where_they_are_counted_afterwards(
    tmp_path, clock
):
    """Guesses of several processes, all reserved before any is judged."""
    tmp_path.chmod(0o700)
    place, guesses = tmp_path / "store.db", 24
    naive, ours = [], []

    def naive_guess(store):
        found = store.credentials.failures().get("naive")
        meet.wait(120)
        if found is None or found.count < POLICY.threshold:
            naive.append("compared")
        store.credentials.change_failures(
            "naive",
            lambda kept: LogonFailures(1 if kept is None else kept.count + 1, 1, 1),
        )

    def our_guess(store):
        lockout = Lockout(store.credentials, POLICY, clock)
        reservation = lockout.reserve("alice")
        if not reservation.is_locked:
            ours.append("compared")
        meet.wait(120)
        lockout.fail("alice", reservation)

    def guess(number):
        with Store.open(place) as store:
            naive_guess(store)
            our_guess(store)

    Store.open(place).close()
    meet = threading.Barrier(guesses)
    threads = [threading.Thread(target=guess, args=(n,)) for n in range(guesses)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert guesses == len(naive)
    assert POLICY.threshold == len(ours)
