"""`stead.trail`: what clients of a running server may ask of its trail."""

from __future__ import annotations

import pytest

from stead.errors import AccessDeniedError, InvalidRequestError
from stead.model.audit_record import AuditEvent


def test_an_administrator_is_answered_in_pages(server, administrator, alice, plan):
    for _ in range(3):
        server.require(alice, plan, 0x1)
    asked = {"object_name": "plan", "event": 4663, "outcome": "success"}
    first = server.call(administrator, "stead.trail", asked=asked, limit=2)
    rest = server.call(
        administrator, "stead.trail", asked=asked | {"after": first["next"]}
    )
    assert [2, 1] == [len(page["records"]) for page in (first, rest)]
    assert rest["next"] is None
    assert {"plan"} == {one["record"]["object_name"] for one in first["records"]}
    newest = server.call(
        administrator, "stead.trail", asked=asked | {"newest_first": True}
    )
    numbers = [one["sequence"] for one in first["records"] + rest["records"]]
    assert numbers == [one["sequence"] for one in newest["records"]][::-1]


def test_who_may_not_read_the_trail_is_told_nothing(server, alice, trail):
    with pytest.raises(AccessDeniedError):
        server.call(alice, "stead.trail", asked={"client": "alice"})
    assert [] == trail(AuditEvent.TRAIL_READ)[:-1]
    refused = trail(AuditEvent.OBJECT_ACCESS)
    assert ("alice", "stead:trail", 5) in [
        (record.client.name, record.object_name, record.status)
        for record in refused
        if record.client is not None
    ]


def test_long_answers_are_cut_and_go_on(server, administrator, plan):
    for _ in range(30):
        server._house.guard.recorder.record(
            AuditEvent.DECISION_EXPLAINED,
            administrator.subject,
            reasons=("y" * 2000,) * 20,
        )
    asked, pages, found = {"event": 100_011}, 0, []
    while True:
        page = server.call(administrator, "stead.trail", asked=asked)
        found += [one["sequence"] for one in page["records"]]
        pages += 1
        if page["next"] is None:
            break
        asked["after"] = page["next"]
    assert 30 == len(set(found)) == len(found)
    assert pages > 1


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        ({}, 0),
        ({}, 101),
        ({"limit": 5}, 5),
        ({"client": 5}, 5),
        ({"session": "0x1"}, 5),
        ({"after": True}, 5),
        ({"newest_first": 1}, 5),
        ({"event": "LOGON"}, 5),
        ({"event": 1}, 5),
        ({"outcome": "maybe"}, 5),
        ({"__class__": "x"}, 5),
    ],
)
def test_what_no_query_has_is_refused(server, administrator, asked, limit):
    with pytest.raises(InvalidRequestError):
        server.call(administrator, "stead.trail", asked=asked, limit=limit)
