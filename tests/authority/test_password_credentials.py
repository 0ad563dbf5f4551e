from __future__ import annotations

import copy
import gc
import os
import pickle

import pytest
from tests.memory_dump import said_by

from stead.authority.password_credentials import PasswordCredentials
from stead.errors import (
    CredentialsExpiredError,
    InvalidRequestError,
    SecretUsedError,
)
from stead.model.secret import Secret


@pytest.fixture
def credentials():
    kept = PasswordCredentials(r"CORP\alice", Secret("correct horse"))
    yield kept
    kept.close()


def test_they_name_the_client_and_show_the_password_to_who_sends_it(credentials):
    assert ("password", r"CORP\alice", None) == (
        credentials.package,
        credentials.principal,
        credentials.expires,
    )
    credentials.renew_for(3600)
    with credentials.revealed() as content:
        assert b"correct horse" == content


def test_the_secret_stays_the_callers_to_wipe():
    secret = Secret("correct horse")
    kept = PasswordCredentials("alice", secret)
    secret.wipe()
    with kept.revealed() as content:
        assert b"correct horse" == content
    kept.close()
    with pytest.raises(SecretUsedError):
        PasswordCredentials("alice", secret)


def test_an_empty_password_is_kept_like_any_other():
    kept = PasswordCredentials("alice", Secret(b""))
    with kept.revealed() as content:
        assert b"" == content
    kept.close()


def test_wiped_credentials_serve_nobody(credentials):
    credentials.close()
    credentials.close()
    assert credentials.is_closed
    with pytest.raises(CredentialsExpiredError, match="wiped with its session"):
        credentials.renew_for(1)
    with pytest.raises(CredentialsExpiredError), credentials.revealed():
        pass


def test_they_are_not_printed_pickled_or_copied(credentials):
    assert r"PasswordCredentials('CORP\\alice')" == repr(credentials)
    assert "horse" not in f"{credentials} {credentials!r} {vars(type(credentials))}"
    for tried in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(InvalidRequestError, match="neither pickled nor copied"):
            tried(credentials)


def test_nothing_that_the_collector_reaches_holds_the_password(credentials):
    class Naive:
        def __init__(self, password):
            self.password = password

    # The naive one beside it is found: the search can find.
    assert b"correct horse" in _reached_from(Naive(b"correct horse"))
    assert b"correct horse" not in _reached_from(credentials)


def _reached_from(whole):
    found, seen = [whole], set()
    for one in found:
        if id(one) in seen or isinstance(one, type | type(gc)):
            continue
        seen.add(id(one))
        found += gc.get_referents(one)
    return [one for one in found if type(one) is bytes]


SEARCHED = """
import os, sys
from stead.authority.password_credentials import PasswordCredentials
from tests.memory_dump import MASK, dumped, read_masked, typed

masked = read_masked()
secret = typed(masked)
if sys.argv[1] == "naive":
    kept = bytes(secret._content)
else:
    kept = PasswordCredentials("alice", secret)
secret.wipe()
print(dumped(masked))
if sys.argv[1] != "naive":
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, b"1" if any(kept._area[:]) else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"0", "a fork has the password"
    with kept.revealed() as content:
        assert content.translate(MASK) == masked
    kept.close()
"""


def test_a_dump_of_the_process_lacks_it_and_a_fork_sees_zeros():
    password = b"a-long-password-7d1f3b"
    (naive,) = said_by(SEARCHED, password, "naive")
    (ours,) = said_by(SEARCHED, password, "ours")
    assert int(naive) > 0
    assert "0" == ours


def test_a_forked_process_shows_nothing_and_ends_nothing(credentials):
    """Zeros would be shown as a password, and its end would be that of the parent's."""
    ended = []
    credentials.at_close(lambda: ended.append(os.getpid()))
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            for act in (
                lambda: credentials.renew_for(0),
                credentials.revealed().__enter__,
            ):
                with pytest.raises(CredentialsExpiredError, match="was forked"):
                    act()
            credentials.close()
            credentials.__del__()
            os.write(writing, b"0" if not ended else b"1")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        assert b"0" == said.read()
    with credentials.revealed() as content:
        assert b"correct horse" == content
    credentials.close()
    assert [os.getpid()] == ended
