"""Confinement: the filter's program interpreted, and both together tried for real.

What a whole agent tries is in `tests/server/limited`; here are the kernels that this
machine is not.
"""

import errno
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from stead.model.access_mask import AccessMask, FileRights
from stead.privileged import confinement_filter, confining, seccomp
from stead.privileged.confinement import Confinement, accesses, runtime
from stead.privileged.confinement_filter import DENIED, UNSUPPORTED
from stead.privileged.confining import LEAST_ABI, confine, landlock_abi
from stead.privileged.probe import confining_warnings
from stead.privileged.syscalls import AUDIT_ARCHITECTURES, architecture, call

ALLOWED, PROCESS = 0x7FFF_0000, 4711
REFUSED, NO_SUCH_CALL = 0x0005_0000 | errno.EPERM, 0x0005_0000 | errno.ENOSYS
SIGNALS = ("kill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo")
OWN_PAIRS = [(1, 1), (1, 5), (1, 1 | 0x8_0000), (1, 5 | 0x8_0800)]
OTHER_PAIRS = [(1, 2), (1, 2 | 0x8_0000), (1, 3), (2, 1), (16, 1), (1, 1 | 0x100)]
ALICE = 70_001


# --- the filter -----------------------------------------------------------------------


def execute(program, data):
    """Run a classic BPF program over seccomp_data and return its verdict."""
    lines = list(struct.iter_unpack("=HBBI", program))
    at = word = 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x20:
            word = struct.unpack_from("<I", data, value)[0]
        elif code in (0x15, 0x25, 0x45):
            is_so = {0x15: word == value, 0x25: word > value, 0x45: word & value}[code]
            at += yes if is_so else no
        else:
            assert code == 0x06
            return value


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request):
    return architecture(request.param)


@pytest.fixture
def verdict(machine):
    """Give what judges a call beside some version of Landlock."""

    def judge(name, *arguments, abi=7):
        program = confinement_filter.program(abi, machine=machine, process=PROCESS)
        words = (*arguments, *(0,) * (6 - len(arguments)))
        number = machine.numbers[name]
        data = struct.pack("<IIQ6Q", number, machine.audit_arch, 0, *words)
        return execute(program, data)

    return judge


def test_every_denied_call_is_denied(verdict, machine):
    for name in set(DENIED) & set(machine.numbers):
        assert REFUSED == verdict(name), name


def test_every_denied_call_has_a_number_somewhere():
    known = {n for m in AUDIT_ARCHITECTURES for n in architecture(m).numbers}
    assert set() == set(DENIED) - known


def test_files_and_programs_are_left_to_landlock(verdict):
    for name in ("openat2", "execve", "execveat", "prctl", "seccomp"):
        assert ALLOWED == verdict(name), name


def test_attributes_of_files_are_not_read_by_their_paths(verdict):
    for name in UNSUPPORTED:
        assert 0x0005_0000 | errno.EOPNOTSUPP == verdict(name), name


def test_processes_are_made_without_namespaces(verdict, machine):
    assert NO_SUCH_CALL == verdict("clone3")
    assert ALLOWED == verdict("clone", signal.SIGCHLD)
    assert ALLOWED == verdict("clone", 0x3D_0F00)  # a thread of libc's
    for flag in (0x80, 0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000):
        assert REFUSED == verdict("clone", flag | signal.SIGCHLD)
    assert REFUSED == verdict("clone", 0x2000_0000)
    assert REFUSED == verdict("clone", 0x4000_0000)


@pytest.mark.parametrize("pair", OWN_PAIRS)
def test_pairs_of_streams_are_its_own_matter(verdict, pair):
    assert ALLOWED == verdict("socketpair", *pair)


@pytest.mark.parametrize("pair", OTHER_PAIRS)
def test_no_other_pairs_are_made(verdict, pair):
    assert REFUSED == verdict("socketpair", *pair)


def test_only_its_own_limits_and_priorities_are_changed(verdict):
    for name in ("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam"):
        assert ALLOWED == verdict(name, 0)
        assert REFUSED == verdict(name, PROCESS + 1)
        assert REFUSED == verdict(name, 1 << 32)
    assert ALLOWED == verdict("setpriority", 0, 0)
    assert REFUSED == verdict("setpriority", 0, PROCESS)
    assert REFUSED == verdict("setpriority", 2, 0)
    assert REFUSED == verdict("ioprio_set", 3, 0)


