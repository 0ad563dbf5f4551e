"""Processes and workers of clients, over the pipe, judged from the kernel's side."""

import os
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest

from stead.errors import SteadError
from stead.model.audit_record import AuditEvent, Outcome

pytestmark = [pytest.mark.root, pytest.mark.slow]

SECONDS = 60.0
KILLS = 40
CLIENTS = ("alice", "bob", "carol", "dave")
DENIED = "refused: access is denied"


def ids_of(uid):
    return [[uid] * 3, [uid] * 3, []]


def all_processes():
    """Return (pid, parent, real uid, command) of each process there is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = dict(
                line.split(":\t", 1)
                for line in (entry / "status").read_text().splitlines()
                if ":\t" in line
            )
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            uid = int(status["Uid"].split()[0])
            found.append((int(entry.name), int(status["PPid"]), uid, command))
    return found


def family_of(pid):
    """Return every process that came of one, launchers, keepers and clients' own."""
    processes = all_processes()
    family, known = [], {pid}
    while True:
        more = [p for p in processes if p[1] in known and p[0] not in known]
        if not more:
            return family
        family += more
        known |= {p[0] for p in more}


def processes_of(uids):
    return [p for p in all_processes() if p[2] in set(uids)]


def gone(uids):
    """Wait until no process of these uids is left; return what stays."""
    deadline = time.monotonic() + SECONDS
    while (left := processes_of(uids)) and time.monotonic() < deadline:
        time.sleep(0.02)  # between two looks, not for timing
    return left


def test_a_function_and_a_program_run_as_the_client_and_as_nobody_else(
    server, world, as_uid, asker
):
    def asks():
        me = asker()
        return [me.ask("who_runs"), me.ask("who_starts", words="-u")]

    for name in CLIENTS:
        uid = world.uids[name]
        assert [ids_of(uid), f"{uid}\n"] == as_uid(uid, asks)


def test_a_program_of_the_client_reaches_nothing_of_the_server(
    server, world, as_uid, asker
):
    store = world.store

    def asks(script):
        return asker().ask("starts", script=script)

    uid = world.uids["alice"]
    look = as_uid(
        uid, asks, f"cat {store} /proc/{server.pid}/environ; ls /proc/self/fd"
    )
    assert look["err"].count("ermission denied") == 2
    # Nothing but the three, and the one by which `ls` looks.
    assert ["0", "1", "2", "3"] == look["out"].split()
    environment = as_uid(uid, asks, "env")["out"]
    assert "STEAD" not in environment
    assert "PATH=" in environment
    assert str(Path.home()) not in environment
    back = as_uid(uid, asks, "kill -0 $PPID; kill -9 $PPID; kill -9 1; id -u")
    assert [str(uid)] == back["out"].split()
    assert 3 == back["err"].count("not permitted")


def test_a_daemon_that_a_client_leaves_behind_ends_with_its_program(
    server, world, as_uid, asker
):
    uid = world.uids["bob"]
    script = "setsid sh -c 'setsid sleep 600 & sleep 600' & sleep 0.2; echo begun"

    def asks():
        return asker().ask("starts", script=script)

    assert "begun\n" == as_uid(uid, asks)["out"]
    assert [] == gone([uid])


def test_a_fifo_and_an_endless_function_of_one_client_keep_nobody_else_waiting(
    server, world, begin, as_uid, asker
):
    fifo = world.home_of("bob") / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, world.uids["bob"], world.uids["bob"])

    def is_stuck(operation, arguments):
        with suppress(SteadError):
            asker().ask(operation, **arguments)

    for _ in range(6):
        begin(world.uids["bob"], is_stuck, "sleeps", {"seconds": 600})
        begin(world.uids["bob"], is_stuck, "reads_slowly", {"path": str(fifo)})
        begin(world.uids["bob"], is_stuck, "read", {"path": str(fifo)})

    def asks():
        me = asker()
        path = str(world.file_of("alice"))
        return [me.ask("who_runs"), me.ask("read", path=path)]

    uid = world.uids["alice"]
    for _ in range(5):
        assert [ids_of(uid), "alice's own\n"] == as_uid(uid, asks)


