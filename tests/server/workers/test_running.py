"""Functions in clients' own processes: as whom, what comes back, what is left."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import posixpath
import sys
import traceback
from decimal import Decimal

import pytest

from stead.errors import (
    InvalidRequestError,
    NotPlainDataError,
    WorkerFailedError,
    WorkerLostError,
)
from stead.server.workers.importable import ImportableName, name_of

pytestmark = pytest.mark.root


def test_a_function_runs_as_the_client_and_nobody_else(run, jobs):
    _, uids, gids, groups = run(jobs.whoami)
    assert ((70001,) * 3, (70001,) * 3, [75001]) == (uids, gids, groups)


def test_the_surroundings_are_the_clients_and_nothing_of_the_servers(
    run, jobs, monkeypatch
):
    monkeypatch.setenv("SERVERS_SECRET", "hunter2")
    variables, folder, umask, descriptors = run(jobs.surroundings)
    expected = {"HOME": "/home/70001", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    assert (expected, "/", 0o022) == (variables, folder, umask)
    # Its own socket, and the one that lists the folder.
    assert [0, 1, 2, 3, 4] == descriptors


def test_a_session_has_its_worker_and_no_other_session_gets_it(run, jobs):
    first = run(jobs.whoami)[0]
    assert first == run(jobs.whoami)[0]
    assert first != (other := run(jobs.whoami, number=1)[0])
    assert first != run(jobs.whoami, uid=70002)[0]
    assert other == run(jobs.whoami, number=1)[0]


def test_values_come_back_with_their_types(run, jobs):
    value = {"sizes": (1, 2.5, Decimal("3.40")), b"raw": {None, True}, "text": "\udc80"}
    found = run(jobs.echo, value)
    assert value == found
    assert Decimal is type(found["sizes"][2])


def test_arguments_may_be_what_pickle_can_carry(run, jobs):
    assert "kept" == run(jobs.opened, jobs.Box("kept"))


@pytest.mark.parametrize("size", [0, 30_000, 40_000, 3_000_000])
def test_arguments_and_values_may_be_large(run, jobs, size):
    assert size == run(jobs.size_of, b"x" * size)
    assert "\u20ac" * size == run(jobs.echo, "\u20ac" * size)


def test_an_argument_that_cannot_be_pickled_is_refused_here(run, jobs):
    with pytest.raises(NotPlainDataError, match="an argument cannot be sent"):
        run(jobs.echo, lambda: None)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1), KeyError(("k", 2)), ZeroDivisionError(), AssertionError(1),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        SyntaxError("bad", ("file", 1, 2, "text", 1, 3)), OSError("in words only"),
        FileNotFoundError(2, "No such file or directory", "/nowhere"),
        PermissionError(1, "Operation not permitted", b"/a", None, b"/b"),
        TimeoutError(110, "Connection timed out"), RuntimeError([1, {"two": 3}]),
    ],
    ids=repr,
)  # fmt: skip
def test_pythons_own_errors_are_raised_here_as_themselves(run, jobs, error):
    with pytest.raises(type(error)) as raised:
        run(jobs.raise_it, type(error), *_all_arguments(error))
    assert type(error) is type(raised.value)
    assert error.args == raised.value.args
    if isinstance(error, OSError):
        shown = [
            (one.errno, one.filename, one.filename2) for one in (error, raised.value)
        ]
        assert shown[0] == shown[1]
    text = "".join(traceback.format_exception(raised.value))
    assert "in the client's worker:" in text
    assert ", in raise_it" in text


def _all_arguments(error):
    if isinstance(error, OSError) and error.filename is not None:
        return (error.errno, error.strerror, error.filename, None, error.filename2)
    return error.args


def test_a_chain_of_errors_is_told_in_the_traceback(run, jobs):
    with pytest.raises(ValueError, match="the cause is before") as raised:
        run(jobs.raise_from)
    assert "KeyError: 'missing'" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "error_type", [StopIteration, StopAsyncIteration, json.JSONDecodeError]
)
def test_other_errors_are_told_by_name_only(run, jobs, error_type):
    args = ("a", "b", 0) if error_type is json.JSONDecodeError else ()
    with pytest.raises(WorkerFailedError) as failed:
        run(jobs.raise_it, error_type, *args)
    assert f"{error_type.__module__}.{error_type.__name__}" == failed.value.type_name


def test_what_a_client_says_does_not_reach_a_terminal_as_commands(run, jobs):
    with pytest.raises(WorkerFailedError, match=r"`jobs\.raise_own` raised") as failed:
        run(jobs.raise_own)
    assert "jobs.ClientsOwnError" == failed.value.type_name
    assert "in her own words\\x1b[2J" in failed.value.remote_traceback
    assert "\x1b" not in failed.value.remote_traceback


def test_an_error_with_arguments_that_are_no_data_is_told_by_name(run, jobs):
    with pytest.raises(WorkerFailedError, match=r"raised `builtins\.ValueError`"):
        run(jobs.raise_it, ValueError, jobs.Box("x"))


@pytest.mark.parametrize(
    ("way", "name"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")]
)
def test_what_would_end_a_process_ends_the_worker_alone(run, jobs, way, name):
    before = run(jobs.whoami)[0]
    with pytest.raises(WorkerFailedError, match=f"`builtins.{name}`"):
        run(jobs.leave, way)
    assert before != run(jobs.whoami)[0]


@pytest.mark.parametrize(("way", "status"), [("kill", "-9"), ("at once", "7")])
def test_a_worker_that_ends_before_it_answers_is_an_error(run, jobs, way, status):
    with pytest.raises(
        WorkerLostError, match=f"before it answered, with status {status}"
    ):
        run(jobs.leave, way)
    assert (70001,) * 3 == run(jobs.whoami)[1]


def test_a_value_that_is_no_data_is_refused_by_the_name_of_its_type(run, jobs):
    before = run(jobs.whoami)[0]
    with pytest.raises(
        NotPlainDataError, match=r"`jobs\.echo` returned: .*`jobs\.Pair`"
    ):
        run(jobs.echo, jobs.Pair(1, 2))
    assert before == run(jobs.whoami)[0]


def test_a_value_that_is_too_large_is_refused(make_workers, registrar, jobs):
    workers = make_workers(reply_bytes=1000)
    future = workers.run(registrar.token(70001), jobs.echo, ("x" * 1000,), seconds=60)
    with pytest.raises(NotPlainDataError, match="more than the 1000 bytes"):
        future.result(60)


@pytest.mark.parametrize("what", ["thread", "child"])
def test_a_worker_with_something_left_behind_is_not_used_again(run, jobs, what):
    assert run(jobs.leave_behind, what) != run(jobs.whoami)[0]


def test_a_function_that_forks_answers_once(run, jobs):
    assert "once" == run(jobs.fork_and_both_return)
    assert (70001,) * 3 == run(jobs.whoami)[1]


def test_the_next_function_finds_folder_and_umask_as_ever(run, jobs, home):
    assert run(jobs.move, str(home)) == run(jobs.whoami)[0]
    assert ("/", 0o022) == run(jobs.surroundings)[1:3]


def test_no_two_workers_draw_the_same_numbers(run, jobs):
    assert run(jobs.draw) != run(jobs.draw, number=1)


# --- which functions ------------------------------------------------------------------


def test_methods_of_classes_and_built_in_functions_run_too(run, jobs, home):
    assert 5 == run(jobs.Desk.add, 2, 3)
    assert "Desk" == run(jobs.Desk.name)
    assert ["home"] == run(os.listdir, str(home.parent))
    assert "/a/b" == run(posixpath.join, "/a", "b")
    assert 3 == run(int, "3")


def test_what_has_no_importable_name_is_refused_before_anything_is_sent(
    workers, registrar, jobs
):
    def local():
        pass

    stray = jobs.Desk()
    for function, why in [
        (lambda: None, "lambda or local"),
        (local, "lambda or local"),
        (stray.sit, "something else"),
        (functools.partial(jobs.echo, 1), "no name in a module"),
        (functools.wraps(jobs.echo)(lambda value: value), "something else"),
        ([].append, "no name in a module"),
        (stray, "no name in a module"),
    ]:
        with pytest.raises(InvalidRequestError, match=why) as refused:
            workers.run(registrar.token(70001), function, (), seconds=1)
        assert "put a plain function into a module" in refused.value.advice
    assert 0 == registrar.asked


def test_the_name_of_a_function_is_what_another_process_imports(jobs):
    assert ImportableName("jobs", "Desk.add") == name_of(jobs.Desk.add)
    assert "jobs.Desk.name" == str(name_of(jobs.Desk.name))
    assert ImportableName("posix", "listdir") == name_of(os.listdir)


PROGRAM = """
import os, sys
from stead.errors import InvalidRequestError
from stead.server.workers.importable import name_of

