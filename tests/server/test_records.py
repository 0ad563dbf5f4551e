"""What records say of logons, traces, privileges, processes and the server itself."""

from __future__ import annotations

import pytest

import stead
from stead.errors import (
    LedgerUnavailableError,
    LogonFailureError,
    PrivilegeNotHeldError,
    UnknownAccountError,
)
from stead.gates.http import SteadMiddleware
from stead.gates.ports import public_refusal
from stead.gates.wsgi import WsgiMiddleware
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.trace_context import TraceContext

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-01"


# --- logons -----------------------------------------------------------------------


def test_a_failed_logon_has_status_and_sub_status_and_the_client_one_text(
    server, trail
):
    server.accounts.disable("alice")
    with pytest.raises(LogonFailureError) as refused:
        server.client_for_peer(PosixIdentity(70001, 70001, ()))
    with pytest.raises(UnknownAccountError) as unknown:
        server.client_for("mallory", authenticated_by="test")
    disabled, nobody = trail(AuditEvent.LOGON_FAILED)
    assert ("0xC000006D", "0xC0000072") == (
        disabled.detail["status"], disabled.detail["sub status"],
    )  # fmt: skip
    assert "0xC0000064" == nobody.detail["sub status"]
    heard = {public_refusal(e.value).message for e in (refused, unknown)}
    assert {LogonFailureError.public} == heard


def test_who_logs_off_is_recorded_before_the_session_ends(server, trail):
    server.accounts.set_password("alice", "tiger")
    session = server.log_on("alice", "tiger")
    session.log_off()
    session.log_off()
    (asked,), (ended,) = trail(AuditEvent.LOGOFF_ASKED), trail(AuditEvent.LOGOFF)
    assert asked.client == ended.client
    assert asked.client.logon_id == session.record.logon_id


# --- traces -----------------------------------------------------------------------


def test_a_traceparent_of_the_request_is_the_trace_of_its_records(server, trail):
    async def app(scope, receive, send):
        server.require_privilege(
            scope["stead.client"], Privilege.CHANGE_NOTIFY, operation="look"
        )

    def client_for(_):
        return server.client_for("alice", authenticated_by="test")

    gate = SteadMiddleware(app, client_for=client_for)
    for headers in (
        [(b"TraceParent", GIVEN.encode())],
        [(b"traceparent", GIVEN.encode()), (b"traceparent", GIVEN.encode())],
        [(b"traceparent", b"00-zz")],
        [],
    ):
        request = gate({"type": "http", "headers": headers}, None, None)
        with pytest.raises(StopIteration):
            request.send(None)
    environ = {"HTTP_TRACEPARENT": GIVEN}
    wsgi = WsgiMiddleware(lambda *_: [], client_for=client_for)
    list(wsgi(environ, lambda *_: None))
    server.client_for("bob", authenticated_by="test", correlation=GIVEN)
    traces = [
        TraceContext.from_string(record.correlation).trace
        for record in trail(AuditEvent.LOGON)
    ]
    assert [True, False, False, False, True, True] == [t == TRACE for t in traces]
    assert 4 == len(set(traces))
    used = trail(AuditEvent.PRIVILEGED_SERVICE)[0]
    assert TRACE in used.correlation


def test_records_of_a_gate_s_request_name_the_operation(server, alice, plan, rights):
    request = alice.for_request(1, "notes.read")
    number = server.open_object(request, plan, rights.READ).number
    record = next(r for n, r in server.trail.find(stead_query(number)) if n == number)
    assert "notes.read" == record.operation


def stead_query(number):
    from stead.ledger.query import Query

    return Query(after=number - 1)


# --- privileges -------------------------------------------------------------------


def test_privileges_that_are_enabled_are_recorded_and_so_is_a_refusal(
    server, client_of, trail
):
    server.accounts.grant("alice", Privilege.BACKUP)
    alice = client_of(server, "alice")
    with alice.impersonate():
        with stead.enable_privileges(Privilege.BACKUP):
            pass
        with pytest.raises(PrivilegeNotHeldError):
            stead.enable_privileges(Privilege.DEBUG)
    with server.as_server(), stead.enable_privileges(Privilege.TCB):
        pass
    enabled, refused, own = trail(AuditEvent.PRIVILEGES_ADJUSTED)
    assert ("alice", ("SeBackupPrivilege",)) == (
        enabled.client.name,
        enabled.privileges,
    )
    assert (Outcome.FAILURE, ("SeDebugPrivilege",)) == (
        refused.outcome, refused.privileges,
    )  # fmt: skip
    assert (None, ("SeTcbPrivilege",)) == (own.client, own.privileges)


def test_a_privilege_that_cannot_be_recorded_is_not_enabled(server):
    with server.as_server():
        server._house.guard.sink.close()
        with pytest.raises(LedgerUnavailableError):
            stead.enable_privileges(Privilege.TCB)


def test_a_privilege_used_on_an_object_has_an_event_of_its_own(
    server, alice, plan, trail
):
    privilege = Privilege.CHANGE_NOTIFY
    server.require_privilege(alice, privilege, operation="walk", on=plan)
    server.require_privilege(alice, privilege, operation="walk")
    (on_object,) = trail(AuditEvent.PRIVILEGED_OBJECT)
    (service,) = trail(AuditEvent.PRIVILEGED_SERVICE)
    assert ("Doc", "plan") == (on_object.object_type, on_object.object_name)
    assert {"process id", "image"} <= service.detail.keys()


# --- the server itself ------------------------------------------------------------


def test_a_server_s_own_records_take_the_audit_privilege(
    server, open_server, alice, client_of, plan, trail
):
    server.report(alice, "sent by mail", on=plan, to="bob")
    (record,) = trail(AuditEvent.APPLICATION_OPERATION)
    assert ("sent by mail", "plan", "bob") == (
        record.operation, record.object_name, record.detail["to"],
    )  # fmt: skip
    other = open_server("other", privileges=(Privilege.TCB,))
    other.accounts.add("alice")
    with pytest.raises(PrivilegeNotHeldError, match="SeAuditPrivilege") as refused:
        other.report(client_of(other, "alice"), "sent by mail")
    assert "open it with `privileges=`" in refused.value.advice


def test_a_second_hop_is_recorded_with_target_protocol_and_level(
    server, guard, alice, trail
):
    number = guard.own.delegating(
        alice.subject, "HTTP/files.example", protocol="kerberos"
    )
    (record,) = trail(AuditEvent.DELEGATED)
    assert number > 0
    assert ("alice", "HTTP/files.example") == (record.client.name, record.object_name)
    assert {"protocol": "kerberos", "level": "impersonation"}.items() <= (
        record.detail.items()
    )


def test_a_restricted_token_s_record_counts_its_sids(
    server, alice, plan, rights, trail
):
    from dataclasses import replace

    from stead.decision.restricting import restrict_token
    from stead.model.well_known import EVERYONE

    token = restrict_token(alice.token, restricting_sids=(EVERYONE,))
    subject = replace(alice.subject, token=token)
    server._house.guard.check(subject, plan, rights.READ)
    with pytest.raises(stead.AccessDeniedError):
        server._house.guard.open(subject, plan, rights.READ)
    assert "1" == trail(AuditEvent.HANDLE_REQUESTED)[-1].detail["restricted sids"]
