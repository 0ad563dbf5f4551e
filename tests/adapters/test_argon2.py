"""Verifiers of passwords by Argon2id."""

from __future__ import annotations

import threading

import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type
from argon2.profiles import RFC_9106_LOW_MEMORY

from stead.adapters.argon2 import MAXIMUM_SECRET, Argon2Verifier
from stead.errors import InvalidRequestError, StoreUnavailableError

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


@pytest.fixture
def verifier():
    return Argon2Verifier(PasswordHasher(**CHEAP))


def test_a_verifier_tells_its_password_from_others(verifier):
    made = verifier.make(b"correct horse")
    assert verifier.matches(made, b"correct horse")
    assert not verifier.matches(made, b"correct house")
    assert made != verifier.make(b"correct horse")
    assert b"correct" not in made.encode()


def test_the_profile_is_that_of_rfc_9106_for_little_memory():
    made = Argon2Verifier().make(b"x")
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert Type.ID is RFC_9106_LOW_MEMORY.type


@pytest.mark.parametrize("secret", [b"", b"x" * (MAXIMUM_SECRET + 1)])
def test_a_secret_that_is_none_is_refused_and_matches_nothing(verifier, secret):
    with pytest.raises(InvalidRequestError):
        verifier.make(secret)
    placeholder = verifier.make(b"\0")  # what is compared in its stead
    assert not verifier.matches(placeholder, secret)
    assert verifier.matches(verifier.make(b"x" * MAXIMUM_SECRET), b"x" * MAXIMUM_SECRET)


def test_a_decoy_has_the_same_parameters_and_matches_nothing(verifier):
    decoy, made = verifier.decoy(), verifier.make(b"x")
    assert decoy.split("$")[:4] == made.split("$")[:4]
    assert [len(part) for part in decoy.split("$")] == [
        len(part) for part in made.split("$")
    ]
    assert not verifier.matches(decoy, b"x")
    assert not verifier.is_outdated(decoy)


def test_a_verifier_of_other_parameters_is_outdated(verifier):
    stronger = Argon2Verifier(PasswordHasher(**{**CHEAP, "time_cost": 2}))
    made = verifier.make(b"x")
    assert not verifier.is_outdated(made)
    assert stronger.is_outdated(made)
    assert stronger.matches(made, b"x")


@pytest.mark.parametrize("damaged", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$x$y"])
def test_a_damaged_verifier_is_an_error_that_knows_no_secret(verifier, damaged):
    with pytest.raises(StoreUnavailableError) as refused:
        verifier.matches(damaged, b"tiger")
    assert refused.value.__context__ is None
    assert "tiger" not in str(refused.value)


def test_memory_that_is_short_is_an_error_that_knows_no_secret():
    much = Argon2Verifier(
        PasswordHasher(time_cost=1, memory_cost=2**32 - 1, parallelism=1)
    )
    with pytest.raises(StoreUnavailableError, match="memory") as refused:
        much.make(b"tiger")
    assert refused.value.__context__ is None


class Counting(Argon2Verifier):
    """A real verifier that tells how many of its verifications run at once."""

    def __init__(self, at_once):
        super().__init__(PasswordHasher(**CHEAP), at_once=at_once)
        self.now = self.most = self.all = 0
        self.lock = threading.Lock()
        self.met = threading.Event()
        # Where only one may, there is nobody to wait for.
        self.patience = 0.05 if at_once == 1 else 60

    def _compare(self, stored, secret, kind):
        with self.lock:
            self.now += 1
            self.all += 1
            self.most = max(self.most, self.now)
            if self.now > 1:
                self.met.set()
        try:
            self.met.wait(self.patience)
            return super()._compare(stored, secret, kind)
        finally:
            with self.lock:
                self.now -= 1


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (64, 2)])
def test_however_many_log_on_only_so_many_are_verified_at_once(at_once, most):
    """With room for all of them, as without a bound, they take the memory of each."""
    verifier = Counting(at_once)
    made = verifier.make(b"x")
    threads = [
        threading.Thread(target=verifier.matches, args=(made, b"x")) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 8 == verifier.all
    if at_once <= 2:
        assert at_once >= verifier.most
    else:
        assert most <= verifier.most
