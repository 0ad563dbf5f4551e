"""What an agent with a limited token reaches outside its limits: nothing.

In each test the same code reaches it in an ordinary worker of the same client, and does
not in the limited one's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE

import pytest
from tests.lives import long_enough

from stead.errors import (
    AccessDeniedError,
    ImpersonationRefusedError,
    InvalidNameError,
    InvalidRequestError,
    KernelRefusedError,
    LogonSessionEndedError,
    SteadError,
    WorkerLostError,
)
from stead.ledger.query import Query
from stead.model.access_mask import FileRights
from stead.model.audit_record import AuditEvent
from stead.model.limits import FileRoot

SECONDS = 60
FIVE_MINUTES = timedelta(minutes=5)
READ = int(FileRights.GENERIC_READ)
RUN = int(FileRights.GENERIC_EXECUTE | FileRights.GENERIC_READ)

pytestmark = [pytest.mark.root, pytest.mark.slow]

_SPEC = importlib.util.spec_from_file_location(
    "escapes_by_name", Path(__file__).with_name("escapes.py")
)
NAMES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(NAMES)


def lend(client, home, *, expires=FIVE_MINUTES, more=(), execute=False):
    """Limit a client to its work, and to reading what it is shown."""
    return client.limited(
        expires=expires,
        rights=FileRights.ALL_ACCESS
        if execute
        else FileRights.ALL_ACCESS & ~FileRights.EXECUTE,
        targets=[home / "work", FileRoot(str(home / "shown"), READ), *more],
        purpose="try to get out",
    )


@pytest.fixture
def limited(alice, home):
    return lend(alice, home)


@pytest.mark.parametrize("name", [attack.__name__ for attack in NAMES.ATTACKS])
def test_what_an_ordinary_worker_reaches_a_limited_one_does_not(
    alice, limited, stage, escapes, name
):
    attack = getattr(escapes, name)
    with pytest.raises((OSError, SteadError)) as refused:
        limited.run(attack, stage.told)
    assert isinstance(refused.value, OSError), refused.value
    assert alice.run(attack, stage.told)


def test_within_its_root_an_agent_works_as_it_should(limited, stage, escapes):
    assert "textreadable" == limited.run(escapes.work_as_it_should, stage.told)


def test_a_signal_that_the_kernel_is_told_to_send_does_not_arrive(
    alice, limited, stage, escapes
):
    attack = escapes.have_the_kernel_signal_another_process
    with suppress(OSError):
        limited.run(attack, stage.told)
    assert is_alive(stage.told["victim"])
    alice.run(attack, stage.told)
    assert until(lambda: not is_alive(stage.told["victim"]))


# --- what stays ---------------------------------------------------------------------


def test_a_limited_worker_does_one_thing_and_nobody_else_s(
    alice, limited, home, stage, escapes
):
    for client in (alice, limited):
        assert 1 == client.run(escapes.leave_something_behind, stage.told)
    assert "left" == alice.run(escapes.find_what_was_left, stage.told)
    other = lend(alice, home)
    for client in (limited, other):
        with pytest.raises(IndexError):
            client.run(escapes.find_what_was_left, stage.told)


def test_it_inherits_three_null_devices_and_its_channel(limited, stage, escapes):
    # What an ordinary child of this process would have beside them.
    with Path(__file__).open("rb") as file:
        os.set_inheritable(file.fileno(), True)
        seen = subprocess.run(
            [sys.executable, "-c", f"import os; print(os.fstat({file.fileno()}))"],
            close_fds=False,
            check=False,
        )
        assert 0 == seen.returncode
        found = limited.run(escapes.open_descriptors, stage.told)
    assert [0, 1, 2, 3] == found


def test_a_descriptor_that_it_sends_the_server_goes_nowhere(limited, stage, escapes):
    with pytest.raises(WorkerLostError):
        limited.run(escapes.pass_a_descriptor_to_the_server, stage.told)
    with Path(stage.told["readable"]).open("rb"):
        assert 1 == opened().count(stage.told["readable"])
    assert until(lambda: stage.told["readable"] not in opened())


def test_a_daemon_ends_with_the_call_that_left_it(limited, stage, home, escapes):
    naive = subprocess.run(
        [sys.executable, "-c", _DAEMON, stage.told["work"]], check=False
    )
    assert 0 == naive.returncode
    assert until((home / "work" / "naive").exists)
    assert limited.run(escapes.leave_a_daemon, stage.told)
    beating = home / "work" / "beat"
    assert until(lambda: is_still(beating))
    assert until(lambda: not is_still(home / "work" / "naive"))
    (home / "work" / "naive.stop").touch()


_DAEMON = """
import os, sys, time
from pathlib import Path
work = Path(sys.argv[1])
if not os.fork():
    os.setsid()
    while not (work / "naive.stop").exists():
        (work / "naive").write_text(str(time.monotonic()))
        time.sleep(0.05)
