from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, replace

import pytest

from stead.decision.token_ops import duplicate_token
from stead.errors import (
    BadImpersonationLevelError,
    LogonSessionEndedError,
    LoopThreadError,
    NoThreadTokenError,
    PrivilegeNotHeldError,
    RevertOrderError,
    SteadError,
    StrangerIdentityError,
)
from stead.model import well_known
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel, TokenGroup, TokenType
from stead.monitor import context
from stead.monitor.effective import effective_token, thread_token
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import (
    Block,
    impersonate,
    revert_to_self,
    set_thread_token,
)

NOBODYS = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
IDENTIFICATION = ImpersonationLevel.IDENTIFICATION


def on_a_thread(act):
    """Run something on a thread of its own; return what it returned or raised."""
    answers = []

    def run():
        try:
            answers.append(act())
        except SteadError as error:
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


# --- in and out -------------------------------------------------------------------


def test_a_block_makes_the_thread_the_client_and_leaving_makes_it_the_server(
    server, alice
):
    assert server.token == effective_token()
    with alice.impersonate():
        assert alice.token is effective_token()
        assert alice.token is thread_token()
    assert server.token == effective_token()


def test_whoever_looks_at_a_block_does_not_take_its_grip(server, alice):
    block = alice.impersonate()
    assert callable(block.__exit__)
    with block:
        assert callable(block.__exit__)
        assert alice.token is effective_token()
    assert server.token == effective_token()
    by_hand = alice.impersonate()
    assert callable(by_hand.__exit__)
    by_hand.__enter__()
    assert alice.token is effective_token()
    by_hand.__exit__(None, None, None)
    assert server.token == effective_token()


def test_an_exit_stack_holds_its_blocks(server, alice, bob):
    with ExitStack() as stack:
        stack.enter_context(alice.impersonate())
        stack.enter_context(bob.impersonate())
        assert bob.token is effective_token()
        stack.pop_all().close()
        assert server.token == effective_token()


def test_nesting_restores_the_outer_client(server, alice, bob):
    with alice.impersonate():
        with bob.impersonate():
            assert bob.token is effective_token()
        assert alice.token is effective_token()
    assert server.token == effective_token()


def test_acting_as_the_server_inside_a_block_ends_with_its_own_block(server, alice):
    with alice.impersonate():
        with server.as_server():
            assert server.token == effective_token()
            with pytest.raises(NoThreadTokenError):
                thread_token()
        assert alice.token is effective_token()


def test_an_error_in_the_block_passes_through_and_the_outer_is_restored(server, alice):
    with pytest.raises(ZeroDivisionError), alice.impersonate():
        raise ZeroDivisionError
    assert server.token == effective_token()


def test_each_block_is_recorded_on_entering_and_leaving(alice, trail, chain_of):
    with alice.impersonate():
        pass
    entered = trail(AuditEvent.IMPERSONATION_ENTERED)
    left = trail(AuditEvent.IMPERSONATION_LEFT)
    assert [["notes", "alice"]] == [chain_of(record) for record in entered]
    assert [["notes", "alice"]] == [chain_of(record) for record in left]
    assert __file__ in entered[0].detail["where"]


def test_records_in_nested_blocks_name_the_whole_chain(
    server, alice, bob, plan, trail, chain_of, rights
):
    with alice.impersonate(), bob.impersonate():
        server.protect("draft", rights)
    entered = trail(AuditEvent.IMPERSONATION_ENTERED)
    assert [["notes", "alice"], ["notes", "alice", "bob"]] == [
        chain_of(record) for record in entered
    ]
    assert ["notes", "alice", "bob"] == chain_of(trail(AuditEvent.OBJECT_CREATED)[-1])
    left = trail(AuditEvent.IMPERSONATION_LEFT)
    assert [["notes", "alice", "bob"], ["notes", "alice"]] == [
        chain_of(record) for record in left
    ]


