from __future__ import annotations

import asyncio
import os
from contextvars import Context, copy_context
from dataclasses import replace

import pytest

from stead.authority.sessions import Sessions
from stead.decision.token_ops import duplicate_token
from stead.errors import (
    AccessDeniedError,
    EnforcementUnavailableError,
    ImpersonationRefusedError,
    KernelRefusedError,
    LogonSessionEndedError,
    LoopThreadError,
    RevertOrderError,
)
from stead.model import well_known
from stead.model.posix_identity import PosixIdentity
from stead.model.token import GroupAttributes, ImpersonationLevel, TokenGroup
from stead.monitor.effective import effective_token
from stead.monitor.impersonation import impersonate, set_thread_token
from stead.privileged.hardened_thread import KernelBlock
from stead.privileged.probe import KernelSupport
from stead.server.client_context import ClientContext
from stead.server.enforcement import Enforcement, ThreadEnforcer, choose

GUARD = 65530
ABLE = KernelSupport(GUARD, True, True, True, (), ())
UNABLE = replace(ABLE, reasons=("the process is not root",))


@pytest.fixture
def sessions(server):
    return server._house.guard.liveness


@pytest.fixture
def enforcer(sessions):
    return ThreadEnforcer(sessions, GUARD, frozenset())


@pytest.fixture
def on_kernel(kernel_server):
    """Give what runs a call on a hardened thread."""
    return lambda act: kernel_server.executor().submit(act).result(30)


@pytest.fixture
def secret(world):
    """A file of alice's that nobody else may read."""
    path = world / "secret"
    path.write_text("alice's")
    path.chmod(0o600)
    os.chown(path, 70001, 70001)
    return path


# --- chosen -----------------------------------------------------------------------


def test_the_best_that_the_machine_has_is_chosen_unless_one_is_named():
    assert Enforcement.KERNEL is choose(None, ABLE)
    assert Enforcement.TOKEN is choose(None, UNABLE)
    assert Enforcement.KERNEL is choose(Enforcement.KERNEL, ABLE)
    assert Enforcement.TOKEN is choose(Enforcement.TOKEN, ABLE)


def test_the_kernel_that_is_insisted_on_and_cannot_is_an_error():
    with pytest.raises(EnforcementUnavailableError, match="is not root"):
        choose(Enforcement.KERNEL, UNABLE)


# --- what a token is to the kernel ------------------------------------------------


def test_a_token_is_its_sessions_uid_and_groups(enforcer, alice):
    assert PosixIdentity(70001, 70001) == enforcer.identity(alice.token)
    copy = duplicate_token(alice.token, level=ImpersonationLevel.IDENTIFICATION)
    assert PosixIdentity(70001, 70001) == enforcer.identity(copy)


def off(group):
    return replace(group, attributes=GroupAttributes.NONE)


def deny_only(group):
    return replace(group, attributes=GroupAttributes.USE_FOR_DENY_ONLY)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: {"groups": (deny_only(token.groups[0]), *token.groups[1:])},
        lambda _token: {"integrity": well_known.LOW_LEVEL},
        lambda _token: {"user_is_deny_only": True},
    ],
    ids=["a group deny-only", "low integrity", "user deny-only"],
)
def test_a_token_that_says_less_than_its_session_is_refused(enforcer, alice, change):
    lowered = replace(alice.token, **change(alice.token))
    with pytest.raises(ImpersonationRefusedError, match="cannot express"):
        enforcer.identity(lowered)


def test_a_token_with_a_mandatory_group_off_has_no_session(enforcer, alice):
    groups = (off(alice.token.groups[0]), *alice.token.groups[1:])
    with pytest.raises(LogonSessionEndedError):
        enforcer.identity(replace(alice.token, groups=groups))


def test_a_token_that_says_more_than_its_session_has_no_session(enforcer, alice):
    more = (*alice.token.groups, TokenGroup(well_known.ADMINISTRATORS))
    with pytest.raises(LogonSessionEndedError):
        enforcer.identity(replace(alice.token, groups=more))


def test_an_account_without_a_uid_is_refused(enforcer, administrator):
    with pytest.raises(ImpersonationRefusedError, match="has no uid") as refused:
        enforcer.identity(administrator.token)
    assert "give the account a uid" in refused.value.advice


def test_an_ended_session_is_nobody(enforcer, alice):
    alice.close()
    with pytest.raises(LogonSessionEndedError):
        enforcer.identity(alice.token)


@pytest.mark.parametrize("uid", [1, 33, 999, 65534])
def test_a_uid_of_the_system_is_refused_unless_the_policy_names_it(
    server, sessions, enforcer, uid
):
    client = server.client_for_peer(PosixIdentity(uid, uid))
    with pytest.raises(ImpersonationRefusedError, match="no policy names it"):
        enforcer.identity(client.token)
    named = ThreadEnforcer(sessions, GUARD, frozenset({uid}))
    assert PosixIdentity(uid, uid) == named.identity(client.token)


