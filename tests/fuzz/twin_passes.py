"""Blocks on passes, as the twin enters and leaves them, beside what must be so."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from twin_blocks import differ

_OPERATIONS = 10
_STEPS = 40
_ALICE, _BOB = 70_001, 70_002


def compare(source: random.Random) -> None:
    """Ask the twin and Python whether a session is believed, and a pass is good."""
    from stead.authority.standing import Standing
    from stead.errors import SteadError
    from stead.monitor.passing import Pass

    now = source.randrange(1, 10)
    session = SimpleNamespace(
        lease_ends=source.choice((0, now - 1, now, now + 1, 1 << 62)),
        over=source.choice((None, None, now, now + 1)),
        is_over=lambda _now, moment: moment >= session.over,
    )
    standing = Standing(session, lambda: now, lambda: now)
    if standing.good_at() != standing._good_at():
        raise differ(f"by when {session} is believed")

    def make(told: list[str]) -> Pass:
        class Told(Pass):
            __slots__ = ()

            def tell(self) -> None:
                told.append("told")

        known = Told.__new__(Told)
        known.cover = SimpleNamespace(is_over=source.random() < 0.2)
        known.subject, known._standing, known.guard = None, standing, _guard(told)
        known._until = source.choice((0, now, now + 1, 1 << 60))
        known._is_well = _answering(source.choice((True, True, False, ValueError)))
        known._again = _answering(
            source.choice((object, object, KeyboardInterrupt, SteadError, ValueError))
        )
        known.entered, known.left = source.randrange(3), source.randrange(3)
        return known

    state, found = source.getstate(), []
    for enter, leave in ((Pass.enter, Pass.leave), (Pass._enter, Pass._leave)):
        source.setstate(state)
        told: list[str] = []
        known = make(told)
        came = [_outcome(enter, known), _outcome(leave, known)]
        found.append((came, known.entered, known.left, told))
    if found[0] != found[1]:
        raise differ(f"{found} of one pass")


def _guard(told: list[str]) -> SimpleNamespace:
    tell = SimpleNamespace(tell_refused=lambda *_: told.append("refused"))
    return SimpleNamespace(blocks=tell)


def _answering(what: object) -> Callable[[], object]:
    """Return what answers that, or raises it."""

    def answer() -> object:
        if isinstance(what, type) and issubclass(what, BaseException):
            raise what
        return what

    return answer


def _outcome(act: Callable[[Any], object], known: object) -> object:
    try:
        return act(known)
    except BaseException as error:
        return type(error)


def walk_in_operations(source: random.Random) -> None:
    """Enter and leave clients' blocks in operations; each must be told of once."""
    from stead import Enforcement, ProtectedServer

    with ProtectedServer("twin", enforcement=Enforcement.TOKEN) as server:
        server.accounts.add("alice")
        server.accounts.add("bob")
        for _ in range(_OPERATIONS):
            _operate(source, server)


def walk_with_the_kernel(source: random.Random) -> None:
    """Do the same on a hardened thread, and ask the kernel who it is at each step."""
    from stead import Enforcement, ProtectedServer

    if os.geteuid() != 0:
        return
    folder = tempfile.mkdtemp()
    try:
        with ProtectedServer(
            "twin", f"{folder}/a.db", enforcement=Enforcement.KERNEL
        ) as server:
            server.accounts.add("alice", uid=_ALICE)
            server.accounts.add("bob", uid=_BOB)
            for _ in range(_OPERATIONS):
                server.executor().submit(_operate, source, server, uids=True).result()
    finally:
        shutil.rmtree(folder)


def _operate(source: random.Random, server, *, uids: bool = False) -> None:
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
            if uids:
                _require_judged(open_)
        while open_:
            with suppress(StopIteration):
                next(open_.pop()[0])
    _require_told(server, alice, entered)
    alice.close()
    bob.close()
    if server._house.guard.liveness._table.by_id.keys() & {
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


def _require_judged(open_: list[tuple[Generator[None], object]]) -> None:
    uids = {"alice": _ALICE, "bob": _BOB}
    expected = uids[open_[-1][1].principal.name] if open_ else 0  # type: ignore[attr-defined]  # a subject
    if os.geteuid() != expected:
        raise differ(f"{expected} is judged, and {os.geteuid()} was found")


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