def test_terminals_are_asked_and_not_typed_into(verdict):
    assert ALLOWED == verdict("ioctl", 0, 0x5401)
    assert REFUSED == verdict("ioctl", 0, 0x5412)  # TIOCSTI
    assert REFUSED == verdict("ioctl", 0, 0x4008_6602)  # FS_IOC_SETFLAGS


@pytest.mark.parametrize("name", SIGNALS)
def test_without_a_scope_no_signal_is_sent(verdict, name):
    assert ALLOWED == verdict(name, PROCESS + 1, abi=6)
    assert REFUSED == verdict(name, PROCESS + 1, abi=5)


def test_without_a_scope_no_descriptor_sends_signals(verdict):
    for command in (fcntl.F_SETOWN, 10, 15, 1026):
        assert ALLOWED == verdict("fcntl", 0, command, abi=6)
        assert REFUSED == verdict("fcntl", 0, command, abi=5)
    for command in (fcntl.F_DUPFD_CLOEXEC, fcntl.F_SETFL, fcntl.F_SETLKW):
        assert ALLOWED == verdict("fcntl", 0, command, abi=5)
    assert ALLOWED == verdict("tgkill", PROCESS, 1, 6, abi=5)
    assert REFUSED == verdict("tgkill", PROCESS + 1, 1, 6, abi=5)


# --- what rights become -----------------------------------------------------------


def test_rights_become_what_landlock_knows():
    read, write, remove = 0b1100, 1 << 1 | 1 << 14 | 1 << 8, 1 << 4 | 1 << 5
    assert 0 == accesses(0)
    assert read == accesses(FileRights.READ_DATA)
    assert read | 1 == accesses(FileRights.READ_DATA | FileRights.EXECUTE)
    assert write == accesses(FileRights.WRITE_DATA)
    assert 1 << 7 == accesses(FileRights.APPEND_DATA)
    assert remove == accesses(FileRights.DELETE_CHILD) == accesses(AccessMask.DELETE)
    both = FileRights.WRITE_DATA | FileRights.DELETE_CHILD
    assert write | remove | 1 << 13 == accesses(both)
    # Links, sockets, FIFOs and devices, and ioctls on these, are nobody's right.
    never = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 15
    assert 0 == accesses(0xFFFF_FFFF) & never


def test_what_is_needed_to_run_is_read_only():
    writing = {path for path, access in runtime(runs_programs=True) if access & 0b10}
    assert {"/dev/null"} == writing
    running = {path for path, access in runtime(runs_programs=False) if access & 1}
    assert set() == running
    programs = {path for path, access in runtime(runs_programs=True) if access & 1}
    assert sys.executable in programs
    assert str(Path(os.__file__).parent) in dict(runtime(runs_programs=False))


# --- tried for real -----------------------------------------------------------------


