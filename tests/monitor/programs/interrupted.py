"""Interrupts blocks at every instruction of entering and leaving them, and by a timer.

usage: interrupted.py [bare_ | pass_](instructions | timer) [pure]

The bare ones enter tokens outside any server, and those on a pass the same block in one
operation again and again, which the twin in C does by one call; with `pure` it is as if
there were no twin.

Each round ends outside the block. Whatever was interrupted, the thread is the server
again, nothing holds the client's session, and the body ran as the client or not at all.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType, MethodDescriptorType
from typing import Any

if "pure" in sys.argv:
    sys.modules["stead.monitor._frames"] = None  # type: ignore[assignment]  # it is not there

from stead import AccessToken, Enforcement, ProtectedServer, Sid, impersonate
from stead.model.audit_record import AuditEvent
from stead.monitor import context
from stead.monitor.covering import covering
from stead.monitor.effective import effective_token, thread_token
from stead.monitor.passing import Pass

ROUNDS = 4_000
OURS = (
    "/monitor/impersonation.py", "/monitor/context.py", "/monitor/guard.py",
    "/monitor/passing.py", "/authority/standing.py", "/server/client_context.py",
    "/server/trail_watch.py", "/ledger/ledger.py", "/ledger/writer.py",
)  # fmt: skip


class Interrupter:
    """Raises KeyboardInterrupt before one of the instructions of Stead's own code."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(OURS):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event in {"call", "opcode", "return"}:
            self.left -= 1
            if self.left == 0:
                self.where = f"{event} of {frame.f_code.co_qualname} +{frame.f_lasti}"
                raise KeyboardInterrupt
        return self


def main(how: str) -> None:
    # An interrupt in a finalizer is printed and forgotten; its block had been left.
    sys.unraisablehook = lambda _: None
    if how.startswith("bare"):
        bare_by_instructions() if how == "bare_instructions" else bare_by_timer()
        return
    with ProtectedServer("notes", enforcement=Enforcement.TOKEN) as server:
        for name in ("alice", "bob"):
            server.accounts.add(name)
        alice, bob = (
            server.client_for(name, authenticated_by="test")
            for name in ("alice", "bob")
        )
        if how.startswith("pass"):
            on_passes(server, alice, by_timer=how == "pass_timer")
        elif how == "instructions":
            by_instructions(server, alice, bob)
        else:
            by_timer(server, alice, bob)


def bare_by_instructions() -> None:
    alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
    bob = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1002"))
    number = 0
    while True:
        number += 1
        interrupter = Interrupter(number)
        seen: list[object] = []
        sys.settrace(interrupter)
        try:
            with impersonate(alice):
                with impersonate(bob):
                    seen.append(context._current.get().subject.token)
                seen.append(context._current.get().subject.token)
            sys.settrace(None)
        except KeyboardInterrupt:
            bare_proved(interrupter.where)
        finally:
            sys.settrace(None)
        bare_proved(interrupter.where)
        assert seen == [bob, alice][: len(seen)], interrupter.where
        if interrupter.left > 0:
            break
    assert number > 20, number
    print("interrupted at", number - 1, "instructions")


def bare_by_timer() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
    signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    for number in range(ROUNDS):
        seen: list[object] = []
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + (number % 300) * 1e-7)
            for _ in range(100):  # one that a finalizer swallows ends nothing
                with impersonate(alice):
                    seen[:] = [thread_token()]
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
            bare_proved(f"round {number}")
        assert seen in ([], [alice])
        bare_proved(f"round {number}")
    assert interrupted > ROUNDS / 2, interrupted
    print("interrupted in", interrupted, "rounds")


def bare_proved(where: str) -> None:
    """Raise unless this thread is nobody and nothing is left of the block."""
    assert context.current_frame() is None, where
    assert context.watched_frame() is None, where
    assert not context._here.clients, where


