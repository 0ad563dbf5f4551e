from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest

from stead.errors import AccessDeniedError, LedgerCorruptError
from stead.ledger.chain import seal
from stead.ledger.query import Query
from stead.model.access_mask import AccessMask
from stead.model.ace import MandatoryLabelAce
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.explicit_access import allow, audit
from stead.model.logon_record import LogonType
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.well_known import HIGH_LEVEL, LOW_LEVEL


def test_administrators_and_the_server_read_the_trail(server, administrator):
    for trail in (server.trail, server.trail_for(administrator)):
        events = [record.event for _, record in trail.find(Query())]
        assert AuditEvent.TRAIL_STARTED in events


def test_nobody_else_reads_it(server, alice):
    with pytest.raises(AccessDeniedError):
        server.trail_for(alice).find(Query())
    with pytest.raises(AccessDeniedError):
        server.trail_for(alice).verify()


def test_reading_it_is_recorded_with_what_was_asked(server, administrator, trail):
    query = Query(client="alice", object_name="plan")
    list(server.trail_for(administrator).find(query))
    server.trail_for(administrator).verify()
    asked = [
        record.detail["asked"]
        for record in trail(AuditEvent.TRAIL_READ)
        if record.client is not None
    ]
    assert ["client=alice object=plan", "verify"] == asked


def test_all_that_an_export_was_asked_for_is_recorded(server, administrator, trail):
    failures = Query(outcome=Outcome.FAILURE, event=AuditEvent.LOGON, since=5, limit=2)
    list(server.trail_for(administrator).export(failures, "ocsf"))
    told = trail(AuditEvent.TRAIL_READ)[-2].detail["asked"]
    assert "export ocsf event=logon outcome=failure since=5 limit=2" == told


def test_it_verifies_and_remembers_its_witness(server):
    first = server.trail.verify()
    server.accounts.add("carol")
    assert server.trail.verify(first).count > first.count


def numbers(found):
    return [number for number, _ in found]


def test_nobody_else_is_shown_anything_of_it(server, alice, plan):
    trail = server.trail_for(alice)
    acl = plan.descriptor
    for question in (
        lambda: trail.page(Query()),
        lambda: trail.follow(Query(), wait=lambda: None),
        lambda: trail.who_touched(Query(object_name="plan")),
        lambda: trail.session(alice.token.logon_id),
        lambda: trail.would_refuse(plan, acl, Query()),
        trail.reindex,
        trail.check_index,
    ):
        with pytest.raises(AccessDeniedError):
            question()


def test_each_question_is_recorded_with_what_was_asked(
    server, administrator, plan, trail
):
    asked = server.trail_for(administrator)
    asked.page(Query(client="alice"))
    asked.follow(Query(client="bob"), wait=lambda: None)
    asked.who_touched(Query(object_name="plan"))
    asked.session(0x10)
    asked.would_refuse(plan, plan.descriptor, Query())
    asked.reindex()
    asked.check_index()
    told = [
        record.detail["asked"]
        for record in trail(AuditEvent.TRAIL_READ)
        if record.client is not None
    ]
    assert [
        "client=alice",
        "follow client=bob",
        "who touched object=plan",
        "session=0x10 everything",
        "would refuse plan everything",
        "reindex",
        "check the index",
    ] == told


def test_pages_meet_where_they_end(server):
    whole = numbers(server.trail.find(Query(before=10)))
    query, found = Query(before=10, limit=4), []
    while True:
        page = server.trail.page(query)
        found += numbers(page.found)
        if page.next is None:
            break
        query = page.following(query)
    assert whole == found
    newest = numbers(server.trail.find(Query(before=10, newest_first=True)))
    assert whole == newest[::-1]


def test_following_yields_what_becomes_durable(server, administrator, alice, plan):
    began = server.trail.verify().count

    def act():
        server.check(alice, plan, 0x1)
        server.require(alice, plan, 0x1)

    acts = iter([act, act])

    def do_next():
        next(acts)()

    found = server.trail_for(administrator).follow(
        Query(object_name="plan", limit=2), wait=do_next
    )
    got = list(found)
    assert 2 == len(got)
    assert all(number > began for number, _ in got)