@pytest.mark.parametrize("uid", [0, GUARD])
def test_root_and_the_guard_are_refused_whatever_the_policy_names(
    server, sessions, uid
):
    client = server.client_for_peer(PosixIdentity(uid, uid))
    named = ThreadEnforcer(sessions, GUARD, frozenset({uid}))
    with pytest.raises(ImpersonationRefusedError, match="never impersonated"):
        named.identity(client.token)


def test_a_member_of_group_0_is_refused(server, enforcer):
    client = server.client_for_peer(PosixIdentity(70005, 70005, (0,)))
    with pytest.raises(ImpersonationRefusedError, match="group 0"):
        enforcer.identity(client.token)


def test_on_an_ordinary_thread_nothing_of_the_kernel_changes(enforcer, alice):
    entered = enforcer.enter(alice.token)
    entered.leave()
    assert not entered.is_kernel


def test_sessions_of_another_server_are_unknown(alice, server):
    store = server.accounts.store
    others = Sessions(store, clock=lambda: 1, monotonic=lambda: 1)
    with pytest.raises(LogonSessionEndedError):
        ThreadEnforcer(others, GUARD, frozenset()).identity(alice.token)


# --- on hardened threads ----------------------------------------------------------


@pytest.mark.root
def test_the_kernel_judges_a_block_on_the_servers_executor(
    kernel_server, client_of, on_kernel, secret
):
    def read(client):
        with client.impersonate():
            return secret.read_text()

    alice, bob = client_of(kernel_server, "alice"), client_of(kernel_server, "bob")
    assert "alice's" == secret.read_text()  # the naive variant reads it for anybody
    assert "alice's" == on_kernel(lambda: read(alice))
    with pytest.raises(KernelRefusedError):
        on_kernel(lambda: read(bob))


@pytest.mark.root
def test_blocks_nest_for_the_kernel_too(kernel_server, client_of, on_kernel):
    alice, bob = client_of(kernel_server, "alice"), client_of(kernel_server, "bob")

    def work():
        seen = [os.geteuid()]
        with alice.impersonate():
            seen.append(os.geteuid())
            with bob.impersonate():
                seen.append(os.geteuid())
                with kernel_server.as_server():
                    seen.append(os.geteuid())
            seen.append(os.geteuid())
        return [*seen, os.geteuid()]

    assert [0, 70001, 70002, 0, 70001, 0] == on_kernel(work)


@pytest.mark.root
def test_a_client_that_the_kernel_cannot_be_runs_nothing(
    kernel_server, client_of, on_kernel
):
    client = client_of(kernel_server, "root of the store")

    def work():
        with client.impersonate():
            pytest.fail("the block ran")

    with pytest.raises(ImpersonationRefusedError) as refused:
        on_kernel(work)
    assert refused.value.record is not None
    assert 0 == on_kernel(os.geteuid)


@pytest.mark.root
def test_a_handler_inside_a_clients_block_begins_as_the_server(
    kernel_server, client_of, on_kernel
):
    alice, bob = client_of(kernel_server, "alice"), client_of(kernel_server, "bob")

    @kernel_server.operation("act")
    def act(client: ClientContext) -> list[int]:
        seen = [os.geteuid()]
        with client.impersonate():
            seen.append(os.geteuid())
        return [*seen, os.geteuid()]

    def work():
        with alice.impersonate():
            return [*kernel_server.call(bob, "act"), os.geteuid()]

    assert [0, 70002, 0, 70001] == on_kernel(work)


@pytest.mark.root
@pytest.mark.leaks_identity
def test_a_token_set_by_hand_and_left_fails_the_work_and_no_other(
    kernel_server, client_of, on_kernel
):
    alice = client_of(kernel_server, "alice")
    with pytest.raises(RevertOrderError):
        on_kernel(lambda: set_thread_token(alice.token))
    assert [0] * 4 == [on_kernel(os.geteuid) for _ in range(4)]


@pytest.mark.root
@pytest.mark.leaks_identity
def test_a_block_left_before_one_inside_it_makes_the_thread_nobody(
    kernel_server, client_of, on_kernel, secret
):
    alice, bob = client_of(kernel_server, "alice"), client_of(kernel_server, "bob")

    def work():
        outer, inner = alice.impersonate(), bob.impersonate()
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(RevertOrderError):
            outer.__exit__(None, None, None)
        uid = os.geteuid()
        with pytest.raises(PermissionError):
            secret.read_text()
        seen.append(uid)

    seen = []
    with pytest.raises(RevertOrderError):
        on_kernel(work)
    assert [GUARD] == seen


