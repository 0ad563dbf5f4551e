"""What the probe finds here, and what it says where something is missing."""

import grp
import json
import os
import pwd
import sys
import threading
from pathlib import Path

import pytest

from stead.privileged import probe as probing
from stead.privileged import seccomp
from stead.privileged.probe import (
    guard_reasons,
    import_warnings,
    machine_reasons,
    probe,
)
from stead.privileged.syscalls import Architecture, architecture

GETSOCKOPT = {"x86_64": 55, "aarch64": 209}


@pytest.mark.root
def test_this_machine_can_enforce():
    support = probe()
    assert () == support.reasons
    assert support.is_available
    assert support.has_openat2
    assert support.has_seccomp


@pytest.mark.root
def test_a_thread_of_the_probe_does_not_stay():
    before = set(threading.enumerate())
    probe()
    # Those of earlier tests may end meanwhile.
    assert set() == set(threading.enumerate()) - before


def test_another_platform_is_told_to_use_token_enforcement(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    support = probe()
    assert ("`win32` is not Linux: use token enforcement",) == support.reasons
    assert not support.is_available


def test_another_machine_is_told_what_is_needed():
    support = probing._probe_linux(65530, "sparc64", "6.1")
    (reason,) = support.reasons
    assert "`sparc64`" in reason
    assert "x86_64 or aarch64" in reason


@pytest.mark.parametrize("release", ["5.9.16", "4.19.0-27-amd64", "unknown"])
def test_an_old_kernel_is_told_which_is_needed(release):
    (reason,) = machine_reasons("x86_64", release)
    assert f"Linux `{release}` is too old: run 5.10 or newer" == reason


@pytest.mark.parametrize("release", ["5.10.0-28-amd64", "6.18.44", "10.0"])
def test_a_new_enough_kernel_is_not_told_anything(release):
    assert [] == list(machine_reasons("x86_64", release))


def test_without_root_it_says_so(run_program):
    if os.geteuid() != 0:
        assert "start it as root" in probe().reasons[0]
    done = run_program("unprivileged.py")
    (reason,) = json.loads(done.stdout)
    assert reason.endswith(": start it as root"), done.stderr


@pytest.mark.root
def test_root_without_a_capability_is_told_which(outcome_of):
    (reason,) = outcome_of("capabilities.py", 21, "probe")
    assert reason.startswith("root lacks CAP_SYS_ADMIN here: give")


@pytest.mark.root
def test_a_trial_that_fails_is_the_reason(outcome_of):
    (reason,) = outcome_of("denied_mounts.py")
    assert reason.startswith("a thread cannot be hardened at the mount namespace")
    assert reason.endswith("let the container call unshare and mount")


@pytest.mark.root
def test_a_trial_whose_switch_fails_is_the_reason():
    # The trial becomes the uid beside the guard: beside 1 that is root.
    (reason,) = probing._trial_reasons(1)
    assert reason.startswith("no thread becomes uid 0")


def test_a_guard_with_an_account_or_group_is_refused(tmp_path):
    taken = pwd.getpwuid(1).pw_uid
    (reason,) = guard_reasons(taken, tmp_path)
    assert "an account or group has the guard's id 1: choose another guard" == reason
    group = next(g.gr_gid for g in grp.getgrall() if not _is_uid(g.gr_gid))
    (reason,) = guard_reasons(group, tmp_path)
    assert f"the guard's id {group}" in reason


def test_an_account_that_reserves_the_guard_is_no_use_of_it(tmp_path, monkeypatch):
    account = pwd.struct_passwd(("stead-guard", "x", 65530, 65530, "", "/", "/bin/no"))
    monkeypatch.setattr(probing.pwd, "getpwuid", {65530: account}.__getitem__)
    assert [] == list(guard_reasons(65530, tmp_path))


def test_a_guard_that_a_process_runs_as_is_refused(tmp_path):
    for name, text in {
        "10": "Name:\tx\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t \n",
        "11": "Uid:\t0\t65530\t0\t0\nGid:\t0\t0\t0\t0\n",
        "12": "Uid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t5 65530 \n",
        "self": "Uid:\t65530\t0\t0\t0\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "status").write_text(text)
    (tmp_path / "13" / "status").mkdir(parents=True)  # as unreadable as one that ended
    reasons = sorted(guard_reasons(65530, tmp_path))
    assert 2 == len(reasons)
    assert reasons[0].startswith("process 11 runs as the guard 65530")
    assert reasons[1].startswith("process 12")


def test_of_many_processes_that_run_as_the_guard_some_are_named(tmp_path):
    for number in range(10, 17):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "status").write_text("Uid:\t65530\t0\t0\t0\n")
    reasons = list(guard_reasons(65530, tmp_path))
    assert 4 == len(reasons)
    assert "4 more processes run as the guard 65530" == reasons[-1]


def test_folders_that_clients_cannot_pass_are_named(tmp_path):
    closed = tmp_path / "closed"
    (closed / "bin").mkdir(parents=True)
    closed.chmod(0o700)
    (closed / "bin").chmod(0o755)
    warnings = list(import_warnings([closed / "bin" / "python"]))
    named = [warning for warning in warnings if f"`{closed}`" in warning]
    assert 1 == len(named)
    assert not any(f"`{closed}/bin`" in warning for warning in warnings)


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "number", "ask"),
    [
        ("openat2", None, probing._has_openat2),
        ("seccomp", None, probing._has_seccomp),
        ("getsockopt", GETSOCKOPT, probing._has_peer_pidfd),
    ],
)
def test_what_the_kernel_does_not_offer_is_not_claimed(name, number, ask):
    here = architecture(os.uname().machine)
    numbers = {**here.numbers, **({name: number[here.name]} if number else {})}
    table = Architecture(here.name, here.audit_arch, numbers)
    seen = []

    def without():
        seccomp.install(seccomp.assemble((seccomp.Rule(name),), table))
        seen.append(ask())

    thread = threading.Thread(target=without)
    thread.start()
    thread.join()
    assert [False] == seen


def test_where_python_itself_lies_is_looked_at():
    assert Path(sys.executable) in probing._code()


def _is_uid(number):
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True