"""


# --- the end ------------------------------------------------------------------------


def test_nothing_outlives_the_grant(notes, alice, stage, home, escapes):
    def go_on():
        with pytest.raises(LogonSessionEndedError):
            alice.run(escapes.beat, stage.told, "ordinary")

    def outlived(seconds):
        brief = lend(alice, home, expires=timedelta(seconds=seconds))
        with pytest.raises(LogonSessionEndedError) as ended:
            brief.run(escapes.beat, stage.told)
        if not (home / "work" / "beat").exists():
            raise ended.value
        return brief

    ordinary = threading.Thread(target=go_on)
    ordinary.start()
    try:
        brief = long_enough(outlived, seconds=3.0, late=LogonSessionEndedError)
        assert until(lambda: is_still(home / "work" / "beat"))
        assert until(lambda: not is_still(home / "work" / "ordinary"))
        with pytest.raises(LogonSessionEndedError):
            brief.open(home / "work" / "own.txt")
    finally:
        notes.accounts.disable("alice")
        ordinary.join()


@pytest.mark.parametrize("end", ["revoke", "close"])
def test_a_revoked_grant_takes_what_acts_in_it_with_it(
    alice, limited, stage, home, escapes, end
):
    other = limited_program(alice, home)
    refused = []

    def work():
        with pytest.raises(LogonSessionEndedError) as error:
            limited.run(escapes.beat, stage.told)
        refused.append(error.value)

    working = threading.Thread(target=work)
    working.start()
    assert until((home / "work" / "beat").exists)
    getattr(limited, end)()
    working.join(SECONDS)
    assert refused
    assert until(lambda: is_still(home / "work" / "beat"))
    # Another grant of the same client goes on.
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_program_ends_with_its_grant(alice, home, world):
    def started(seconds):
        more, expires = [FileRoot("/usr/bin", RUN)], timedelta(seconds=seconds)
        lent = lend(alice, home, more=more, execute=True, expires=expires)
        return lent, lent.start(["/usr/bin/sleep", "600"])

    _, brief = long_enough(started, seconds=2.0, late=LogonSessionEndedError)
    lent, revoked = started(300.0)
    ordinary = alice.start(["/usr/bin/sleep", "600"])
    lent.revoke()
    for process in (brief, revoked):
        assert -signal.SIGKILL == process.wait(SECONDS)
    assert ordinary.poll() is None
    ordinary.kill()
    ordinary.wait()


def test_on_a_plain_thread_a_block_judges_objects_and_opens_nothing(limited, home):
    with (
        pytest.raises(AccessDeniedError, match="refused inside"),
        limited.impersonate(),
    ):
        (home / "work" / "own.txt").read_text()


def limited_program(client, home):
    lent = lend(client, home, more=[FileRoot("/usr/bin", RUN)], execute=True)
    return lent.start(["/usr/bin/sleep", "600"])


# --- programs -----------------------------------------------------------------------


def test_a_program_is_confined_as_a_function_is(alice, home, stage):
    lent = lend(alice, home, more=[FileRoot("/usr/bin", RUN)], execute=True)
    read = ["/usr/bin/cat", stage.told["secret"]]
    for client, status, text in ((alice, 0, b"secret"), (lent, 1, b"")):
        with client.start(read, stdout=PIPE, directory="/") as process:
            assert text == process.communicate()[0]
        assert status == process.returncode
    own = ["/usr/bin/cat", stage.told["readable"]]
    with lent.start(own, stdout=PIPE, directory="/") as process:
        assert b"readable" == process.communicate()[0]


PYTHON = Path("/usr/bin/python3").resolve()
LIBRARY = Path("/usr/lib") / PYTHON.name
AGENT = """
import asyncio, json, subprocess, sys, threading
from pathlib import Path
work, secret = map(Path, sys.argv[1:])
async def act():
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", "print('child')", stdout=subprocess.PIPE)
    return (await child.communicate())[0].decode().strip()
def refused(read):
    try:
        return read()
    except OSError as error:
        return error.strerror