@pytest.mark.root
def test_a_bare_token_is_the_kernels_too(kernel_server, client_of, on_kernel):
    alice = client_of(kernel_server, "alice")

    def work():
        with impersonate(alice.token):
            return os.geteuid(), effective_token().user

    assert (70001, alice.sid) == on_kernel(work)


@pytest.mark.root
def test_an_empty_context_in_a_block_is_not_the_server_to_the_kernel(
    kernel_server, client_of, on_kernel, secret
):
    bob = client_of(kernel_server, "bob")

    def work():
        with bob.impersonate(), pytest.raises(PermissionError):
            Context().run(secret.read_text)

    on_kernel(work)


# --- contexts that take turns on one thread, as greenlets do ----------------------


class Turns:
    """Generators that take turns on one thread, each in a context of its own."""

    def __init__(self, *works):
        self.turns = [(Context(), work()) for work in works]

    def take(self, number):
        made, work = self.turns[number]
        return made.run(next, work)


def naive_turns(first, second):
    """Return whom a first turn's code runs as, where the kernel alone is switched."""
    one, other = KernelBlock(first), KernelBlock(second)
    one.enter()
    other.enter()  # the second turn
    resumed = os.geteuid()  # the first one goes on
    other.leave()
    one.leave()
    return resumed


@pytest.mark.root
@pytest.mark.leaks_identity
@pytest.mark.parametrize("second", ["bob", "the server", "a handler"])
def test_whoever_takes_turns_on_a_thread_makes_nobody_else_of_the_others(
    kernel_server, client_of, on_kernel, secret, second
):
    alice, bob = client_of(kernel_server, "alice"), client_of(kernel_server, "bob")
    kernel_server.operation("ask")(lambda client: (client.name, os.geteuid()))
    whom = PosixIdentity(70002, 70002) if second == "bob" else None
    as_alice = PosixIdentity(70001, 70001)
    assert 70001 != on_kernel(lambda: naive_turns(as_alice, whom))
    seen = []

    def one():
        with alice.impersonate():
            yield os.geteuid()
            yield os.geteuid(), secret.read_text()

    def other():
        if second == "a handler":
            yield kernel_server.call(bob, "ask")
        with bob.impersonate() if second == "bob" else kernel_server.as_server():
            yield os.geteuid()

    def work():
        naive = Turns(one, other)
        seen.append(naive.take(0))
        with pytest.raises(RevertOrderError, match="in another context"):
            naive.take(1)
        seen.append(naive.take(0))
        with pytest.raises(StopIteration):
            naive.take(0)
        seen.append(os.geteuid())

    on_kernel(work)
    assert [70001, (70001, "alice's"), 0] == seen


@pytest.mark.root
@pytest.mark.leaks_identity
def test_a_copy_of_a_blocks_context_that_goes_further_opens_nothing_for_the_block(
    kernel_server, client_of, on_kernel, secret
):
    """Some libraries' greenlets begin with a copy: that is inside of the block."""
    alice, bob = client_of(kernel_server, "alice"), client_of(kernel_server, "bob")
    secret.chmod(0o604)  # bob may read it, and alice does not ask as him

    def other():
        with bob.impersonate():
            yield secret.read_text()

    def work():
        with alice.impersonate():
            copied, turn = copy_context(), other()
            assert "alice's" == copied.run(next, turn)
            with pytest.raises(AccessDeniedError, match="such as a greenlet's"):
                secret.read_text()
            with pytest.raises(StopIteration):
                copied.run(next, turn)
            assert "alice's" == secret.read_text()

    on_kernel(work)


@pytest.mark.root
@pytest.mark.leaks_identity
def test_what_an_item_leaves_open_keeps_no_other_item_from_its_client(
    kernel_server, client_of, on_kernel, secret
):
    alice = client_of(kernel_server, "alice")
    kept = []

    def leave_open():
        kept.append(alice.impersonate())
        copy_context().run(kept[-1].__enter__)

    def read():
        with alice.impersonate():
            return secret.read_text()

    for _ in range(4):  # there are two threads
        with pytest.raises(RevertOrderError):
            on_kernel(leave_open)
        assert "alice's" == on_kernel(read)


@pytest.mark.root
def test_a_task_inside_a_block_makes_no_other_task_the_server(
    kernel_server, client_of, on_kernel
):
    alice = client_of(kernel_server, "alice")

    async def other(seen):
        seen.append(os.geteuid())

    async def naive(seen):
        with KernelBlock(None):
            await asyncio.create_task(other(seen))

    async def ours(seen):
        with pytest.raises(LoopThreadError), kernel_server.as_server():
            await asyncio.sleep(0)
        await asyncio.create_task(other(seen))

    def work(act):
        seen = []
        with alice.impersonate():
            asyncio.run(act(seen))
        return seen

    assert ([0], [70001]) == (
        on_kernel(lambda: work(naive)), on_kernel(lambda: work(ours)),
    )  # fmt: skip
