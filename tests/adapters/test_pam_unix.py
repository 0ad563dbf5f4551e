"""The service file that Stead brings, with `pam_unix` and a host's own accounts.

They are seen by one thread, and by the processes in which that has PAM run.
"""

from __future__ import annotations

import grp
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.host_accounts import FIRST_UID, SWITCH, HostAccount, own_accounts

from stead.adapters.pam.authority import PamAuthority
from stead.errors import (
    AccountExpiredError,
    PasswordExpiredError,
    PasswordMismatchError,
    PasswordMustChangeError,
    SteadError,
)
from stead.model.posix_identity import PosixIdentity
from stead.model.secret import Secret

RIGHT = "tiger"
ACCOUNTS = {
    "benny": HostAccount(RIGHT, groups=("games", "users")),
    "open": HostAccount(),
    "locked": HostAccount(RIGHT, locked=True),
    "over": HostAccount(RIGHT, expires=-1),
    "last": HostAccount(RIGHT, expires=1),
    "new": HostAccount(RIGHT, changed=None),
    "old": HostAccount(RIGHT, changed=-60, most=30),
    "stale": HostAccount(RIGHT, changed=-60, most=30, inactive=5),
}


def on_such_a_host(folder, act):
    """Return what `act` does with the accounts above; on a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_on_such_a_host, folder, act).result()


def _on_such_a_host(folder, act):
    with own_accounts(folder, ACCOUNTS), PamAuthority(["HOST"]) as host:
        return act(host)


def log_on(host, name, word=RIGHT):
    return host.log_on(name, "HOST", Secret(word), keep=False)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What came of each attempt, by name and password."""
    attempts = [
        *((name, RIGHT) for name in ACCOUNTS), ("benny", "lion"), ("open", ""),
        ("over", "lion"), ("nobody-here", RIGHT), ("benny", f"{RIGHT}\n"),
    ]  # fmt: skip

    def ask(host):
        found = {}
        for name, word in attempts:
            try:
                found[name, word] = log_on(host, name, word)
            except SteadError as error:
                found[name, word] = error
        return found

    return on_such_a_host(tmp_path_factory.mktemp("host"), ask)


def test_an_account_of_the_host_is_its_uid_with_its_groups(asked):
    client = asked["benny", RIGHT]
    groups = {grp.getgrnam(name).gr_gid for name in ("games", "users")}
    assert FIRST_UID == client.host.uid == client.host.gid
    assert groups == {*client.host.groups} - {FIRST_UID}
    assert isinstance(client.host, PosixIdentity)


def test_the_last_day_of_an_account_is_one_of_its_days(asked):
    assert "last" == asked["last", RIGHT].name


@pytest.mark.parametrize(
    ("name", "word", "error"),
    [
        ("benny", "lion", PasswordMismatchError),
        ("benny", f"{RIGHT}\n", PasswordMismatchError),
        # Whoever has no password is let in by no word, and not without one.
        ("open", RIGHT, PasswordMismatchError),
        ("open", "", PasswordMismatchError),
        ("locked", RIGHT, PasswordMismatchError),
        ("over", RIGHT, AccountExpiredError),
        ("over", "lion", PasswordMismatchError),  # and nobody learns that it is over
        ("new", RIGHT, PasswordMustChangeError),
        ("old", RIGHT, PasswordMustChangeError),
        ("stale", RIGHT, PasswordExpiredError),
    ],
)
def test_what_the_host_keeps_of_an_account_counts(asked, name, word, error):
    assert error is type(asked[name, word])


def test_a_name_that_nobody_has_is_nobody(asked):
    assert isinstance(asked["nobody-here", RIGHT], SteadError)


def test_where_groups_come_from_is_read_again_when_it_changes(tmp_path):
    """A group that is left out can grant; those who wait have read the file before."""

    def ask(host):
        usual = SWITCH.read_text()
        SWITCH.write_text("passwd: files\ngroup: steadnone\n")
        before = [log_on(host, "benny").host.groups for _ in range(3)]
        SWITCH.write_text(usual)
        return before, [log_on(host, "benny").host.groups for _ in range(3)]

    before, after = on_such_a_host(tmp_path, ask)
    games = grp.getgrnam("games").gr_gid
    assert all(games not in groups for groups in before)
    assert all(games in groups for groups in after)
