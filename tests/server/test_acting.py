"""What is checked, recorded and held before anything acts for a client."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest

from stead.errors import (
    BadImpersonationLevelError,
    EnforcementUnavailableError,
    ImpersonationRefusedError,
    InvalidRequestError,
    KernelRefusedError,
    LauncherUnavailableError,
    LedgerUnavailableError,
    LogonFailureError,
    LogonSessionEndedError,
    NotPlainDataError,
    PrivilegeNotHeldError,
    ProcessTimeoutError,
    QuotaExceededError,
    ServerClosedError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.logon_record import LogonType
from stead.model.privilege import Privilege
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel, TokenType
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.server.acting.acting import Acting, _shown
from stead.server.acting.called import CalledFunction
from stead.server.acting.starting import _how
from stead.server.client_context import ClientContext
from stead.server.enforcement import Enforcement

SECONDS = 60
ERIN = 70_911  # nobody else's
TREE = ["/bin/sh", "-c", "setsid sleep 600 & sleep 600"]
CREATED, EXITED = AuditEvent.PROCESS_CREATED, AuditEvent.PROCESS_EXITED
RUN, ENDED = AuditEvent.FUNCTION_RUN, AuditEvent.FUNCTION_ENDED


@pytest.fixture
def theirs(kernel_server, client_of):
    return client_of(kernel_server, "alice")


@pytest.fixture
def records(kernel_server):
    """Give what returns the records of some events, in order."""

    def find(*events):
        return [
            record
            for _, record in kernel_server.trail.find(Query())
            if record.event in events
        ]

    return find


@pytest.fixture
def failed(kernel_server):
    """Give what returns the record that an error knows."""

    def find(error):
        record = next(kernel_server.trail.find(Query(after=error.record - 1)))[1]
        assert Outcome.FAILURE is record.outcome
        return record

    return find


def acting_with(server, guard: Guard) -> Acting:
    acting = server._house.acting
    return Acting(guard, acting._sessions, acting._identity, acting._means, acting.hops)


def client_with(server, client, guard: Guard) -> ClientContext:
    acting = acting_with(server, guard)
    return ClientContext(client.subject, guard, acting=acting, end=None)


# --- where the kernel judges nobody -----------------------------------------------


def test_without_the_kernel_nothing_acts(server, alice):
    for act in (lambda: alice.start(["id"]), lambda: alice.run(os.getpid)):
        with pytest.raises(EnforcementUnavailableError, match="no kernel judges"):
            act()
    server._house.acting.open()


# --- who may be acted for ---------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize(
    "level", [ImpersonationLevel.IDENTIFICATION, ImpersonationLevel.ANONYMOUS]
)
def test_a_level_below_impersonation_starts_and_runs_nothing(
    kernel_server, client_of, failed, level, world
):
    alice = client_of(kernel_server, "alice", level=level)
    for act in (
        lambda: alice.start(["/usr/bin/touch", str(world / "made")]),
        lambda: alice.run(Path.touch, world / "made"),
    ):
        with pytest.raises(BadImpersonationLevelError) as refused:
            act()
        assert AuditEvent.IMPERSONATION_REFUSED is failed(refused.value).event
    assert not (world / "made").exists()


@pytest.mark.root
def test_an_account_without_a_uid_is_judged_and_never_acted_for(
    kernel_server, client_of, failed
):
    nobody = client_of(kernel_server, "root of the store")
    for act, event in ((nobody.start, CREATED), (nobody.run, RUN)):
        with pytest.raises(ImpersonationRefusedError, match="has no uid") as refused:
            act(["id"] if event is CREATED else os.getpid)
        assert event is failed(refused.value).event


@pytest.mark.root
@pytest.mark.parametrize("uid", [0, 1, 65530])
def test_root_the_guard_and_system_uids_are_never_acted_for(
    kernel_server, theirs, uid, monkeypatch
):
    session = kernel_server._house.acting._sessions.of(theirs.token)
    session.posix = replace(session.posix, uid=uid)
    for act in (lambda: theirs.start(["id"]), lambda: theirs.run(os.getpid)):
        with pytest.raises(ImpersonationRefusedError):
            act()


@pytest.mark.root
def test_a_token_that_uids_cannot_express_starts_nothing(kernel_server, theirs):
    token = theirs.token
    lowered = replace(token, groups=token.groups[:-1])
    subject = Subject(lowered, theirs.subject.principal)
    acting = kernel_server._house.acting
    odd = ClientContext(subject, kernel_server._house.guard, acting=acting, end=None)
    with pytest.raises((ImpersonationRefusedError, LogonSessionEndedError)):
        odd.start(["id"])


@pytest.mark.root
def test_the_servers_own_token_starts_no_clients_process(kernel_server):
    house = kernel_server._house
    own = ClientContext(house.subject, house.guard, acting=house.acting, end=None)
    with pytest.raises(ImpersonationRefusedError, match="own token"):
        own.start(["id"])


@pytest.mark.root
def test_an_impersonation_token_is_duplicated_to_a_primary_one(
    kernel_server, theirs, monkeypatch
):
    assert TokenType.IMPERSONATION is theirs.token.type
    seen = []
    acting = kernel_server._house.acting
    known = acting._identity

    def identity(token):
        seen.append(token.type)
        return known(token)

    monkeypatch.setattr(acting._starts, "_identity", identity)
    with theirs.start(["/bin/true"]):
        pass
    assert [TokenType.PRIMARY] == seen


@pytest.mark.root
@pytest.mark.parametrize(
    "lacked", [Privilege.ASSIGN_PRIMARY_TOKEN, Privilege.INCREASE_QUOTA]
)
def test_a_server_without_the_privileges_starts_nothing(
    open_server, world, client_of, lacked
):
    (world / "store").mkdir(mode=0o700)
    held = (
        Privilege.TCB,
        Privilege.IMPERSONATE,
        Privilege.ASSIGN_PRIMARY_TOKEN,
        Privilege.INCREASE_QUOTA,
    )
    server = open_server(
        store=world / "store" / "notes.db",
        enforcement=Enforcement.KERNEL,
        kernel_threads=1,
        privileges=tuple(p for p in held if p is not lacked),
    )
    server.accounts.add("alice", uid=70001)
    alice = client_of(server, "alice")
    with pytest.raises(PrivilegeNotHeldError, match=lacked.value) as refused:
        alice.start(["id"])
    assert refused.value.record is not None
    assert 70001 == alice.run(os.getuid)  # which needs no primary token


@pytest.mark.root
def test_privileges_that_are_held_need_not_be_enabled(kernel_server, theirs):
    guard = kernel_server._house.guard
    token = guard.process_token
    off = tuple(replace(entry, attributes=0) for entry in token.privileges)
    disabled = replace(guard, process_token=replace(token, privileges=off))
    with client_with(kernel_server, theirs, disabled).start(["/bin/true"]) as process:
        assert 0 == process.wait(SECONDS)
    with pytest.raises(PrivilegeNotHeldError):  # functions impersonate: enabled
        client_with(kernel_server, theirs, disabled).run(os.getpid)


@pytest.mark.root
def test_an_ended_session_starts_and_runs_nothing(theirs):
    theirs.close()
    for act in (lambda: theirs.start(["id"]), lambda: theirs.run(os.getpid)):
        with pytest.raises(LogonSessionEndedError):
            act()


# --- what is recorded -------------------------------------------------------------


@pytest.mark.root
def test_a_process_is_recorded_before_it_starts_and_when_it_ends(theirs, records):
    with theirs.start(["/bin/sh", "-c", "exit 3", "secret"]) as process:
        process.wait(SECONDS)
    [created, exited] = records(CREATED, EXITED)
    assert ("/bin/sh", "3") == (created.object_name, created.detail["arguments"])
    assert ["notes", "alice"] == [link.name for link in created.chain]
    assert ("3", str(process.pid)) == (exited.detail["exit code"], exited.detail["pid"])
    assert exited.detail["announced by"]
    assert "secret" not in repr((created, exited))
    assert "secret" not in repr(process)


@pytest.mark.root
def test_neither_arguments_nor_values_nor_variables_are_recorded(theirs, records):
    with theirs.start(["/bin/true", "tiger"], environment={"WORD": "tiger"}):
        pass
    assert "tiger" == theirs.run(str, "tiger")
    with pytest.raises(ValueError, match="tiger"):
        theirs.run(int, "tiger")
    everything = records(*AuditEvent)
    assert "tiger" not in repr(everything)
    [ran, ended, *_] = records(RUN, ENDED)
    assert ("builtins:str", "1") == (ran.object_name, ran.detail["arguments"])
    assert ENDED is ended.event
    assert "the function raised ValueError" in repr(everything)


@pytest.mark.root
def test_a_refusal_by_the_kernel_is_recorded_again(theirs, records, failed):
    with pytest.raises(KernelRefusedError) as refused:
        theirs.start(["/etc/shadow"])
    [announced, again] = records(CREATED)
    assert Outcome.SUCCESS is announced.outcome
    assert again == failed(refused.value)
    assert again.detail["announced by"]
    assert [] == records(EXITED)


class Full:
    """A sink whose disk is full for some events."""

    def __init__(self, sink, *events):
        self.sink = sink
        self.events = events

    def record(self, record, *, is_reserved=False):
        if record.event in self.events:
            raise LedgerUnavailableError("the disk is full")
        return self.sink.record(record)

    def queue(self, record):
        self.sink.queue(record)


@pytest.mark.root
def test_what_cannot_be_recorded_is_not_started_and_does_not_run(
    kernel_server, theirs, world
):
    world.chmod(0o777)
    guard = kernel_server._house.guard
    naive, made = world / "naive", world / "made"
    with theirs.start(["/usr/bin/touch", str(naive)]):
        pass
    full = replace(guard, sink=Full(guard.sink, CREATED, RUN))
    client = client_with(kernel_server, theirs, full)
    for act in (
        lambda: client.start(["/usr/bin/touch", str(made)]),
        lambda: client.run(Path.touch, made),
    ):
        with pytest.raises(LedgerUnavailableError):
            act()
    assert naive.exists()
    assert not made.exists()
    assert {} == kernel_server._house.acting._starts._at_work


# --- how much one client may have -------------------------------------------------


@pytest.fixture
def small_server(open_server, world):
    (world / "store").mkdir(mode=0o700)
    server = open_server(
        store=world / "store" / "notes.db",
        enforcement=Enforcement.KERNEL,
        kernel_threads=1,
        processes_per_client=2,
    )
    server.accounts.add("alice", uid=70001)
    server.accounts.add("bob", uid=70002)
    return server


@pytest.mark.root
def test_a_client_has_a_bounded_number_of_processes_and_others_theirs(
    small_server, client_of
):
    alice, bob = client_of(small_server, "alice"), client_of(small_server, "bob")
    again = client_of(small_server, "alice")
    with (
        alice.start(["/bin/cat"], stdin=PIPE),
        alice.start(["/bin/cat"], stdin=PIPE),
    ):
        with pytest.raises(QuotaExceededError, match="70001") as refused:
            again.start(["/bin/true"])  # another session of the same client
        assert refused.value.record is not None
        with bob.start(["/bin/true"]):
            pass
    with pytest.raises(KernelRefusedError):
        alice.start(["/no/such"])
    with alice.start(["/bin/cat"], stdin=PIPE), again.start(["/bin/cat"], stdin=PIPE):
        pass


def test_a_program_that_is_refused_leaves_its_place_to_the_next(
    small_server, client_of
):
    alice = client_of(small_server, "alice")

    async def refused_and_next():
        with pytest.raises(KernelRefusedError):
            await alice.aio.start(["/no/such"])
        async with await alice.aio.start(["/bin/true"]):
            pass

    with alice.start(["/bin/cat"], stdin=PIPE):
        for _ in range(20):
            with pytest.raises(KernelRefusedError):
                alice.start(["/no/such"])
            with alice.start(["/bin/true"]):
                pass
            asyncio.run(refused_and_next())


def test_a_server_whose_clients_could_have_no_process_does_not_open(open_server):
    with pytest.raises(InvalidRequestError, match="at least one"):
        open_server(processes_per_client=0)
    with pytest.raises(InvalidRequestError, match="not several"):
        open_server(worker_modules="app.jobs")


@pytest.mark.parametrize(
    "name", ["no_such_module", "stead.nothing", "stead.errors.x", ""]
)
def test_a_module_that_workers_would_miss_is_missed_at_once(open_server, name):
    with pytest.raises(InvalidRequestError, match="no module"):
        open_server(worker_modules=("json", name))


@pytest.mark.root
def test_a_session_that_was_closed_begins_nothing_new(kernel_server):
    kernel_server.accounts.set_password("alice", Secret("right horse"))
    with kernel_server.log_on("alice", "right horse") as session:
        process = session.start(["/bin/cat"], stdin=PIPE, stdout=PIPE)
    for act in (
        lambda: session.start(["/bin/true"]),
        lambda: session.run(os.getpid),
        lambda: session.open("/etc/hostname"),
        session.impersonate,
    ):
        with pytest.raises(LogonSessionEndedError, match="was closed"):
            act()
    with process:
        assert (b"goes on", None) == process.communicate(b"goes on", SECONDS)


# --- how long a session lives -----------------------------------------------------


def is_live(server, client):
    try:
        server._house.acting._sessions.require_live(client.token)
    except LogonSessionEndedError:
        return False
    return True


@pytest.mark.root
def test_a_session_ends_when_its_process_has_ended_and_not_before(
    kernel_server, theirs, records
):
    process = theirs.start(["/bin/cat"], stdin=PIPE, stdout=PIPE)
    theirs.close()
    assert is_live(kernel_server, theirs)
    assert (b"still here", None) == process.communicate(b"still here", SECONDS)
    with process:
        pass
    wait_until(lambda: not is_live(kernel_server, theirs))
    wait_until(lambda: records(AuditEvent.LOGOFF))
    ends = [r.event for r in records(EXITED, AuditEvent.LOGOFF)]
    assert [EXITED, AuditEvent.LOGOFF] == ends


@pytest.mark.root
def test_what_another_server_disables_ends_here_though_nobody_asks(
    open_server, tmp_path, client_of
):
    store = tmp_path / "shared.db"
    ours = open_server("ours", store=store, enforcement=Enforcement.KERNEL)
    other = open_server("ours", store=store)
    ours.accounts.add("erin", uid=ERIN)
    with client_of(ours, "erin").start(["/bin/cat"], stdin=PIPE) as process:
        other.accounts.disable("erin")
        assert -signal.SIGKILL == process.wait(SECONDS)


@pytest.mark.root
def test_a_closed_server_has_recorded_the_end_of_every_session(
    open_server, tmp_path, client_of
):
    store = tmp_path / "closed.db"
    server = open_server("notes", store=store)
    server.accounts.add("erin", uid=ERIN)
    client = client_of(server, "erin")
    server.close()
    client.close()  # too late to be recorded
    with open_server("notes", store=store) as again:
        events = [record.event for _, record in again.trail.find(Query())]
    stopped = events.index(AuditEvent.TRAIL_STOPPED)
    assert 1 == events[:stopped].count(AuditEvent.LOGOFF)


def names_of(uid):
    """Return what the processes of a uid are called."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if f"\nUid:\t{uid}" in (entry / "status").read_text():
                found.append((entry / "comm").read_text().strip())
    return found