def test_acting_as_the_server_is_written_down(server, alice, trail, chain_of):
    with alice.impersonate(), server.as_server():
        pass
    [record] = trail(AuditEvent.ACTED_AS_SERVER)
    assert record.client is None
    assert ["notes", "alice"] == chain_of(record)
    assert __file__ in record.detail["where"]


# --- by hand ----------------------------------------------------------------------


def test_revert_to_self_undoes_set_thread_token(server, alice):
    set_thread_token(alice.token)
    assert alice.token is effective_token()
    revert_to_self()
    assert server.token == effective_token()


def test_tokens_set_by_hand_are_reverted_one_by_one(alice, bob):
    set_thread_token(alice.token)
    set_thread_token(bob.token)
    revert_to_self()
    assert alice.token is effective_token()
    revert_to_self()
    with pytest.raises(NoThreadTokenError):
        revert_to_self()


def test_revert_to_self_is_refused_inside_a_with_block(alice):
    with alice.impersonate():
        with pytest.raises(RevertOrderError, match=r"entered by the block at .*\.py"):
            revert_to_self()
        assert alice.token is effective_token()


def test_revert_to_self_inside_as_server_reverts_nobody(server, alice):
    with alice.impersonate(), server.as_server(), pytest.raises(NoThreadTokenError):
        revert_to_self()


@pytest.mark.leaks_identity
def test_a_token_set_by_hand_inside_a_block_is_an_error_when_the_block_ends(
    server, alice, bob
):
    with pytest.raises(RevertOrderError), alice.impersonate():
        set_thread_token(bob.token)
    assert bob.token is effective_token()  # in force until it is left itself
    revert_to_self()
    assert server.token == effective_token()


def test_a_token_that_is_refused_by_hand_changes_nothing(server):
    with pytest.raises(LogonSessionEndedError):
        set_thread_token(NOBODYS)
    assert server.token == effective_token()


# --- out of order -----------------------------------------------------------------


@pytest.mark.leaks_identity
def test_an_outer_block_left_first_leaves_the_inner_client_in_force(server, alice, bob):
    outer, inner = alice.impersonate(), bob.impersonate()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RevertOrderError, match="before one inside it"):
        outer.__exit__(None, None, None)
    assert bob.token is effective_token()
    inner.__exit__(None, None, None)
    assert server.token == effective_token()


def test_a_block_left_twice_is_an_error_and_nothing_changes(server, alice, bob):
    block = alice.impersonate()
    with block:
        pass
    with bob.impersonate():
        with pytest.raises(RevertOrderError, match="was left already"):
            block.__exit__(None, None, None)
        assert bob.token is effective_token()


def test_a_block_that_was_never_entered_cannot_be_left(alice):
    with pytest.raises(RevertOrderError):
        alice.impersonate().__exit__(None, None, None)


def test_a_block_is_entered_once(alice):
    block = alice.impersonate()
    with block:
        pass
    with pytest.raises(RevertOrderError, match="is used"):
        block.__enter__()


@pytest.mark.leaks_identity
def test_a_block_left_on_another_thread_makes_nobody_anybody(server, alice):
    block = alice.impersonate().__enter__()
    left = on_a_thread(lambda: block.__exit__(None, None, None))
    assert isinstance(left, RevertOrderError)
    assert "another thread or task" in str(left)
    with pytest.raises(StrangerIdentityError):
        effective_token()
    # The thread that entered it can still end it, and is told what happened.
    with pytest.raises(RevertOrderError, match="by another thread or task before"):
        block.__exit__(None, None, None)
    assert server.token == effective_token()


@pytest.mark.leaks_identity
def test_a_leaked_block_is_in_the_trail_under_its_own_chain(
    alice, bob, trail, chain_of
):
    block = alice.impersonate().__enter__()

    def leave_within_another():
        with bob.impersonate():
            block.__exit__(None, None, None)

    assert isinstance(on_a_thread(leave_within_another), RevertOrderError)
    context._current.set(None)
    [leaked] = trail(AuditEvent.IDENTITY_LEAKED)
    assert ["notes", "alice"] == chain_of(leaked)
    assert "another thread" in leaked.reasons[0]