def on_passes(server: Any, alice: Any, *, by_timer: bool) -> None:
    """Interrupt what is entered on a pass; it is counted as left if it was entered."""

    def stay() -> None:
        with alice.impersonate():
            seen[:] = [thread_token()]

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    number, seen, interrupted, guard = 0, [], 0, server._house.guard
    while True:
        number += 1
        interrupter = Interrupter(number)
        guard.recorder.record(
            AuditEvent.OPERATION_REQUESTED, alice.subject, operation="interrupt"
        )
        with covering(alice.subject, guard.sink):
            stay()
            known = context.here().passes[-1]
            while not known.entered:
                stay()
            try:
                if by_timer:
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 + (number % 300) * 1e-7)
                    for _ in range(100):
                        stay()
                    signal.setitimer(signal.ITIMER_REAL, 0)
                else:
                    sys.settrace(interrupter)
                    stay()
            except KeyboardInterrupt:
                sys.settrace(None)
                proved(server, (alice,), interrupter.where, [], is_handled=False)
                interrupted += 1
            finally:
                sys.settrace(None)
            where = interrupter.where or f"round {number}"
            proved(server, (alice,), where, [], is_handled=False)
            assert seen == [alice.token], where
            # In Python it may have been counted, and come no further; what watches the
            # twin's passes (the law of the trail) is Python too.
            most = 0 if isinstance(Pass.enter, MethodDescriptorType) else 1
            assert 0 <= known.entered - known.left <= most, where
        proved(server, (alice,), where, [])
        if number == ROUNDS if by_timer else interrupter.left > 0:
            break
    assert interrupted > (ROUNDS / 10 if by_timer else 20), interrupted
    print("interrupted", interrupted, "times")


def by_instructions(server: Any, alice: Any, bob: Any) -> None:
    for make in (
        alice.impersonate,
        server.as_server,
        lambda: Both(alice.impersonate(), bob.impersonate()),
    ):
        number = interrupted = 0
        while True:
            number += 1
            interrupter = Interrupter(number)
            seen: list[object] = []
            sys.settrace(interrupter)
            try:
                with make():
                    seen.append(context._current.get().subject)
                sys.settrace(None)
            except KeyboardInterrupt:
                # Before the traceback is forgotten: it may keep the block itself alive.
                proved(server, (alice, bob), interrupter.where, seen, is_handled=False)
                interrupted += 1
            finally:
                sys.settrace(None)
            proved(server, (alice, bob), interrupter.where, seen)
            if interrupter.left > 0:
                break  # it has been interrupted at each of them
        assert interrupted > 100, interrupted
        print("interrupted at", interrupted, "instructions")


class Both:
    """One block in another, as `with a, b:` nests them."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = blocks

    def __enter__(self) -> None:
        self.work = self.run()
        next(self.work)

    def run(self) -> Any:
        outer, inner = self.blocks
        self.blocks = ()
        with outer:
            del outer
            with inner:
                del inner
                yield

    def __exit__(self, *error: object) -> None:
        for _ in self.work:
            raise AssertionError("it yields once")


def by_timer(server: Any, alice: Any, bob: Any) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    for number in range(ROUNDS):
        seen: list[object] = []
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + (number % 400) * 2e-6)
            with alice.impersonate():
                with bob.impersonate():
                    token = effective_token()
                seen.append(token)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
            proved(server, (alice, bob), f"round {number}", [], is_handled=False)
        assert seen in ([], [bob.token])
        proved(server, (alice, bob), f"round {number}", [])
    assert interrupted > ROUNDS / 10, interrupted
    print("interrupted in", interrupted, "rounds")


def proved(
    server: Any, clients: Any, where: str, seen: list[Any], *, is_handled: bool = True
) -> None:
    """Raise unless this thread is the server and nothing is left of the block."""
    assert server.token == effective_token(), where
    assert context.watched_frame() is None, where
    assert not context._here.clients, where
    subjects = [client.subject for client in clients] + [None]
    assert all(subject in subjects for subject in seen), where
    if is_handled:
        live = server._house.guard.liveness._table.by_id
        for client in clients:
            session = live[client.token.logon_id]
            assert (1, set()) == (session.holds, session.holders), where


if __name__ == "__main__":
    main(sys.argv[1])
