from __future__ import annotations

import pytest

from stead.errors import AccessDeniedError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent


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


def test_it_verifies_and_remembers_its_witness(server):
    first = server.trail.verify()
    server.accounts.add("carol")
    assert server.trail.verify(first).count > first.count