def wait_until(claim):
    deadline = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # between two looks, not for timing


@pytest.mark.root
def test_a_session_that_is_ended_takes_its_processes_and_calls_with_it(
    kernel_server, client_of
):
    kernel_server.accounts.add("erin", uid=ERIN)
    theirs = client_of(kernel_server, "erin")
    logon_id = theirs.token.logon_id
    with theirs.start(TREE, timeout=SECONDS) as process:
        answers = []

        def call():
            try:
                theirs.run(time.sleep, 600)
            except LogonSessionEndedError as error:
                answers.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        wait_until(lambda: any(n.startswith("python") for n in names_of(ERIN)))
        assert kernel_server._house.acting._sessions.end(logon_id)
        assert -signal.SIGKILL == process.wait(SECONDS)
        thread.join(SECONDS)
    assert 1 == len(answers)
    wait_until(lambda: not names_of(ERIN))
    assert set() == kernel_server._house.acting._watched


@pytest.mark.root
def test_a_session_that_ends_while_something_starts_takes_it_along(
    kernel_server, theirs, monkeypatch
):
    acting = kernel_server._house.acting
    sessions = acting._sessions
    hold = sessions.hold

    def hold_and_end(token):
        hold(token)
        sessions.end(token.logon_id)

    monkeypatch.setattr(sessions, "hold", hold_and_end)
    with pytest.raises(LogonSessionEndedError):
        theirs.run(os.getpid)