thread = threading.Thread(target=(work / "threaded").touch)
thread.start(); thread.join()
print(json.dumps([
    asyncio.run(act()), (work / "threaded").exists(), refused(secret.read_text),
    refused(lambda: subprocess.run(["/bin/true"]).returncode),
]))
"""


@pytest.mark.skipif(not LIBRARY.is_dir(), reason="needs the system's own Python")
def test_a_python_program_works_within_its_limits(alice, home, stage):
    more = [FileRoot(str(PYTHON), RUN), FileRoot(str(LIBRARY), READ)]
    lent = lend(alice, home, more=more, execute=True)
    told = []
    for client in (alice, lent):
        argv = [
            str(PYTHON),
            "-I",
            "-c",
            AGENT,
            stage.told["work"],
            stage.told["secret"],
        ]
        with client.start(argv, stdout=PIPE) as process:
            told.append(json.loads(process.communicate()[0]))
    assert [
        ["child", True, "secret", 0],
        ["child", True, "Permission denied", "Permission denied"],
    ] == told


def test_a_program_that_no_root_holds_is_not_executed(limited, alice):
    with alice.start(["/bin/true"]) as process:
        assert 0 == process.wait()
    with pytest.raises(KernelRefusedError, match="permission denied"):
        limited.start(["/bin/true"])


def test_a_set_uid_program_gives_a_limited_program_nothing(alice, home, world, stage):
    program = world / "id"
    shutil.copy("/usr/bin/id", program)
    os.chown(program, 0, 0)
    program.chmod(0o4755)
    lent = lend(alice, home, more=[FileRoot(str(program), RUN)], execute=True)
    told = []
    for client in (alice, lent):
        with client.start([str(program), "-u"], stdout=PIPE) as process:
            told.append(process.communicate()[0])
    assert [b"0\n", b"70001\n"] == told


def test_no_session_of_pam_is_opened_for_a_limited_program(alice, home):
    lent = lend(alice, home, more=[FileRoot("/usr/bin", RUN)], execute=True)
    with pytest.raises(InvalidRequestError, match="PAM"):
        lent.start(["/usr/bin/true"], pam=True)


# --- files --------------------------------------------------------------------------


def test_a_file_is_opened_beneath_a_root_and_nowhere_else(alice, limited, home):
    assert "own" == limited.open(home / "work" / "own.txt").read()
    with limited.open(home / "work" / "new.txt", "w") as file:
        file.write("new")
    assert "readable" == limited.open(home / "shown" / "readable.txt").read()
    for path, mode, error in (
        (home / "secret.txt", "r", AccessDeniedError),
        (home / "shown" / "readable.txt", "w", AccessDeniedError),
        (home / "shown" / "new.txt", "x", AccessDeniedError),
        (home / "work" / "link", "r", KernelRefusedError),
        (f"{home}/work/../secret.txt", "r", InvalidNameError),
    ):
        with pytest.raises(error):
            limited.open(path, mode)
        assert not (home / "shown" / "new.txt").exists()
        if mode == "r":
            assert "secret" == alice.open(path).read()


def test_a_root_that_became_a_link_is_no_root(alice, limited, home, escapes, stage):
    (home / "work").rename(home / "gone")
    (home / "work").symlink_to(home)
    with pytest.raises(ImpersonationRefusedError, match=r"root .*alice/work. cannot"):
        limited.run(escapes.read_another_file, stage.told)
    with pytest.raises(ImpersonationRefusedError, match="confinement"):
        limited.open(home / "work" / "secret.txt")
    assert "secret" == alice.open(home / "work" / "secret.txt").read()


def test_a_root_may_be_one_file(alice, home):
    own = home / "work" / "own.txt"
    lent = alice.limited(
        expires=timedelta(minutes=1), rights=FileRights.GENERIC_READ, targets=[own]
    )
    assert "own" == lent.open(own).read()
    with pytest.raises(AccessDeniedError):
        lent.open(home / "work" / "made.txt", "w")


# --- threads ------------------------------------------------------------------------


def test_no_thread_of_the_server_s_becomes_a_limited_client(notes, limited, alice):
    def ids(client):
        with client.impersonate():
            return os.geteuid()

    assert 70001 == notes.executor().submit(ids, alice).result(SECONDS)
    with pytest.raises(ImpersonationRefusedError, match="on a thread") as refused:
        notes.executor().submit(ids, limited).result(SECONDS)
    assert "client.run" in refused.value.advice


def test_the_same_from_an_event_loop(limited, stage, home, escapes):
    async def both():
        file = await limited.aio.open(home / "work" / "own.txt")
        with pytest.raises(PermissionError):
            await limited.aio.run(escapes.read_another_file, stage.told)
        with pytest.raises(KernelRefusedError):
            await limited.aio.start(["/bin/true"])
        return file.read()

    assert "own" == asyncio.run(both())


# --- the trail ------------------------------------------------------------------------


def test_whatever_it_does_names_the_grant(notes, limited, home, escapes, stage):
    limited.open(home / "work" / "own.txt").close()
    limited.run(escapes.open_descriptors, stage.told)
    limited.revoke()
    name = f"{limited.limits.grant} (try to get out)"
    wanted = {
        AuditEvent.GRANT_MADE, AuditEvent.HANDLE_REQUESTED, AuditEvent.FILE_OPENED,
        AuditEvent.FUNCTION_RUN, AuditEvent.FUNCTION_ENDED, AuditEvent.GRANT_ENDED,
    }  # fmt: skip

    def named():
        records = [record for _, record in notes.trail.find(Query())]
        mine = [
            r for r in records if r.client and r.client.logon_id == limited.limits.grant
        ]
        assert all(name == r.detail["grant"] for r in mine)
        return {r.event for r in mine} >= wanted

    assert until(named)


# --- what the tests see -----------------------------------------------------------


def until(is_so):
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_still(path):
    """Tell whether nobody writes a file any more that was written all the time."""
    before = path.read_text()
    time.sleep(0.5)
    return before == path.read_text()


def opened():
    """Return what this process has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one by which this is read
            found.append(str(entry.readlink()))
    return found


def is_alive(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    return False
