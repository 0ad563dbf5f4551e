"""The steps of hardening: each works, and each that fails is named."""

import os
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from stead.errors import EnforcementUnavailableError
from stead.privileged import hardening, seccomp
from stead.privileged.hardening import harden, missing_capabilities, procfs_mounts
from stead.privileged.syscalls import architecture

GUARD = 65530
MOUNTINFO = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime shared:7 - sysfs sysfs rw
30 22 0:21 /sys /proc/sys ro - proc proc rw
31 27 0:40 / /srv/jail\040one/proc rw shared:1 master:2 - proc proc rw
32 27 0:41 / /srv/back\134slash\011tab rw - proc proc rw
33 27 8:1 / /home/proc rw - ext4 /dev/proc rw
"""


def on_thread(act):
    """Run the call on a plain thread, which ends whatever became of it."""
    outcome = Future()

    def life():
        try:
            outcome.set_result(act())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=life)
    thread.start()
    thread.join()
    return outcome.result()


def deny(name):
    machine = architecture(os.uname().machine)
    seccomp.install(seccomp.assemble((seccomp.Rule(name),), machine))


def test_every_mounted_procfs_is_found_the_outermost_first():
    expected = (
        "/proc",
        "/proc/sys",
        "/srv/back\\slash\ttab",
        "/srv/jail one/proc",
    )
    assert expected == procfs_mounts(MOUNTINFO)


def test_a_mount_whose_name_holds_a_line_separator_is_found():
    for separator in ("\x0b", "\x0c", "\x1c", "\x85", "\u2028"):
        line = f"31 27 0:40 / /a{separator}b/proc rw - proc proc rw\n"
        assert (f"/a{separator}b/proc",) == procfs_mounts(line)


def test_missing_capabilities_are_named():
    assert () == missing_capabilities(1 << 6 | 1 << 7 | 1 << 21)
    assert ("CAP_SETGID", "CAP_SYS_ADMIN") == missing_capabilities(1 << 7)


@pytest.mark.root
def test_the_main_thread_is_never_hardened():
    with pytest.raises(EnforcementUnavailableError, match="the choice of thread"):
        harden(GUARD)


@pytest.mark.root
@pytest.mark.parametrize("guard", [-1, 0, 2**32 - 1])
def test_what_is_no_id_is_no_guard(guard):
    with pytest.raises(EnforcementUnavailableError, match=f"`{guard}` cannot be"):
        on_thread(lambda: harden(guard))


@pytest.mark.root
def test_a_thread_without_the_capabilities_is_not_hardened(outcome_of):
    assert "it lacks CAP_SYS_ADMIN" in outcome_of("capabilities.py", 21, "harden")


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("keyctl", "the session keyring"),
        ("unshare", "the mount namespace"),
        ("mount", "the mount namespace"),
        ("fstatfs", "hiding procfs"),
        ("chdir", "the working directory"),
        ("seccomp", "the filter"),
    ],
)
def test_a_step_that_the_machine_denies_is_named(name, step):
    def act():
        deny(name)
        harden(GUARD)

    with pytest.raises(EnforcementUnavailableError, match=f"hardened at {step}: op"):
        on_thread(act)


@pytest.mark.root
def test_a_filter_that_is_not_in_force_is_noticed():
    with pytest.raises(OSError, match="not in force"):
        on_thread(hardening._require_filter)


@pytest.mark.root
def test_hardening_changes_its_own_thread_only():
    before = os.umask(0o027), Path.cwd()
    try:
        on_thread(lambda: (harden(GUARD), os.umask(0o000)))
        assert before[1] == Path.cwd()
        assert 0o027 == os.umask(before[0])
    finally:
        os.umask(before[0])
    assert Path("/proc/self/fd").is_dir()


@pytest.mark.root
def test_every_procfs_of_the_machine_is_hidden(outcome_of, world):
    seen = outcome_of("other_procfs.py", world)
    assert {"plain": True, "blank name": True, "covered": False} == seen["before"]
    assert {"plain": [], "blank name": [], "covered": []} == seen["inside"]
    assert {"plain": True, "blank name": True, "covered": False} == seen["after"]


@pytest.mark.root
def test_a_procfs_mounted_later_is_not_opened(outcome_of, world):
    seen = outcome_of("later_procfs.py", world)
    assert "NotARegularFileError" == seen
