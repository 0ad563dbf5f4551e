"""Blocks on passes, as the twin enters and leaves them, beside what must be so."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import suppress

from twin_blocks import differ

_OPERATIONS = 10
_STEPS = 40


def walk_in_operations(source: random.Random) -> None:
    """Enter and leave clients' blocks in operations; each must be told of once."""
    from stead import Enforcement, ProtectedServer

    with ProtectedServer("twin", enforcement=Enforcement.TOKEN) as server:
        server.accounts.add("alice")
        server.accounts.add("bob")
        for _ in range(_OPERATIONS):
            _operate(source, server)


def _operate(source: random.Random, server) -> None:
    from stead.monitor import context
    from stead.monitor.covering import covering

    alice, bob = (
        server.client_for(name, authenticated_by="twin") for name in ("alice", "bob")
    )
    open_: list[tuple[Generator[None], object]] = []
    entered = 0
    with covering(alice.subject, server._house.guard.sink):
        for _ in range(_STEPS):
            act = source.randrange(6)
            if act < 3:
                client = alice if source.randrange(5) else bob
                open_.append((_statement(client, source.randrange(2)), client.subject))
                next(open_[-1][0])
                entered += client is alice
            elif act == 3 and open_:
                with suppress(StopIteration):
                    next(open_.pop()[0])
            elif act == 4 and open_:
                open_.pop()  # dropped: the generator is closed, and leaves
            elif act == 5:
                for known in context.here().passes:
                    known._until *= source.randrange(2)
            _require_in_force(open_)
        while open_:
            with suppress(StopIteration):
                next(open_.pop()[0])
    _require_told(server, alice, entered)
    alice.close()
    bob.close()
    if server._house.guard.liveness._live.keys() & {
        alice.token.logon_id, bob.token.logon_id
    }:  # fmt: skip
        raise differ("a session is held by nobody, and lives")


def _statement(client, line: int) -> Generator[None]:
    if line:
        with client.impersonate():
            yield
    else:
        with client.impersonate():
            yield


def _require_in_force(open_: list[tuple[Generator[None], object]]) -> None:
    from stead.monitor import context

    expected = open_[-1][1] if open_ else None
    frame = context.current_frame()
    if (None if frame is None else frame.subject) is not expected:
        raise differ(f"{expected} is in force, and {frame} was found")
    if [frame.subject for frame in context.here()] != [whose for _, whose in open_]:
        raise differ("the blocks that are open here")


def _require_told(server, client, entered: int) -> None:
    from stead.ledger.query import Query
    from stead.model.audit_record import AuditEvent

    for event in (AuditEvent.IMPERSONATION_ENTERED, AuditEvent.IMPERSONATION_LEFT):
        told = sum(
            int(record.detail.get("count", 1))
            for _, record in server.trail.find(Query(event=event))
            if record.client == client.subject.principal
        )
        if told != entered:
            raise differ(f"{entered} blocks, and {told} are told by {event.name}")
