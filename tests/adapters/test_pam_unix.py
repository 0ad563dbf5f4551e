"""The service file that Stead brings, with `pam_unix` and a host's own accounts.

They are seen by one thread, and by the processes in which that has PAM run.
"""

from __future__ import annotations

import grp
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.host_accounts import FIRST_UID, SWITCH, HostAccount, own_accounts
from tests.name_sources import TableOfNames

from stead.adapters.pam.authority import PamAuthority
from stead.errors import (
    AccountExpiredError,
    DirectoryUnavailableError,
    PasswordExpiredError,
    PasswordMismatchError,
    PasswordMustChangeError,
    SteadError,
    UnknownAccountError,
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


@contextmanager
def directory(folder):
    """Have this thread's host ask a source of a test's own, by a library's name."""
    folders = {Path(line.split()[-1]).parent for line in _maps() if "/libc.so." in line}
    (glibcs,) = folders
    name = next(n for n in ("hesiod", "compat") if (glibcs / _library(n)).exists())
    source = TableOfNames(folder, name)
    _run("mount", "--bind", source.library, glibcs / _library(name))
    try:
        SWITCH.write_text(f"passwd: files {name}\ngroup: files\nshadow: files\n")
        yield source
    finally:
        _run("umount", "--lazy", glibcs / _library(name))


def _library(name):
    return f"libnss_{name}.so.2"


def _maps():
    return Path("/proc/self/maps").read_text().splitlines()


def _run(*words):
    subprocess.run([str(word) for word in words], check=True)


def test_a_user_of_a_directory_that_is_down_is_not_one_that_nobody_knows(tmp_path):
    """To PAM's modules, glibc says that there is no such user.

    A name that is unknown has failed, is counted and locked, and is written down as one
    that nobody has.
    """

    def error_for(host, name, word=RIGHT):
        try:
            log_on(host, name, word)
        except SteadError as error:
            return type(error)

    def ask(host):
        with directory(tmp_path) as source:
            source.knows("U dora 70500 70500")
            up = [error_for(host, name) for name in ("dora", "nobody-here")]
            source.knows("F getpwnam dora -1")
            naive = subprocess.run(["getent", "passwd", "dora"], check=False).returncode
            down = [error_for(host, name) for name in ("dora", "nobody-here")]
            # Whose password was compared, has failed all the same.
            return up, naive, down, error_for(host, "benny", "lion")

    up, naive, down, wrong = on_such_a_host(tmp_path, ask)
    assert [PasswordMismatchError, UnknownAccountError] == up
    assert 2 == naive  # "no such key", as where everybody answers
    assert [DirectoryUnavailableError, UnknownAccountError] == down
    assert wrong is PasswordMismatchError