@pytest.mark.root
def test_disabling_an_account_ends_its_processes(kernel_server, theirs):
    with theirs.start(["/bin/sleep", "600"], timeout=SECONDS) as process:
        kernel_server.accounts.disable("alice")
        assert -signal.SIGKILL == process.wait(SECONDS)


# --- a client that is logged on ---------------------------------------------------


@pytest.mark.root
def test_a_logon_session_starts_runs_and_opens_with_its_primary_token(
    kernel_server, world
):
    kernel_server.accounts.set_password("alice", Secret("correct horse"))
    (world / "notes").write_text("for everybody")
    with kernel_server.log_on("alice", "correct horse") as session:
        assert TokenType.PRIMARY is session.token.type
        with session.start(["id", "-u"], stdout=PIPE) as process:
            assert (b"70001\n", None) == process.communicate(timeout=SECONDS)
        assert 70001 == session.run(os.getuid)
        with session.open(world / "notes") as file:
            assert "for everybody" == file.read()
        assert 70001 == asyncio.run(session.aio.run(os.getuid))


@pytest.mark.root
def test_logging_off_kills_and_closing_lets_live(kernel_server):
    kernel_server.accounts.set_password("alice", Secret("correct horse"))
    sessions = [kernel_server.log_on("alice", "correct horse") for _ in range(2)]
    killed, kept = (
        session.start(["/bin/cat"], stdin=PIPE, timeout=SECONDS) for session in sessions
    )
    sessions[0].log_off()
    sessions[1].close()
    with killed:
        assert -signal.SIGKILL == killed.wait(SECONDS)
    assert kept.poll() is None
    with kept:
        pass
    assert 0 == kept.returncode