@pytest.mark.parametrize("verb", ["find", "follow"])
def test_an_entry_that_is_no_record_is_never_passed_over(open_server, world, verb):
    trail = open_server(store=world / "notes.db").trail
    newer = b'{"event":4624,"format":2}'
    trail.store.append(lambda last: seal(last, [newer], trail.genesis))
    assert trail.verify().count
    naive = trail.page(Query())  # whoever takes what was found, and looks no further
    assert AuditEvent.TRAIL_READ in {record.event for _, record in naive.found}

    [number] = naive.unreadable
    waits = {"wait": lambda: pytest.fail("it went on")} if verb == "follow" else {}
    with pytest.raises(LedgerCorruptError, match=f"record {number} cannot") as told:
        list(getattr(trail, verb)(Query(after=1), **waits))
    assert f"--after {number} " in told.value.advice.replace("`", " ")
    behind = list(trail.find(Query(after=number)))
    assert AuditEvent.TRAIL_READ in {record.event for _, record in behind}


def test_following_ends_when_the_right_to_read_does(server, administrator, trail):
    def take_away():
        server.set_entries(server_administrator, trail_object, [])

    trail_object = server.find_object("stead:trail")
    server_administrator = administrator
    found = server.trail_for(administrator).follow(Query(client="x"), wait=take_away)
    with pytest.raises(AccessDeniedError):
        list(found)


def test_who_touched_an_object_since_when_and_how(server, administrator, alice, plan):
    for _ in range(3):
        server.require(alice, plan, 0x1)
    with pytest.raises(AccessDeniedError):
        server.require(alice, plan, 0x2)
    last, first = server.trail_for(administrator).who_touched(
        Query(object_name="plan")
    )[:2]
    assert ("alice", Outcome.FAILURE, 1, 0x2) == (
        last.principal.name, last.outcome, last.count, last.rights,
    )  # fmt: skip
    assert ("alice", Outcome.SUCCESS, 3, 0x1) == (
        first.principal.name, first.outcome, first.count, first.rights,
    )  # fmt: skip
    assert first.first[0] < first.last[0] < last.first[0] == last.last[0]


def test_what_a_session_did_and_what_it_began(
    server, administrator, alice, plan, rights
):
    server.require(alice, plan, 0x1)
    lent = alice.limited(
        expires=timedelta(minutes=5),
        rights=[rights.READ],
        targets=[plan],
        purpose="a report",
    )
    server.require(lent, plan, 0x1)
    deeper = lent.limited(
        expires=timedelta(minutes=1),
        rights=[rights.READ],
        targets=[plan],
        purpose="a part of it",
    )
    server.require(deeper, plan, 0x1)
    session = alice.token.logon_id

    told = server.trail_for(administrator).session(session)

    assert [
        (lent.token.logon_id, session, 1),
        (deeper.token.logon_id, lent.token.logon_id, 2),
    ] == [(one.session, one.within, one.depth) for one in told.begun]
    acts = [(act.record.event, act.depth) for act in told.acts]
    assert (AuditEvent.LOGON, 0) == acts[0]
    accesses = [depth for event, depth in acts if event is AuditEvent.OBJECT_ACCESS]
    assert [0, 1, 2] == accesses
    assert (AuditEvent.GRANT_MADE, 1) in acts


def test_a_session_that_a_client_logged_on_is_begun_by_it(server, alice):
    server.accounts.set_password("bob", "a good long password")
    with server.log_on(
        "bob", "a good long password", LogonType.NETWORK, via=alice
    ) as s:
        (begun,) = server.trail.session(alice.token.logon_id).begun
        assert s.token.logon_id == begun.session
        assert AuditEvent.LOGON is begun.event


def judged(server, plan, sddl, **query):
    other = SecurityDescriptor.from_sddl(sddl)
    found = server.trail.would_refuse(plan, other, Query(**query))
    return [
        (one.record.client, one.lost, one.unknown)
        for one in found
        if one.record.granted & 0x3
    ]


def test_what_another_descriptor_would_have_refused(server, alice, client_of, plan):
    server.accounts.add_member("readers", "bob")
    bob = client_of(server, "bob")
    server.set_entries(bob, plan, [allow("alice", 0x3), allow("readers", 0x1)])
    server.require(alice, plan, 0x3)
    server.require(bob, plan, 0x1)
    readers = next(
        g.sid for g in bob.token.groups if server.name_of(g.sid) == "readers"
    )

    found = judged(server, plan, f"D:(A;;0x1;;;{readers})")
    # By the groups that he had: what becomes of memberships later changes nothing.
    server.accounts.remove_member("readers", "bob")
    again = judged(server, plan, f"D:(A;;0x1;;;{readers})")

    people = [(alice.subject.principal, 0x3, ""), (bob.subject.principal, 0, "")]
    assert people == found
    assert people == again
    assert [0x2, 0] == [lost for _, lost, _ in judged(server, plan, "D:(A;;0x1;;;WD)")]
    assert [0, 0] == [lost for _, lost, _ in judged(server, plan, "D:(A;;0x3;;;WD)")]
    assert [0] == [
        lost for _, lost, _ in judged(server, plan, "D:(A;;0x1;;;WD)", client="bob")
    ]


