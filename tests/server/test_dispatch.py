from __future__ import annotations

import asyncio
import logging

import pytest

from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    InvalidRequestError,
    LedgerUnavailableError,
    NoThreadTokenError,
    OperationFailedError,
    PrivilegeNotHeldError,
    RevertOrderError,
    UnknownOperationError,
)
from stead.gates.pipe.peer import PeerEvidence
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.privilege import Privilege
from stead.model.quality_of_service import QualityOfService
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.model.trace_context import TraceContext
from stead.monitor.effective import effective_token
from stead.server.client_context import ClientContext


@pytest.fixture
def offer(server):
    """Give what offers a handler under the name `act`."""
    return lambda handler, **settings: server.operation("act", **settings)(handler)


def test_an_operation_runs_between_two_records(server, alice, offer, trail):
    during = []

    def act(client: ClientContext, word: str) -> str:
        during.append(len(trail(AuditEvent.OPERATION_ENDED)))
        return word.upper()

    offer(act)
    assert "HELLO" == server.call(alice, "act", word="hello")
    [requested] = trail(AuditEvent.OPERATION_REQUESTED)
    [ended] = trail(AuditEvent.OPERATION_ENDED)
    assert [0] == during
    assert ("act", "alice") == (requested.operation, requested.client.name)
    assert Outcome.SUCCESS is ended.outcome


def test_a_handler_is_nobody_until_it_says_who(server, alice, offer):
    def act(client: ClientContext) -> list[str]:
        with pytest.raises(NoThreadTokenError):
            effective_token()
        with client.impersonate():
            inside = effective_token().user
        with server.as_server():
            outside = effective_token().user
        return [str(inside), str(outside)]

    offer(act)
    assert [str(alice.sid), str(server.token.user)] == server.call(alice, "act")


def test_a_handler_sees_no_block_of_its_caller(server, alice, bob, offer):
    def act(client: ClientContext) -> None:
        with pytest.raises(NoThreadTokenError):
            effective_token()

    offer(act)
    with bob.impersonate():
        server.call(alice, "act")
        assert bob.token is effective_token()


def test_what_cannot_be_recorded_does_not_run(server, alice, offer):
    def act(client: ClientContext) -> None:
        pytest.fail("the handler ran")

    offer(act)
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        server.call(alice, "act")


def test_an_answer_whose_end_cannot_be_recorded_is_not_given(server, alice, offer):
    def act(client: ClientContext) -> str:
        server._house.guard.sink.close()
        return "secret"

    offer(act)
    with pytest.raises(LedgerUnavailableError):
        server.call(alice, "act")


@pytest.mark.parametrize(
    ("name", "arguments", "refusal"),
    [
        ("erase", {}, UnknownOperationError),
        ("act", {"more": 1}, InvalidRequestError),
    ],
)
def test_a_request_that_does_not_fit_is_recorded_and_refused(
    server, alice, offer, record_of, name, arguments, refusal
):
    def act(client: ClientContext) -> None:
        pytest.fail("the handler ran")

    offer(act)
    with pytest.raises(refusal) as refused:
        server.call(alice, name, **arguments)
    record = record_of(refused.value.record)
    assert (AuditEvent.OPERATION_REQUESTED, name, refusal.status) == (
        record.event,
        record.operation,
        record.status,
    )


@pytest.mark.parametrize("given", ["tiger", Secret("tiger")])
def test_a_secret_reaches_its_handler_as_one_and_is_wiped_after_the_request(
    server, alice, offer, given
):
    seen = []

    def act(client: ClientContext, password: Secret) -> int:
        seen.append(password)
        with password.revealed() as letters:
            return len(letters)

    offer(act)
    assert 5 == server.call(alice, "act", password=given)
    assert [True] == [secret.is_wiped for secret in seen]


def test_a_secret_of_a_failing_request_is_wiped_too(server, alice, offer):
    given = Secret("tiger")

    def act(client: ClientContext, password: Secret) -> None:
        raise ZeroDivisionError

    offer(act)
    with pytest.raises(OperationFailedError):
        server.call(alice, "act", password=given)
    assert given.is_wiped


def test_what_is_no_secret_is_refused_without_being_quoted(server, alice, offer):
    def act(client: ClientContext, password: Secret) -> None:
        pytest.fail("the handler ran")

    offer(act)
    with pytest.raises(InvalidRequestError) as refused:
        server.call(alice, "act", password=73313)
    assert "73313" not in str(refused.value)


