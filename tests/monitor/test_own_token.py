"""Blocks with another token of the same somebody, and nobody's."""

from __future__ import annotations

import threading
from contextvars import Context
from dataclasses import replace
from pathlib import Path

import pytest

import stead
from stead.decision.token_ops import adjust_privileges
from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    InvalidRequestError,
    NoProcessTokenError,
    NoThreadTokenError,
    PrivilegeNotHeldError,
)
from stead.model.access_mask import TokenRights
from stead.model.ace import AccessAllowedAce
from stead.model.acl import Acl
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import ImpersonationLevel, TokenType
from stead.model.well_known import ANONYMOUS_LOGON, EVERYONE, NETWORK
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.own_token import enable_privileges, impersonate_self
from stead.monitor.ports import Subject

IDENTIFICATION = ImpersonationLevel.IDENTIFICATION
BACKUP, RESTORE = Privilege.BACKUP, Privilege.RESTORE


def test_a_thread_is_the_server_by_a_copy(server, trail, chain_of):
    with server.impersonate_self():
        token = stead.thread_token()
        assert stead.effective_token() is token
        assert TokenType.IMPERSONATION is token.type
        same = replace(token, type=TokenType.PRIMARY, token_id=server.token.token_id)
        assert server.token == same
        assert Path("/dev/null").read_bytes() == b""
    assert server.token == stead.effective_token()
    [record] = trail(AuditEvent.ACTED_AS_SERVER)
    assert "impersonation" == record.detail["level"]
    assert ["notes"] == chain_of(record)


def test_a_copy_that_only_identifies_does_nothing_to_the_machine(server):
    with server.impersonate_self(IDENTIFICATION):
        assert IDENTIFICATION is stead.effective_token().level
        with pytest.raises(AccessDeniedError, match="only identifies"):
            Path("/dev/null").read_bytes()
        with pytest.raises(AccessDeniedError, match="only identifies"):
            Context().run(Path("/dev/null").read_bytes)
    assert Path("/dev/null").read_bytes() == b""


def test_a_copy_is_never_anonymous(server):
    with pytest.raises(BadImpersonationLevelError, match="the token has anonymous"):
        server.impersonate_self(ImpersonationLevel.ANONYMOUS)


def test_who_may_not_duplicate_the_process_token_does_not(guard):
    closed = SecurityDescriptor(
        Acl((AccessAllowedAce(EVERYONE, int(TokenRights.QUERY)),)),
        owner=EVERYONE,
        group=EVERYONE,
    )
    other = replace(guard, process_token=replace(guard.process_token, security=closed))
    with pytest.raises(AccessDeniedError):
        impersonate_self(guard=other)


def test_without_a_server_there_is_no_self():
    with pytest.raises(NoProcessTokenError):
        stead.impersonate_self()
    with pytest.raises(NoProcessTokenError):
        stead.enable_privileges(Privilege.BACKUP)


# --- privileges -----------------------------------------------------------------------


@pytest.fixture
def holder(server, client_for):
    """Return a client that holds two privileges disabled."""
    for privilege in (BACKUP, RESTORE):
        server.accounts.grant("alice", privilege)
    alice = client_for("alice")
    off = adjust_privileges(alice.token, {BACKUP: False, RESTORE: False})
    return Subject(off, alice.subject.principal), alice


def inside(holder, guard, **settings):
    subject = replace(holder[0], **settings)
    return Block(FrameKind.CLIENT, subject, guard, keep=holder[1])


def test_a_clients_privilege_is_enabled_for_one_block(holder, guard, trail, chain_of):
    with inside(holder, guard):
        with enable_privileges(BACKUP):
            assert stead.effective_token().has_privilege(BACKUP)
            assert not stead.effective_token().has_privilege(RESTORE)
            with enable_privileges(RESTORE):
                assert stead.effective_token().enabled_privileges >= {BACKUP, RESTORE}
        assert not stead.effective_token().has_privilege(BACKUP)
    first, second, third = trail(AuditEvent.IMPERSONATION_ENTERED)
    assert "" == first.detail.get("enabled", "")
    assert "SeBackupPrivilege" == second.detail["enabled"]
    assert "SeBackupPrivilege SeRestorePrivilege" == third.detail["enabled"]
    assert ["notes", "alice"] == chain_of(third)


def test_other_threads_go_on_without_it(open_server):
    server = open_server(privileges=(Privilege.TCB, BACKUP))
    off = adjust_privileges(server.token, {BACKUP: False})
    guard = replace(server._house.guard, process_token=off)
    seen = []
    with enable_privileges(BACKUP, guard=guard):
        assert stead.effective_token().has_privilege(BACKUP)
        look = threading.Thread(target=lambda: seen.append(stead.effective_token()))
        look.start()
        look.join()
    assert [server.token] == seen


def test_all_are_enabled_or_none(holder, guard):
    with inside(holder, guard):
        with pytest.raises(PrivilegeNotHeldError) as refused:
            enable_privileges(BACKUP, Privilege.DEBUG)
        assert (Privilege.DEBUG,) == refused.value.privileges
        assert not stead.effective_token().has_privilege(BACKUP)


def test_what_a_client_gave_as_it_is_stays_as_it_is(holder, guard):
    with inside(holder, guard, effective_only=True):
        with pytest.raises(PrivilegeNotHeldError) as refused:
            enable_privileges(BACKUP)
        assert "gave the server what is enabled" in refused.value.advice


def test_in_the_servers_own_block_its_copy_is_changed(server):
    with server.impersonate_self(), enable_privileges(Privilege.TCB):
        assert stead.effective_token().has_privilege(Privilege.TCB)
    with server.as_server(), enable_privileges(Privilege.TCB):
        assert stead.thread_token().has_privilege(Privilege.TCB)


def test_a_handler_says_who_it_is_first(guard):
    with Block(FrameKind.HANDLER, None, guard), pytest.raises(NoThreadTokenError):
        enable_privileges(BACKUP)


def test_which_privileges_must_be_said():
    with pytest.raises(InvalidRequestError):
        enable_privileges()


# --- nobody ---------------------------------------------------------------------------


def test_nobody_is_not_in_everyone(server, trail):
    with server.anonymous():
        token = stead.effective_token()
        assert (ANONYMOUS_LOGON, {NETWORK}) == (
            token.user, {group.sid for group in token.groups}
        )  # fmt: skip
        assert EVERYONE not in token.deny_sids
        with pytest.raises(AccessDeniedError, match="kernel would judge the server"):
            Path("/dev/null").read_bytes()
    [record] = trail(AuditEvent.IMPERSONATION_ENTERED)
    assert "ANONYMOUS LOGON" == record.client.name


def test_nobody_is_one_session(server):
    with server.anonymous():
        first = stead.effective_token().logon_id
    with server.anonymous():
        assert first == stead.effective_token().logon_id