def test_what_is_done_by_a_handle_was_judged_when_it_was_opened(
    server, alice, client_of, plan
):
    server.accounts.grant("root of the store", Privilege.SECURITY)
    with client_of(server, "root of the store") as admin:
        server.set_audit(admin, plan, [audit("Everyone", 0x1)])
    with server.open_object(alice, plan, 0x1) as handle:
        handle.require(0x1)
    records = dict(server.trail.find(Query(object_name="plan", client="alice")))
    uses = [r for r in records.values() if r.event is AuditEvent.OBJECT_ACCESS]
    assert [True] == ["opened by" in use.detail for use in uses]
    assert [(alice.subject.principal, 0x1, "")] == judged(
        server, plan, "D:(A;;0x2;;;WD)"
    )


def test_a_descriptor_without_a_label_has_the_object_s_as_if_it_were_set(
    server, alice, client_of, plan
):
    for right in (Privilege.TAKE_OWNERSHIP, Privilege.RELABEL):
        server.accounts.grant("bob", right)
    bob, everything = client_of(server, "bob"), allow("alice", 0x3)
    server.set_entries(bob, plan, [everything])
    server.require(alice, plan, 0x3)
    assert [0] == [lost for _, lost, _ in judged(server, plan, "D:(A;;0x3;;;WD)")]
    high = MandatoryLabelAce(HIGH_LEVEL, 0x1)
    server.set_entries(bob, plan, [everything, high])
    assert [0x2] == [lost for _, lost, _ in judged(server, plan, "D:(A;;0x3;;;WD)")]
    low = "D:(A;;0x3;;;WD)S:(ML;;NW;;;LW)"
    assert [0] == [lost for _, lost, _ in judged(server, plan, low)]


def test_what_cannot_be_judged_again_says_so(server, alice, plan, rights):
    server.require(alice, plan, 0x1)
    lent = alice.limited(
        expires=timedelta(minutes=5), rights=[rights.READ], targets=[plan], purpose="x"
    )
    server.require(lent, plan, 0x1)
    # A token that nothing describes: the same client's, at a lower integrity.
    low = replace(alice.subject, token=replace(alice.token, integrity=LOW_LEVEL))
    server._house.guard.require(low, plan, 0x1)

    found = judged(server, plan, "D:(A;;0x1;;;WD)")

    assert [0, 0, 0] == [lost for _, lost, _ in found]
    plain, limited, lowered = (unknown for _, _, unknown in found)
    assert "" == plain
    assert "no record describes" in limited
    assert "no record describes" in lowered


def test_everything_asked_for_is_judged_by_what_was_granted(server, alice, plan):
    server.require(alice, plan, AccessMask.MAXIMUM_ALLOWED)
    assert [0] == [lost for _, lost, _ in judged(server, plan, "D:(A;;0x1;;;WD)")]
    assert [1] == [lost & 0x3 for _, lost, _ in judged(server, plan, "D:(A;;0x2;;;WD)")]


def test_the_servers_own_accesses_are_judged_too(server, plan):
    with pytest.raises(AccessDeniedError):
        server._house.guard.require(server._house.subject, plan, 0x1)
    trail = server.find_object("stead:trail")
    server.trail.verify()
    other = SecurityDescriptor.from_sddl("O:BAD:(A;;0x1;;;BA)")
    found = list(server.trail.would_refuse(trail, other, Query()))
    assert found
    assert {(1, "")} == {(one.lost, one.unknown) for one in found}


def test_the_background_keeps_the_index_up(open_server, monkeypatch):
    monkeypatch.setattr("stead.ledger.indexing._IDLE_SECONDS", 0.01)
    server = open_server("kept")
    index = server._house.trail.index
    count = server.trail.verify().count
    ends = time.monotonic() + 60
    while index.reached().sequence < count:
        assert time.monotonic() < ends
        time.sleep(0.01)