def test_a_level_below_what_the_operation_needs_is_refused(
    server, client_of, offer, record_of
):
    def act(client: ClientContext) -> None:
        pytest.fail("the handler ran")

    offer(act, level=ImpersonationLevel.IMPERSONATION)
    alice = client_of(server, "alice", level=ImpersonationLevel.IDENTIFICATION)
    with pytest.raises(BadImpersonationLevelError, match="operation `act`") as refused:
        server.call(alice, "act")
    assert Outcome.FAILURE is record_of(refused.value.record).outcome


def test_a_privilege_that_is_missing_is_refused_before_the_arguments_are_read(
    server, alice, offer, record_of
):
    def act(client: ClientContext) -> None:
        pytest.fail("the handler ran")

    offer(act, privileges=(Privilege.BACKUP,))
    with pytest.raises(PrivilegeNotHeldError) as refused:
        server.call(alice, "act", more=1)
    assert AuditEvent.PRIVILEGED_SERVICE is record_of(refused.value.record).event


def test_a_refusal_inside_keeps_the_number_of_the_record_that_says_why(
    server, alice, offer, plan, record_of, rights
):
    def act(client: ClientContext) -> None:
        server.require(client, plan, rights.WRITE)

    offer(act)
    with pytest.raises(AccessDeniedError) as refused:
        server.call(alice, "act")
    assert AuditEvent.OBJECT_ACCESS is record_of(refused.value.record).event


def test_the_kernels_no_is_an_answer(server, alice, offer):
    def act(client: ClientContext) -> None:
        raise PermissionError(13, "Permission denied", "/etc/shadow")

    offer(act)
    with pytest.raises(AccessDeniedError) as refused:
        server.call(alice, "act")
    assert "/etc/shadow" == refused.value.object_name


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(), SystemExit(0), asyncio.CancelledError(), StopIteration()],
    ids=repr,
)
def test_whatever_a_handler_raises_ends_its_request_and_nothing_else(
    server, alice, offer, record_of, caplog, error
):
    def act(client: ClientContext) -> None:
        raise error

    offer(act)
    with (
        caplog.at_level(logging.ERROR, "stead.server"),
        pytest.raises(OperationFailedError) as refused,
    ):
        server.call(alice, "act")
    assert "operation `act` failed" == str(refused.value)
    assert Outcome.FAILURE is record_of(refused.value.record).outcome
    assert "operation `act` failed" in caplog.text


def test_an_interrupt_that_a_handler_raises_ends_its_request_alone(
    server, alice, offer
):
    def act(client: ClientContext) -> None:
        raise KeyboardInterrupt

    offer(act)
    with pytest.raises(OperationFailedError):
        server.call(alice, "act")


@pytest.mark.leaks_identity
def test_a_block_that_a_handler_leaves_open_ends_its_request(
    server, alice, offer, trail
):
    def act(client: ClientContext) -> str:
        client.impersonate().__enter__()
        return "secret"

    offer(act)
    with pytest.raises(RevertOrderError):
        server.call(alice, "act")
    assert server.token == effective_token()
    assert RevertOrderError.status == trail(AuditEvent.OPERATION_ENDED)[0].status


def test_a_conversation_runs_calls_on_handlers_threads_and_ties_their_records(
    server, trail
):
    def act(client: ClientContext) -> str:
        with client.impersonate():  # not the loop's thread
            return client.name

    server.operation("act")(act)
    evidence = PeerEvidence(uid=70001, gid=70001, groups=(), pid=1)

    async def talk():
        conversation = await server.reception.admit(
            evidence, QualityOfService(effective_only=False), "mine"
        )
        answers = [await conversation.call("act", {}) for _ in range(2)]
        about = conversation.account, conversation.quality.level
        await conversation.close()
        return answers, about

    answers, about = asyncio.run(talk())
    assert ["alice", "alice"] == answers
    assert ("alice", ImpersonationLevel.IMPERSONATION) == about
    [logon] = trail(AuditEvent.LOGON)
    requests = trail(AuditEvent.OPERATION_REQUESTED)
    assert ["pipe", "pipe"] == [record.gate for record in requests]
    trace, _, name = logon.correlation.partition(" ")
    spans = [record.correlation.partition(" ")[0] for record in requests]
    assert {TraceContext.from_string(trace).trace} == {
        TraceContext.from_string(span).trace for span in spans
    }
    assert 3 == len({trace, *spans})
    assert [f"{name}.1", f"{name}.2"] == [
        record.correlation.partition(" ")[2] for record in requests
    ]
    assert logon.correlation.endswith(" mine")
    assert 1 == len(trail(AuditEvent.LOGOFF))
