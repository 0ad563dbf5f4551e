"""What stops raw acts in a client's block, where the kernel would judge the server."""

# The raw acts themselves are what is refused.
# ruff: noqa: ARG005, PTH101, PTH102, PTH104, PTH105, PTH106, PTH123, PTH208, PTH211
# ruff: noqa: S605, S606, SIM115
from __future__ import annotations

import asyncio
import codecs
import contextvars
import ctypes
import io
import multiprocessing.popen_forkserver
import multiprocessing.popen_spawn_posix
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import traceback
from dataclasses import replace
from importlib import import_module

import pytest

from stead.errors import AccessDeniedError, LateImportError
from stead.model.audit_record import AuditEvent
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor import frames
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block, impersonate
from stead.monitor.ports import Given

# Exit code 9: a program that replaces the test's own process is no success.
ARGV = [sys.executable, "-c", "raise SystemExit(9)"]


def fork():
    if os.fork() == 0:
        os._exit(9)


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.connect(address)


def bind(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.bind(address)


def send(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"", address)


def multiprocess(how):
    context = multiprocessing.get_context(how)
    child = context.Process(target=int)
    child.start()
    child.join()
    assert 0 == child.exitcode


FILES = {
    "open": lambda path: path.read_text(),
    "os.open": lambda path: os.open(path, os.O_RDONLY),
    "open bytes": lambda path: io.open_code(str(path)),
    "listdir": lambda path: os.listdir(path.parent),
    "scandir": lambda path: os.scandir(path.parent),
    "remove": os.remove,
    "unlink": os.unlink,
    "rename": lambda path: os.rename(path, f"{path}-new"),
    "replace": lambda path: os.replace(path, f"{path}-new"),
    "rmdir": lambda path: os.rmdir(path.parent / "folder"),
    "mkdir": lambda path: os.mkdir(f"{path}-folder"),
    "link": lambda path: os.link(path, f"{path}-link"),
    "symlink": lambda path: os.symlink(path, f"{path}-link"),
    "truncate": lambda path: os.truncate(path, 0),
    "chmod": lambda path: os.chmod(path, 0o600),
    "chown": lambda path: os.chown(path, -1, -1),
    "utime": os.utime,
    "chdir": lambda path: os.chdir(path.parent),
    "getxattr": lambda path: os.getxattr(path, "user.stead"),
    "setxattr": lambda path: os.setxattr(path, "user.stead", b""),
    "listxattr": os.listxattr,
    "removexattr": lambda path: os.removexattr(path, "user.stead"),
    "sqlite": lambda path: sqlite3.connect(path.parent / "db"),
    "library": lambda path: ctypes.CDLL("libc.so.6"),
}
PROCESSES = {
    "popen": lambda path: subprocess.Popen(ARGV),
    "fork": lambda path: fork(),
    "exec": lambda path: os.execv(sys.executable, ARGV),
    "spawn": lambda path: os.posix_spawn(sys.executable, ARGV, {}),
    "system": lambda path: os.system("true"),
    "kill": lambda path: os.kill(os.getpid(), 0),
    "killpg": lambda path: os.killpg(os.getpgrp(), 0),
    "pty": lambda path: pty.spawn(ARGV),
    "signal": lambda path: signal.pthread_kill(threading.get_ident(), 0),
    "multiprocessing": lambda path: multiprocess("spawn"),
    "multiprocessing's server": lambda path: multiprocess("forkserver"),
}
SOCKETS = {
    "connect": lambda path: connect(socket.AF_INET, ("127.0.0.1", 9)),
    "bind": lambda path: bind(socket.AF_INET, ("127.0.0.1", 0)),
    "send": lambda path: send(("127.0.0.1", 9)),
    "local connect": lambda path: connect(socket.AF_UNIX, str(path)),
    "local bind": lambda path: bind(socket.AF_UNIX, f"{path}-socket"),
}
ACTS = FILES | PROCESSES | SOCKETS


class JudgedHere:
    """An enforcer that says the kernel judges, as a hardened thread's does."""

    def enter(self, token):
        return Given(is_kernel=token is not None, leave=lambda: None)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes").write_text("notes")
    return tmp_path / "notes"


@pytest.fixture
def judged(guard, alice):
    """A guard whose blocks the kernel judges, as far as Python can tell."""
    judging = replace(guard, enforcer=JudgedHere(), verbs=frozenset({"client.open"}))
    return lambda: Block(FrameKind.CLIENT, alice.subject, judging)


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_raw_act_inside_a_block_is_refused(alice, path, act):
    with alice.impersonate(), pytest.raises(AccessDeniedError, match="is refused"):
        act(path)
    assert "notes" == path.read_text()


def test_outside_a_block_multiprocessing_starts_what_it_always_did(alice):
    naive = subprocess.run(  # which Python's own audit events do not tell
        [sys.executable, "-c", _UNTOLD], capture_output=True, text=True, check=True
    )
    assert "started\n" == naive.stdout
    with alice.impersonate():
        pass
    multiprocess("spawn")
    with alice.impersonate(), pytest.raises(AccessDeniedError, match="client"):
        multiprocess("spawn")


_UNTOLD = """
import multiprocessing.popen_spawn_posix, sys
def refuse(event, arguments):
    if event in {"os.fork", "os.posix_spawn", "subprocess.Popen", "os.exec"}:
        raise PermissionError(event)
sys.addaudithook(refuse)
child = multiprocessing.get_context("spawn").Process(target=int)
child.start()
child.join()
print("started")
"""


def test_the_naive_variant_opens_what_the_block_refuses(alice, path):
    assert "notes" == path.read_text()  # as the server, silently
    with alice.impersonate(), pytest.raises(AccessDeniedError) as refused:
        path.read_text()
    assert f"{__file__}:" in str(refused.value)
    assert "the kernel would judge the server, not the client" in str(refused.value)


def test_threads_are_born_under_a_trace_function_whatever_others_do():
    def lost(hook, rounds=50):
        program = [sys.executable, "-c", _TRACED, hook, str(rounds)]
        unmeasured = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
        done = subprocess.run(
            program, capture_output=True, text=True, check=True, env=unmeasured
        )
        return int(done.stdout)

    if sys.version_info < (3, 12):  # which sets one trace function at a time
        assert lost("sys.addaudithook(give_way)", 2000)
        # Python makes objects for a hook in C too, and collects garbage then.
        assert lost("sys.addaudithook(''.format)", 2000)
    if frames.TWIN is not None:
        assert not lost("frames.add_hook(frozenset({'open'}), give_way)")
        assert not lost("tripwire.install()")


_TRACED = """
import gc, sys, threading, time
from stead.monitor import frames, tripwire
def give_way(*event):
    time.sleep(0)
lost = []
sys.unraisablehook = lost.append
def set_often():
    for number in range(100):
        garbage = [[] for _ in range(number % 7)]
        try:
            sys.settrace(None)
        except RuntimeError as error:
            lost.append(error)
exec(sys.argv[1])
gc.callbacks.append(give_way)
gc.set_threshold(5)
threading.settrace(lambda frame, event, argument: None)
sys.setswitchinterval(1e-6)
for _ in range(int(sys.argv[2])):
    threads = [threading.Thread(target=set_often) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if lost:
        break
print(len(lost))
"""


def test_a_refusal_is_in_the_trail_with_its_path(alice, path, trail, chain_of):
    with alice.impersonate():
        with pytest.raises(AccessDeniedError):
            os.open(os.fsencode(path), os.O_RDONLY)
        with pytest.raises(AccessDeniedError):
            os.rename(path, f"{path}-new")
    opened, renamed = trail(AuditEvent.RAW_ACT_REFUSED)
    assert (str(path), ["notes", "alice"]) == (opened.object_name, chain_of(opened))
    assert f"{path} -> {path}-new" == renamed.object_name
    assert "os.rename" == renamed.detail["asked by"]


def test_descriptors_that_are_open_already_may_be_used(alice, path):
    descriptor = os.open(path, os.O_RDONLY)
    with alice.impersonate(), open(descriptor) as file:
        assert "notes" == file.read()


def test_nothing_is_refused_outside_blocks_and_as_the_server(
    server, guard, alice, path
):
    with alice.impersonate():
        pass
    assert "notes" == path.read_text()
    with alice.impersonate(), server.as_server():
        assert "notes" == path.read_text()
    with Block(FrameKind.HANDLER, None, guard), server.as_server():
        assert "notes" == path.read_text()


@pytest.mark.parametrize(
    "act",
    [
        lambda path: path.read_text(),
        lambda path: path.write_text("overwritten"),
        lambda path: subprocess.run(["true"], check=True),
        lambda path: socket.create_connection(("127.0.0.1", 9)),
        lambda path: socket.getaddrinfo("localhost", 80),
    ],
)
def test_a_handler_that_has_not_said_who_it_is_does_nothing_raw(
    guard, path, act, trail
):
    with (
        Block(FrameKind.HANDLER, None, guard),
        pytest.raises(AccessDeniedError, match="has not said who it is") as refused,
    ):
        act(path)
    assert "with server.as_server()" in refused.value.advice
    assert "notes" == path.read_text()
    assert trail(AuditEvent.RAW_ACT_REFUSED)


def test_a_handler_may_import_what_it_needs_late(guard, tmp_path, monkeypatch):
    (tmp_path / "imported_in_a_handler.py").write_text("answer = 42")
    monkeypatch.syspath_prepend(tmp_path)
    with Block(FrameKind.HANDLER, None, guard):
        assert 42 == import_module("imported_in_a_handler").answer


def test_a_fresh_context_inside_a_block_is_in_the_block(alice, path):
    with (
        alice.impersonate(),
        pytest.raises(AccessDeniedError, match="inside the impersonation block"),
    ):
        contextvars.Context().run(path.read_text)
    assert "notes" == contextvars.Context().run(path.read_text)


def test_other_threads_go_on_as_usual(alice, path):
    answers = []
    with alice.impersonate():
        thread = threading.Thread(target=lambda: answers.append(path.read_text()))
        thread.start()
        thread.join()
    assert ["notes"] == answers


def test_a_traceback_can_be_written_inside_a_block(alice):
    with alice.impersonate():
        try:
            int("notes")
        except ValueError:
            told = traceback.format_exc()
    assert "ValueError" in told


# --- imports ----------------------------------------------------------------------


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stead_late.py").write_text("VALUE = 1\n")
    yield "stead_late"
    sys.modules.pop("stead_late", None)


def test_a_first_import_is_refused_and_works_after_the_block(alice, module):
    with alice.impersonate():
        with pytest.raises(LateImportError, match="stead_late"):
            import_module(module)
        with pytest.raises(RuntimeError):  # no ImportError, which is remembered
            import_module(module)
    assert 1 == import_module(module).VALUE


def test_a_module_that_is_loaded_may_be_imported(alice, module):
    import_module(module)
    with alice.impersonate():
        assert 1 == import_module(module).VALUE


def test_a_codecs_first_lookup_is_refused_and_works_after_the_block(alice):
    assert "encodings.cp1006" not in sys.modules
    with alice.impersonate(), pytest.raises(LateImportError):
        codecs.lookup("cp1006")
    assert "cp1006" == codecs.lookup("cp1006").name


def test_the_server_may_import_inside_a_clients_block(server, alice, module):
    with alice.impersonate(), server.as_server():
        assert 1 == import_module(module).VALUE


# --- where the kernel judges ------------------------------------------------------


def test_files_and_local_sockets_are_the_kernels_matter(judged, path, trail):
    with judged():
        assert "notes" == path.read_text()
        SOCKETS["local bind"](path)
    noted = [
        (record.detail["asked by"], record.object_name)
        for record in trail(AuditEvent.HANDLE_REQUESTED)
    ]
    assert ("open", str(path)) in noted
    assert "socket.bind" in [event for event, _ in noted]


@pytest.mark.parametrize("name", [*PROCESSES, "connect", "bind", "send"])
def test_processes_and_the_network_are_refused_there_too(judged, path, name):
    with judged(), pytest.raises(AccessDeniedError):
        ACTS[name](path)


def test_a_task_on_that_thread_is_judged_by_the_kernel_too(judged, path):
    async def work():
        return path.read_text()

    with judged():
        assert "notes" == asyncio.run(work())


# --- what the refusal advises -----------------------------------------------------


def advice_of(act, path):
    with pytest.raises(AccessDeniedError) as refused:
        act(path)
    return refused.value.advice


def test_advice_names_client_open_only_where_the_server_has_it(guard, alice, path):
    with alice.impersonate():
        assert "client.open" not in advice_of(FILES["open"], path)
    opening = replace(guard, verbs=frozenset({"client.open"}))
    with Block(FrameKind.CLIENT, alice.subject, opening):
        assert "client.open" in advice_of(FILES["open"], path)
        assert "client.open" not in advice_of(PROCESSES["popen"], path)


@pytest.mark.parametrize("name", ["popen", "fork", "exec", "spawn", "system", "pty"])
def test_advice_names_client_start_only_where_the_server_has_it(
    guard, alice, path, name
):
    with alice.impersonate():
        assert "client.start" not in advice_of(PROCESSES[name], path)
    starting = replace(guard, verbs=frozenset({"client.open", "client.start"}))
    with Block(FrameKind.CLIENT, alice.subject, starting):
        advice = advice_of(PROCESSES[name], path)
        assert "client.start(argv)" in advice
        assert "with server.as_server()" in advice
        assert "client.start" not in advice_of(PROCESSES["kill"], path)
        assert "client" not in advice_of(SOCKETS["connect"], path)


def test_the_servers_own_token_is_asked_for_by_name(server, alice):
    script = [sys.executable, "-c", "import os; print(os.getuid())"]
    with alice.impersonate():
        with pytest.raises(AccessDeniedError) as refused:
            subprocess.run(script, check=True, capture_output=True)
        assert "with server.as_server():" in refused.value.advice
        with server.as_server():
            ran = subprocess.run(script, check=True, capture_output=True)
    assert b"%d\n" % os.getuid() == ran.stdout


def test_every_verb_that_advice_names_exists(server, alice, path):
    with alice.impersonate():
        advice = advice_of(FILES["open"], path)
    assert "server.as_server()" in advice
    assert hasattr(server, "as_server")
    assert hasattr(server, "executor")
    assert hasattr(alice, "open")
    assert hasattr(alice, "start")


def test_without_a_server_raw_acts_are_refused_and_nobody_records_it(path):
    token = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
    with impersonate(token):
        assert "client.open" not in advice_of(FILES["open"], path)
