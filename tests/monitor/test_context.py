from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from stead.errors import NoProcessTokenError, NoThreadTokenError
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor import context, effective, loops
from stead.monitor.effective import effective_token, process_token, thread_token
from stead.monitor.impersonation import impersonate


def test_without_a_server_the_process_has_no_token():
    with pytest.raises(NoProcessTokenError, match="no primary token"):
        process_token()
    with pytest.raises(NoProcessTokenError):
        effective_token()
    with pytest.raises(NoThreadTokenError):
        thread_token()


def test_the_token_of_the_process_is_the_only_open_servers(open_server):
    server = open_server()
    assert server.token is process_token()
    server.close()
    with pytest.raises(NoProcessTokenError):
        process_token()


def test_with_two_servers_open_the_one_in_force_is_meant(open_server):
    notes, mail = open_server("notes"), open_server("mail")
    with pytest.raises(NoProcessTokenError, match="several servers"):
        process_token()
    for server in (notes, mail):
        with server.as_server():
            assert server.token is process_token()
            assert server.token is effective_token()


def test_with_two_servers_open_no_token_is_impersonated_unguarded(open_server):
    notes, mail = open_server("notes"), open_server("mail")
    notes.accounts.add("alice")
    alice = notes.client_for("alice", authenticated_by="test")
    with pytest.raises(NoProcessTokenError, match="several servers"):
        impersonate(alice.token)
    with alice.impersonate(), impersonate(alice.token):
        assert notes.token is process_token()
    mail.close()
    with impersonate(alice.token):
        assert alice.token is effective_token()


def test_a_server_that_is_closed_twice_closes_nobody_elses_guard(open_server):
    notes, mail = open_server("notes"), open_server("mail")
    guard = notes._house.guard
    notes.close()
    effective.close_guard(guard)
    assert mail.token is process_token()


def test_inside_a_client_of_one_server_another_server_is_itself(open_server, rights):
    notes, mail = open_server("notes"), open_server("mail")
    notes.accounts.add("alice")
    alice = notes.client_for("alice", authenticated_by="test")
    with alice.impersonate():
        box = mail.protect("box", rights)
    assert mail.token.user == box.descriptor.owner


def test_the_caller_that_errors_name_is_outside_of_stead():
    assert __file__ in context.caller()


def test_while_another_thread_imports_trio_nothing_of_it_runs(monkeypatch):
    """Whoever makes the first request of a program does: `anyio` imports it then."""
    # As `import` leaves it, until the module's code has run.
    half_made = ModuleType("trio.lowlevel")
    half_made.__spec__ = ModuleSpec("trio.lowlevel", None)
    half_made.__spec__._initializing = True
    monkeypatch.setitem(sys.modules, "trio.lowlevel", half_made)
    with pytest.raises(AttributeError):  # the naive question
        sys.modules["trio.lowlevel"].current_trio_token()
    assert not loops.in_trio()
    alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
    with impersonate(alice):
        assert alice is thread_token()