def confined(act, *arguments, abi=None, roots=(), before=None):
    """Run `act` as alice in a confined process, and return what it told."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setresgid(ALICE, ALICE, ALICE)
            os.setresuid(ALICE, ALICE, ALICE)
            if before is not None:
                before()
            confine(Confinement(roots), abi)
            told = act(*arguments)
        except OSError as error:
            told = {"errno": error.errno, "text": traceback.format_exc()}
        finally:
            os.write(writing, json.dumps(told).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        told = json.load(file)
    os.waitpid(pid, 0)
    return told


def refusal_of(act, *arguments):
    """Return what kept an act from being done; None if nothing did."""
    try:
        act(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


@pytest.fixture
def victim():
    with subprocess.Popen(["/bin/sleep", "600"], user=ALICE) as process:
        yield process.pid
        process.kill()


def _signals(victim):
    def by_pipe():
        reading, _ = os.pipe()
        fcntl.fcntl(reading, fcntl.F_SETOWN, victim)

    return {
        "kill": refusal_of(os.kill, victim, signal.SIGCONT),
        "descriptor": refusal_of(
            lambda: signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGCONT)
        ),
        "socket": refusal_of(socket.socket),
        "owner": refusal_of(by_pipe),
        "limit": refusal_of(resource.prlimit, victim, resource.RLIMIT_NOFILE, (9, 9)),
        "itself": refusal_of(os.kill, os.getpid(), 0),
    }


@pytest.mark.root
@pytest.mark.parametrize("abi", [LEAST_ABI, 4, 5])
def test_on_older_kernels_the_filter_stands_where_landlock_does_not(victim, abi):
    found = confined(_signals, victim, abi=abi)
    assert {"EPERM"} == set(found.values())
    os.kill(victim, 0)


@pytest.mark.root
@pytest.mark.skipif(landlock_abi() < 6, reason="Landlock here scopes no signals")
def test_on_newer_ones_landlock_does(victim):
    found = confined(_signals, victim)
    itself, owner = found.pop("itself"), found.pop("owner")
    assert (None, None) == (itself, owner)  # to name an owner sends nothing yet
    assert {"EPERM"} == set(found.values())


@pytest.mark.root
@pytest.mark.parametrize("abi", [0, 1, 2])
def test_with_less_than_it_takes_nothing_runs(abi, world):
    done = world / "done"
    assert errno.ENOSYS == confined(done.touch, abi=abi)["errno"]
    assert not done.exists()


@pytest.mark.root
@pytest.mark.parametrize("name", ["landlock_create_ruleset", "landlock_restrict_self"])
def test_where_the_kernel_refuses_landlock_nothing_runs(name, world):
    world.chmod(0o777)

    def refuse():
        call("prctl", 38, 1)
        machine = architecture(os.uname().machine)
        seccomp.install(seccomp.assemble((seccomp.Rule(name),), machine))

    assert "errno" in confined((world / "done").touch, before=refuse)
    assert not (world / "done").exists()
    assert confined((world / "done").touch, roots=((bytes(world), 2),)) is None
    assert (world / "done").exists()


@pytest.mark.root
@pytest.mark.parametrize("abi", [LEAST_ABI, None])
def test_a_root_holds_what_its_rights_say(world, abi):
    for name in ("read", "write"):
        (world / name).mkdir()
        (world / name / "file").write_text(name)
        os.chown(world / name, ALICE, ALICE)
        os.chown(world / name / "file", ALICE, ALICE)

    def act():
        return [
            refusal_of((world / "read" / "file").read_text),
            refusal_of((world / "read" / "file").write_text, "x"),
            refusal_of((world / "write" / "file").read_text),
            refusal_of((world / "write" / "file").write_text, "x"),
            refusal_of((world / "write" / "file").unlink),
            refusal_of(lambda: list(world.iterdir())),
        ]

    roots = ((bytes(world / "read"), 1), (bytes(world / "write"), 2))
    told = confined(act, roots=roots, abi=abi)
    no = "EACCES"
    assert [None, no, no, None, no, no] == told


@pytest.mark.root
@pytest.mark.parametrize("name", ["link", "link/file", "missing"])
def test_a_root_that_is_not_there_or_lies_behind_a_link_is_refused(world, name):
    (world / "place").mkdir()
    (world / "place" / "file").touch()
    (world / "link").symlink_to(world / "place")
    told = confined(int, roots=((bytes(world / name), 1),))
    assert told["errno"] in (errno.ELOOP, errno.ENOENT)


@pytest.mark.root
def test_a_file_may_be_a_root(world):
    (world / "file").write_text("text")
    (world / "other").write_text("text")
    (world / "file").chmod(stat.S_IRUSR | stat.S_IROTH)

    def act():
        return [refusal_of((world / n).read_text) for n in ("file", "other")]

    assert [None, "EACCES"] == confined(act, roots=((bytes(world / "file"), 3),))


@pytest.mark.root
def test_the_proof_fails_where_nothing_is_confined():
    with pytest.raises(OSError, match="not confined"):
        confining._prove()


def test_the_doctor_says_what_a_kernel_keeps_from_limited_clients():
    assert [] == list(confining_warnings(LEAST_ABI))
    (said,) = confining_warnings(2)
    assert "Linux 6.2" in said