def test_a_password_over_the_pipe_starts_a_process_of_its_account(
    start, world, as_uid, asker
):
    server = start(passwords={"bob": "tiger", "carol": "lion"}, disabled=["carol"])
    answers = as_uid(world.uids["alice"], logs_on, asker)

    assert str(world.uids["bob"]) == answers[0]
    refusals = answers[1:]
    assert {"refused: logon failure"} == set(refusals)
    assert 0 == server.stop()
    trail = [record for _, record in world.trail()]
    failed = [r for r in trail if r.event is AuditEvent.LOGON_FAILED]
    assert len(refusals) == len(failed)
    assert len({r.detail["sub status"] for r in failed}) > 2
    assert not any("tiger" in repr(record) for record in trail)
    used = [r for r in trail if r.event is AuditEvent.EXPLICIT_CREDENTIALS]
    assert {"alice"} <= {link.name for record in used for link in record.chain}
    assert b"tiger" not in b"".join(
        file.read_bytes() for file in world.store.parent.iterdir()
    )


def logs_on(asker):
    me = asker()
    return [
        me.ask("logs_on", account=account, password=password)
        for account, password in (
            ("bob", "tiger"),
            ("bob", "wrong"),
            ("carol", "lion"),  # disabled
            ("nobody", "tiger"),
            ("dave", "tiger"),  # who has no password
        )
    ]


# --- kill -9 --------------------------------------------------------------------------


def works(asker, name, uid, mark, told):
    """Ask until the server is gone; return what was heard that must not be."""
    me, wrong = asker(mark), []
    try:
        while True:
            for operation, right in (("who_runs", ids_of(uid)), ("who_starts", None)):
                heard = me.ask(operation)
                told.send(b".")
                is_mine = heard == right or str(heard).startswith(f"uid={uid}")
                is_none = str(heard).startswith(("refused: ", "ended: "))
                if not (is_mine or is_none):
                    wrong.append([operation, heard])
    except (SteadError, OSError):
        return {"answers": me.answers, "wrong": wrong}


def test_whatever_is_killed_no_request_runs_as_another_or_without_its_record(
    world, start, begin, asker, ends
):
    server = start()
    ours, theirs = ends
    children = [
        begin(world.uids[name], works, asker, name, world.uids[name], name, theirs)
        for name in CLIENTS
    ]
    chance = random.Random(3)  # noqa: S311 - reproducible moments, not secrets
    killed = 0
    while killed < KILLS:
        for _ in range(chance.randrange(1, 8)):
            ours.recv(1)
        family = family_of(server.pid)
        if family:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(family)[0], 9)
                killed += 1
    heard = sum(len(ours.recv(64)) for _ in range(40))
    assert heard >= 40, "nothing is answered after the last kill"
    server.kill()
    results = [child.result() for child in children]

    assert [] == [wrong for result in results for wrong in result["wrong"]]
    answers = [answer for result in results for answer in result["answers"]]
    granted = [answer for answer in answers if answer[3]]
    # Work was done between the kills, not only refused.
    assert len(granted) > 2 * len(CLIENTS)
    assert [] == gone(world.uids.values())
    assert_each_has_its_record(world, granted)


def assert_each_has_its_record(world, granted):
    before = {
        "who_runs": AuditEvent.FUNCTION_RUN,
        "who_starts": AuditEvent.PROCESS_CREATED,
    }
    recorded = {}
    for _, record in world.trail():
        if record.event in before.values() and record.outcome is Outcome.SUCCESS:
            request = record.correlation.rpartition(" ")[2]
            recorded[request, record.event] = record.client.name
    for mark, number, operation, *_ in granted:
        assert mark == recorded[f"{mark}.{number}", before[operation]]
