"""`stead session`, and when accounts log on, as an administrator of the store."""

from __future__ import annotations

import time

import pytest

from stead.errors import LogonSessionEndedError
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


@pytest.fixture
def running(store):
    """A running server over the store."""
    with ProtectedServer("notes", store=store, enforcement=Enforcement.TOKEN) as server:
        yield server


def listed(stead, count):
    deadline = time.monotonic() + 60
    while len(rows := stead("session", "list", "--json").json) != count:
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)
    return rows


def test_a_running_servers_sessions_are_listed_and_ended(stead, running):
    alice, bob = (
        running.client_for(name, authenticated_by="oauth") for name in ("alice", "bob")
    )
    first, second = listed(stead, 2)
    assert ("alice", "network", "asserted", "oauth", "notes", False) == tuple(
        first[key]
        for key in (
            "name", "logon_type", "package", "authenticated_by", "server", "silent"
        )
    )  # fmt: skip
    number = first["logon_id"]
    assert str(alice.token.logon_id) == number
    lines = stead("session", "list").lines
    assert lines[0].startswith(f"{number}  alice  network by asserted  since ")

    assert {"would": f"session {number} ended"} == (
        stead("session", "end", number, "--dry-run", "--json").json
    )
    assert f"session {number} of alice ended\n" == stead("session", "end", number).out
    assert {"done": "1 session of bob ended", "sessions": 1} == (
        stead("session", "end-all", "bob", "--json").json
    )
    for client in (alice, bob):
        time.sleep(1)
        with pytest.raises(LogonSessionEndedError):
            running._house.guard.liveness.require_live(client.token)
    assert [] == listed(stead, 0)
    assert "0 sessions of bob ended\n" == stead("session", "end-all", "bob").out
    ran = stead("session", "end", number)
    assert 1 == ran.status
    assert "stead session list" in ran.err
    assert second["name"] == "bob"


@pytest.mark.parametrize("number", ["alice", "-1", "0x10000000000000000"])
def test_what_is_no_number_of_a_session_is_refused(stead, number):
    ran = stead("session", "end", "--", number)
    assert 1 == ran.status
    assert "is no number of a session" in ran.err


def test_an_accounts_times_are_said_shown_and_taken_back(stead):
    assert "account alice ends 2099-01-01T00:00:00+00:00\n" == (
        stead("account", "expires", "alice", "2099-01-01").out
    )
    assert "account alice may log on: mon-fri 08-18\n" == (
        stead("account", "hours", "alice", "Mon-Fri 08-18").out
    )
    stead("account", "password-lasts", "alice")
    row = stead("account", "list", "--json").json[0]
    assert ("2099-01-01T00:00:00+00:00", "mon-fri 08-18", True) == (
        row["expires_at"], row["logon_hours"], row["password_lasts"]
    )  # fmt: skip
    [line, *_] = stead("account", "list").lines
    assert line.endswith("ends 2099-01-01T00:00:00+00:00  logs on mon-fri 08-18 UTC")
    for verb, value in (("expires", "never"), ("hours", "always")):
        assert 0 == stead("account", verb, "alice", value).status
    stead("account", "password-lasts", "alice", "--no")
    row = stead("account", "list", "--json").json[0]
    assert (None, "always", False) == (
        row["expires_at"], row["logon_hours"], row["password_lasts"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "value"), [("expires", "tomorrow"), ("hours", "at night")]
)
def test_times_that_are_none_are_refused(stead, verb, value):
    ran = stead("account", verb, "alice", value)
    assert 1 == ran.status
    assert "such as" in ran.err