@pytest.mark.leaks_identity
def test_a_block_left_in_another_context_is_an_error(server, alice):
    block = copy_context().run(alice.impersonate().__enter__)
    with pytest.raises(RevertOrderError, match="another context"):
        block.__exit__(None, None, None)
    assert server.token == effective_token()


@pytest.mark.leaks_identity
def test_an_abandoned_generator_leaves_nobody_in_the_clients_place(server, alice):
    def notes():
        with alice.impersonate():
            yield

    held = notes()
    next(held)
    assert alice.token is effective_token()
    assert isinstance(on_a_thread(held.close), RevertOrderError)
    with pytest.raises(StrangerIdentityError):
        effective_token()


@pytest.mark.leaks_identity
def test_a_block_after_a_leaked_one_heals_the_context(server, alice, bob):
    block = alice.impersonate().__enter__()
    on_a_thread(lambda: block.__exit__(None, None, None))
    with bob.impersonate():
        assert bob.token is effective_token()
    assert server.token == effective_token()


@pytest.mark.leaks_identity
def test_a_block_that_is_left_elsewhere_leaves_nobody_in_its_place(server, alice, bob):
    block, ran = alice.impersonate(), []

    def spoilt():
        with block:
            on_a_thread(block.leave)
            with bob.impersonate():
                ran.append(effective_token() is bob.token)
            with pytest.raises(StrangerIdentityError):  # and not the server
                effective_token()
            ran.append(True)

    with pytest.raises(RevertOrderError, match="by another thread or task before"):
        spoilt()
    assert [True, True] == ran
    assert server.token == effective_token()


@pytest.mark.leaks_identity
def test_enter_and_exit_in_different_to_thread_calls_end_the_request(server, alice):
    block = alice.impersonate()

    async def request():
        await asyncio.to_thread(block.__enter__)
        await asyncio.to_thread(block.__exit__, None, None, None)

    with pytest.raises(RevertOrderError):
        asyncio.run(request())
    assert server.token == effective_token()


# --- who may be impersonated ------------------------------------------------------


def test_a_level_below_impersonation_is_checked_and_not_acted_for(
    server, client_for, plan, trail, rights
):
    alice = client_for("alice", level=IDENTIFICATION)
    assert server.check(alice, plan, rights.READ)
    with pytest.raises(BadImpersonationLevelError) as refused, alice.impersonate():
        pytest.fail("the block ran")
    assert ImpersonationLevel.IMPERSONATION is refused.value.needed
    [record] = trail(AuditEvent.IMPERSONATION_REFUSED)
    assert "identification" in record.reasons[0]
    assert refused.value.record is not None


def test_duplication_does_not_raise_the_level(client_for):
    token = client_for("alice", level=IDENTIFICATION).token
    with pytest.raises(BadImpersonationLevelError):
        duplicate_token(token, level=ImpersonationLevel.IMPERSONATION)
    with pytest.raises(BadImpersonationLevelError):
        duplicate_token(token, type=TokenType.PRIMARY)


def test_a_copy_whose_level_was_raised_by_hand_is_refused(client_for, server):
    token = client_for("alice", level=IDENTIFICATION).token
    raised = replace(token, level=ImpersonationLevel.IMPERSONATION)
    with pytest.raises(LogonSessionEndedError), impersonate(raised):
        pytest.fail("the block ran")
    assert server.token == effective_token()


def test_a_lowered_copy_of_a_sessions_token_is_accepted(alice):
    copy = duplicate_token(alice.token, level=ImpersonationLevel.IMPERSONATION)
    with impersonate(replace(copy, privileges=())):
        assert alice.sid == effective_token().user


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: replace(
            token, groups=(*token.groups, TokenGroup(well_known.ADMINISTRATORS))
        ),
        lambda token: replace(token, groups=token.groups[:-1]),
        lambda token: replace(token, privileges=(TokenPrivilege(Privilege.TCB),)),
        lambda token: replace(token, integrity=well_known.SYSTEM_LEVEL),
        lambda token: replace(token, user=well_known.LOCAL_SYSTEM),
    ],
    ids=["a group more", "a group less", "a privilege more", "integrity", "user"],
)
def test_a_token_that_its_session_never_gave_is_refused(alice, forge):
    with pytest.raises(LogonSessionEndedError), impersonate(forge(alice.token)):
        pytest.fail("the block ran")