@pytest.mark.parametrize("given", ["wrong", b"wrong", Secret("wrong")])
def test_a_password_that_is_wrong_is_one_logon_failure(server, given, trail):
    with pytest.raises(LogonFailureError) as refused:
        server.log_on("alice", given, LogonType.NETWORK, gate="test", peer="a test")
    [record] = trail(AuditEvent.LOGON_FAILED)
    assert ("test", "a test") == (record.gate, record.peer)
    assert refused.value.record is not None
    assert "wrong" not in repr(record)


# --- functions --------------------------------------------------------------------


@pytest.mark.root
def test_a_function_runs_in_a_process_that_is_the_client(kernel_server, theirs):
    assert (70001, 70001, 70001) == theirs.run(os.getresuid)
    assert os.getpid() != theirs.run(os.getpid)

    def in_a_block():
        with theirs.impersonate():
            return theirs.run(os.getresuid)

    assert (70001,) * 3 == kernel_server.executor().submit(in_a_block).result(SECONDS)
    with theirs.impersonate():
        assert (70001,) * 3 == theirs.run(os.getresuid)


@pytest.mark.root
def test_a_function_raises_here_and_what_is_none_is_refused(theirs, records):
    with pytest.raises(FileNotFoundError):
        theirs.run(os.stat, "/no/such")
    with pytest.raises(InvalidRequestError):
        theirs.run(lambda: 1)
    with pytest.raises(NotPlainDataError):
        theirs.run(str, threading.Lock())
    with pytest.raises(ProcessTimeoutError):
        theirs.run(time.sleep, 600, timeout=0.1)
    refused = [r for r in records(RUN) if r.outcome is Outcome.FAILURE]
    assert 2 == len(refused)
    assert all(r.detail["announced by"] for r in refused)