def work(): pass

try:
    print(name_of(work))
except InvalidRequestError as error:
    print(error)
"""


def test_a_program_is_named_as_a_module_and_a_script_is_refused(world, run_python):
    (world / "app.py").write_text(PROGRAM)
    assert "app.work\n" == run_python(world, "-m", "app")
    refused = run_python(world, "app.py")
    assert "a script has no name to import it by" in refused


MAIN = """
import os
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.privileged.launching import Launcher
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.privileged.watch import Watch
from stead.server.workers.workers import WorkerLimits, Workers

class Note:
    def __init__(self, text):
        self.text = text

def read(note):
    return note.text, os.getuid()

if __name__ == "__main__":
    watch = Watch("watch")
    preload = ("stead.server.workers.start", "app")
    launcher = Launcher("workers", watch, guard=DEFAULT_GUARD_UID, preload=preload)
    workers = Workers(
        launcher, watch, identity=lambda token: PosixIdentity(70001, 70001),
        environment=lambda identity: (), limits=WorkerLimits(),
    )
    token = AccessToken(Sid.from_string("S-1-22-1-70001"), logon_id=Luid(1))
    print(workers.run(token, read, (Note("hers"),), seconds=60).result(90))
    workers.close()
    launcher.close()
    watch.close()
"""


def test_a_program_runs_its_own_functions_with_its_own_classes(world, run_python):
    (world / "app.py").write_text(MAIN)
    # The working directory is on no launcher's path; where modules live must be.
    assert "('hers', 70001)\n" == run_python(world, "-m", "app", PYTHONPATH=str(world))


def test_a_module_that_the_client_cannot_read_is_to_be_preloaded(
    run, world, monkeypatch
):
    (world / "hidden").mkdir(mode=0o700)
    (world / "hidden" / "late_jobs.py").write_text("def work(): return 1\n")
    monkeypatch.syspath_prepend(str(world / "hidden"))
    import late_jobs

    monkeypatch.delitem(sys.modules, "late_jobs")
    monkeypatch.setitem(sys.modules, "late_jobs", late_jobs)
    with pytest.raises(
        WorkerFailedError, match=r"cannot import `late_jobs\.work`"
    ) as no:
        run(late_jobs.work)
    assert "ModuleNotFoundError" in no.value.type_name
    assert "worker_modules" in no.value.advice


# --- asyncio --------------------------------------------------------------------------


def test_a_loop_waits_for_several_at_once_and_is_told_their_errors(
    workers, registrar, jobs
):
    def ask(function, *args, uid=70001):
        token = registrar.token(uid)
        future = workers.run(token, function, args, seconds=60)
        return asyncio.wrap_future(future)

    async def all_of_them():
        return await asyncio.gather(
            ask(jobs.echo, "one"),
            ask(jobs.echo, "x" * 600_000),
            ask(jobs.raise_it, LookupError, "two"),
            ask(jobs.whoami, uid=70002),
            return_exceptions=True,
        )

    one, large, error, (_, uids, _, _) = asyncio.run(all_of_them())
    assert ("one", 600_000, (70002,) * 3) == (one, len(large), uids)
    assert ("LookupError('two')", LookupError) == (repr(error), type(error))


def test_a_cancelled_task_ends_its_worker(
    workers, registrar, jobs, home, pid_in, is_gone, until
):
    async def give_up():
        future = workers.run(
            registrar.token(70001), jobs.wait_in, (str(home / "pid"),), seconds=60
        )
        task = asyncio.ensure_future(asyncio.wrap_future(future))
        pid = await asyncio.to_thread(pid_in, home / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    pid = asyncio.run(give_up())
    until(lambda: is_gone(pid))