def test_a_token_of_an_unknown_session_is_refused_and_recorded(server, trail):
    with pytest.raises(LogonSessionEndedError) as refused, impersonate(NOBODYS):
        pytest.fail("the block ran")
    [record] = trail(AuditEvent.IMPERSONATION_REFUSED)
    assert LogonSessionEndedError.status == record.status
    assert refused.value.record is not None


def test_an_ended_session_is_refused(alice):
    alice.close()
    with pytest.raises(LogonSessionEndedError), alice.impersonate():
        pytest.fail("the block ran")


def test_a_server_without_the_privilege_impersonates_nobody(open_server):
    server = open_server(privileges=(Privilege.TCB,))
    server.accounts.add("alice")
    alice = server.client_for("alice", authenticated_by="test")
    assert ImpersonationLevel.IDENTIFICATION is alice.level
    with pytest.raises(BadImpersonationLevelError) as refused, alice.impersonate():
        pytest.fail("the block ran")
    assert "give it SeImpersonatePrivilege" in refused.value.advice


def test_a_token_that_was_raised_again_is_refused(open_server):
    server = open_server(privileges=(Privilege.TCB,))
    server.accounts.add("alice")
    alice = server.client_for("alice", authenticated_by="test")
    raised = replace(alice.token, level=ImpersonationLevel.IMPERSONATION)
    guard = server._house.guard
    with pytest.raises(LogonSessionEndedError), impersonate(raised):
        pytest.fail("the block ran")
    made = replace(alice.subject, token=raised)
    believing = replace(guard, liveness=Believing(guard.liveness))
    with pytest.raises(PrivilegeNotHeldError):
        believing.blocks.announce(FrameKind.CLIENT, made)


@dataclass
class Believing:
    """Believes that every session lives; the rest is the real one's."""

    sessions: object

    def require_live(self, token):
        assert token is not None

    def __getattr__(self, name):
        return getattr(self.sessions, name)


def test_nobody_is_impersonated_on_the_thread_of_an_event_loop(server, alice, trail):
    async def request():
        with pytest.raises(LoopThreadError), alice.impersonate():
            pytest.fail("the block ran")
        return effective_token()

    assert server.token == asyncio.run(request())
    assert [] == trail(AuditEvent.IMPERSONATION_ENTERED)


def test_a_block_for_nobody_is_refused(guard):
    with pytest.raises(NoThreadTokenError), Block(FrameKind.CLIENT, None, guard):
        pytest.fail("the block ran")


# --- a bare token -----------------------------------------------------------------


def test_a_bare_token_takes_the_name_that_the_server_knows(alice, trail, chain_of):
    with impersonate(alice.token):
        pass
    assert ["notes", "alice"] == chain_of(trail(AuditEvent.IMPERSONATION_ENTERED)[0])


def test_without_a_server_a_block_says_whom_checks_are_about():
    with impersonate(NOBODYS):
        assert NOBODYS is effective_token()
        with impersonate(replace(NOBODYS, level=ImpersonationLevel.DELEGATION)):
            assert ImpersonationLevel.DELEGATION is effective_token().level
    with pytest.raises(SteadError):
        effective_token()


def test_without_a_server_the_level_counts_all_the_same():
    low = replace(NOBODYS, level=IDENTIFICATION)
    with pytest.raises(BadImpersonationLevelError), impersonate(low):
        pytest.fail("the block ran")


@pytest.mark.leaks_identity
def test_without_a_server_a_block_left_elsewhere_is_an_error_too():
    block = impersonate(NOBODYS).__enter__()
    left = on_a_thread(lambda: block.__exit__(None, None, None))
    assert isinstance(left, RevertOrderError)
    with pytest.raises(StrangerIdentityError):
        effective_token()