@pytest.mark.root
def test_a_function_that_is_interrupted_is_cancelled_and_told():
    told = []
    future = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        CalledFunction(future, told.append).take()
    assert future.cancelled()
    assert "nobody waited" in str(told)


class Interrupted(Future):
    """A future whose waiter is interrupted."""

    def result(self, timeout=None):
        raise KeyboardInterrupt


# --- the launcher and the end -----------------------------------------------------


@pytest.mark.root
def test_a_launcher_that_is_killed_is_started_again(kernel_server, theirs):
    kernel_server._house.acting.open()
    with theirs.start(["/bin/sleep", "600"], timeout=SECONDS) as process:
        for pid in launchers():
            os.kill(pid, signal.SIGKILL)
        assert -signal.SIGKILL == process.wait(SECONDS)
    # A keeper that waits may outlive its launcher for a moment; then all know of it.
    started = kernel_server._house.acting._means.programs._processes[-1]
    wait_until(lambda: started.is_gone)
    with theirs.start(["/bin/true"]) as process:
        assert 0 == process.wait(SECONDS)


def launchers():
    """Return the processes that this one started to start others."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            is_ours = f"\nPPid:\t{os.getpid()}\n" in (entry / "status").read_text()
            if is_ours and b"bootstrap" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.root
def test_closing_the_server_ends_what_acts_and_records_it(
    kernel_server, theirs, open_server, world
):
    process = theirs.start(["/bin/sleep", "600"], timeout=600)
    waiting = threading.Thread(target=process.wait)
    waiting.start()
    kernel_server.close()
    waiting.join(SECONDS)
    assert -signal.SIGKILL == process.returncode
    with process:
        pass
    for act in (lambda: theirs.start(["id"]), lambda: theirs.run(os.getpid)):
        with pytest.raises((LedgerUnavailableError, ServerClosedError)):
            act()
    again = open_server(store=world / "store" / "notes.db")
    ends = {EXITED, AuditEvent.TRAIL_STOPPED}
    told = [r.event for _, r in again.trail.find(Query()) if r.event in ends]
    assert [EXITED, AuditEvent.TRAIL_STOPPED] == told


@pytest.mark.root
def test_a_beginning_that_takes_too_long_is_given_up(kernel_server, theirs, records):
    acting = kernel_server._house.acting
    from stead.server.acting.process_plan import Plan

    plan = Plan.of(["/bin/sleep", "600"], {"stdin": PIPE})
    life, number = acting.order(theirs.subject, plan)
    pending = Future()
    child, started = life.child, life.child.started
    life.child.started = pending
    with pytest.raises(LauncherUnavailableError, match="has not begun"):
        acting.begun(theirs.subject, plan, life, number, seconds=0)
    child.started = started
    assert child.ended.result(SECONDS) in {None, -signal.SIGKILL}
    assert [Outcome.SUCCESS, Outcome.FAILURE] == [r.outcome for r in records(CREATED)]
    wait_until(lambda: records(EXITED))


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (None, {"exit": "unknown"}),
        (0, {"exit code": "0"}),
        (-9, {"signal": "SIGKILL"}),
        (-40, {"signal": "40"}),
    ],
)
def test_the_trail_says_how_a_process_ended(status, told):
    assert told == _how(status)


def test_the_trail_names_whatever_is_called():
    assert "posix:getpid" == _shown(os.getpid)
    assert "None:" not in _shown(threading.Thread.start)
    assert _shown(3)
