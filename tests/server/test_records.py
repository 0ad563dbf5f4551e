"""What records say of logons, traces, privileges, processes and the server itself."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

import stead
from stead.errors import (
    AccessDeniedError,
    InvalidRecordError,
    LedgerUnavailableError,
    LogonFailureError,
    PrivilegeNotHeldError,
    UnknownAccountError,
)
from stead.gates.http import SteadMiddleware
from stead.gates.ports import public_refusal
from stead.gates.wsgi import WsgiMiddleware
from stead.ledger.canonical import write_record
from stead.model.access_mask import Rights
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.trace_context import TraceContext
from stead.monitor.record_texts import LONGEST_TEXT

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


@pytest.mark.parametrize("mark", ["peer", "gate", "correlation", "authenticated_by"])
@pytest.mark.parametrize("name", ["alice", "mallory"])
def test_nobody_s_own_mark_keeps_a_logon_out_of_the_trail(server, trail, mark, name):
    told = {"authenticated_by": "proxy"} | {mark: "\udc80" * 70_000}
    if name == "alice":
        server.client_for(name, **told).close()
    else:
        with pytest.raises(UnknownAccountError):
            server.client_for(name, **told)
    event = AuditEvent.LOGON if name == "alice" else AuditEvent.LOGON_FAILED
    (record,) = trail(event)
    marks = record.peer, record.gate, record.correlation, *record.detail.values()
    assert [True] == [
        "... (70" in text for text in marks if text.count("\udc80") == 256
        or (mark == "correlation" and "\udc80" in text)
    ]  # fmt: skip
    naive = replace(record, **{mark: told[mark]} if mark != "authenticated_by" else {
        "detail": {"authenticated by": told[mark]}
    })  # fmt: skip
    with pytest.raises(InvalidRecordError):
        write_record(naive)


def test_what_cannot_be_written_is_not_done_and_that_is_recorded(server, alice, trail):
    large = {f"name {n}": "\udc80" * 2000 for n in range(8)}
    with pytest.raises(InvalidRecordError) as refused:
        server.report(alice, "sent", **large)
    (record,) = trail(AuditEvent.APPLICATION_OPERATION)
    assert Outcome.FAILURE is record.outcome
    assert refused.value.record
    assert "more than 65536" in record.reasons[-1]
    assert {*large} < {*record.detail}
    server.report(alice, "sent", error=AccessDeniedError(), **large)
    refused, told = trail(AuditEvent.APPLICATION_OPERATION)
    assert (5, Outcome.FAILURE) == (told.status, told.outcome)
    assert "sent" == told.operation


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


# --- long ones --------------------------------------------------------------------


class Page(Rights):
    ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE, TEN, ELEVEN, TWELVE = (
        1 << bit for bit in range(12)
    )


def entries_of(text):
    sddl = f'D:(A;;RCWD;;;WD)(XD;;0xfff;;;WD;(@User.team != "{text}"))'
    return list(SecurityDescriptor.from_sddl(sddl).dacl)


@pytest.mark.parametrize("letter", ["a", "\U0001f600"])
def test_an_owner_keeps_no_refusal_out_of_the_trail(
    server, alice, bob, guard, record_of, letter
):
    page = server.protect("page", Page, entries_of(letter * 2_000), owner="alice")
    with pytest.raises(AccessDeniedError) as refused:
        server.require(bob, page, Page(0xFFF))
    record = record_of(refused.value.record)
    assert 12 <= len(record.reasons)
    assert all(
        text.startswith(right.name)
        for text, right in zip(record.reasons, Page, strict=False)
    )
    whole = guard.reasons(refused.value.decision, page)
    naive = replace(record, reasons=tuple(text[:LONGEST_TEXT] for text in whole))
    if letter != "a":
        with pytest.raises(InvalidRecordError):
            write_record(naive)


@pytest.mark.parametrize("letter", ["\U0001f600", "\x02"])
def test_no_owner_makes_a_descriptor_that_nobody_can_change(
    server, alice, administrator, trail, letter
):
    page = server.protect("page", Page, entries_of("a"), owner="alice")
    for count in (1_000, 10_000, 10_400):
        server.set_entries(alice, page, entries_of(letter * count))
    server.set_entries(administrator, page, entries_of("a" * 20_000))
    last = trail(AuditEvent.PERMISSIONS_CHANGED)[-1]
    assert administrator.sid == last.client.sid
    assert 64 == len(last.detail["old sha256"])
    assert 20_000 < sum(len(t) for n, t in last.detail.items() if n.startswith("new"))


@pytest.mark.parametrize("letter", ["a", "\U0001f600", "\x02"])
def test_nobody_buries_an_entry_in_a_descriptor(server, alice, bob, trail, letter):
    page = server.protect("page", Page, entries_of("a"), owner="alice")
    mine = f"(A;;RCWD;;;{alice.sid})"
    full = f'(XA;;0x1;;;WD;(@User.team == "{letter * 10_400}"))'
    if letter == "a":
        full = "(A;;0x1;;;S-1-5-21-9-9-9-9)" * 1500
    sddl = f"D:{mine}{full}(A;;0xfff;;;{bob.sid})"
    server.set_entries(alice, page, list(SecurityDescriptor.from_sddl(sddl).dacl))
    assert server.check(bob, page, Page.TWELVE)
    *parts, made = trail(AuditEvent.PERMISSIONS_CHANGED)
    naive = "".join(t for n, t in made.detail.items() if n.startswith("new"))
    assert str(bob.sid) not in naive
    assert len(parts) > 1
    told = ""
    for number, record in enumerate(parts, 1):
        assert f"{number} of {len(parts)}" == record.detail["part"]
        assert made.detail["new sha256"] == record.detail["new sha256"]
        assert (made.client, "page") == (record.client, record.object_name)
        names = ["new", *(f"new {n}" for n in range(2, 99))]
        told += "".join(record.detail.get(name, "") for name in names)
    assert str(bob.sid) in told
    raw = told.encode("utf-8", "surrogatepass")
    assert made.detail["new sha256"] == hashlib.sha256(raw).hexdigest()
    server.set_entries(alice, page, entries_of("a"))  # that it was so is told as well
    last = trail(AuditEvent.PERMISSIONS_CHANGED)[-1]
    assert made.detail["new sha256"] == last.detail["old sha256"]


def test_what_is_lent_is_in_the_trail_to_its_last_name(server, alice, trail):
    names = [f"drafts of the year 2026, number {n:04}" for n in range(200)]
    lent = alice.limited(
        expires=timedelta(minutes=5), rights=[Page.ONE], targets=[*names, "pay"]
    )
    lent.revoke()
    naive = lent.limits.in_words()["objects"][:LONGEST_TEXT]
    (made,) = trail(AuditEvent.GRANT_MADE)
    told = [made.detail[n] for n in made.detail if n.partition(" ")[0] == "objects"]
    assert (False, True) == tuple(t.endswith(", pay") for t in (naive, "".join(told)))
