"""Each attack falls on a naive server and not on ours, in the same run.

The programs are in ``programs/attack.py``; "naive-WAY" says how the naive server
switches. Nothing here measures time.
"""

import json
import os
import signal

import pytest

pytestmark = pytest.mark.root

OTHER = 70002
ORDINARY = [os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0)]


@pytest.fixture
def stage(world, file_of):
    """Lay out what the attacks are after."""
    file_of("secret", 0)
    file_of("own", 70001)
    file_of("out", 70001, text="")
    home = world / "home"
    home.mkdir()
    os.chown(home, 70001, 70001)
    private = world / "private"
    private.mkdir()
    file_of("private/note", OTHER, 0o644)
    (private / "open").mkdir(mode=0o755)
    file_of("private/open/note", OTHER, 0o644)
    os.chown(private, OTHER, OTHER)
    private.chmod(0o700)
    (world / "modules").mkdir()
    file_of("modules/late_module.py", 0, 0o600, "VALUE = 'imported'\n")
    (world / "modules").chmod(0o700)
    return world


@pytest.mark.parametrize(
    ("way", "attack", "came"),
    [
        ("guard", "capset", ("secret", "EPERM")),
        ("guard", "setfsuid", ("secret", "EPERM")),
        ("guard", "setresuid", ("secret", "EPERM")),
        ("guard", "fork", ("secret", "EPERM")),
        ("effective", "execute", ("secret", "EPERM")),
        ("effective", "posix_spawn", ("secret", "EPERM")),
        ("guard", "lazy_pool", (70001, "RuntimeError")),
        ("guard", "new_thread", (70001, "RuntimeError")),
        ("fsuid", "peer_credentials", (0, 70001)),
        ("fsuid", "file_capability", ("done", "EPERM")),
        ("effective", "access", (True, False)),
        ("effective", "signal_init", ("done", "EPERM")),
        ("guard", "session_keyring", ("secret", "EPERM")),
        ("guard", "process_keyring", ("found", "EPERM")),
        ("guard", "umask", ("000", "022")),
        ("guard", "umask_of_the_next", ("666", "644")),
        ("guard", "working_directory", ("secret", "ENOENT")),
        ("guard", "io_uring", ("secret", "EPERM")),
        ("guard", "descriptor_by_procfs", ("secret", "ENOENT")),
        ("guard", "descriptor_by_dev", ("secret", "ENOENT")),
        ("guard", "descriptor_by_link", ("secret", "ENOENT")),
        ("guard", "directory_by_procfs", ("secret", "ENOENT")),
        ("guard", "memory_map", ("maps", "ENOENT")),
    ],
)
def test_the_attack_falls_on_the_naive_server_only(
    way, attack, came, stage, outcome_of
):
    fallen, stood = came
    assert fallen == outcome_of("attack.py", f"naive-{way}", attack, stage)
    (stage / "socket").unlink(missing_ok=True)
    (stage / "home" / "link").unlink(missing_ok=True)
    (stage / "made").unlink(missing_ok=True)
    assert stood == outcome_of("attack.py", "ours", attack, stage)


def test_a_first_import_as_the_client_breaks_the_naive_server_for_good(
    stage, outcome_of
):
    naive = outcome_of("attack.py", "naive-guard", "late_import", stage)
    ours = outcome_of("attack.py", "ours", "late_import", stage)
    assert ["ModuleNotFoundError", "ModuleNotFoundError"] == naive
    assert ["LateImportError", "imported"] == ours


def test_a_suspended_generator_leaks_the_client_into_the_next_work(stage, outcome_of):
    naive = outcome_of("attack.py", "naive-guard", "generator_left_open", stage)
    ours = outcome_of("attack.py", "ours", "generator_left_open", stage)
    assert ["done", 70001] == naive
    assert ["RevertOrderError", 0] == ours


def test_a_client_kills_the_naive_server_through_the_thread_id(stage, run_program):
    naive = run_program("attack.py", "naive-samba", "signal_by_thread_id", stage)
    ours = run_program("attack.py", "ours", "signal_by_thread_id", stage)
    assert -signal.SIGKILL == naive.returncode
    assert ["alive", "PermissionError", ORDINARY] == json.loads(ours.stdout)


def test_a_client_sees_and_changes_nothing_of_the_thread_that_is_it(stage, outcome_of):
    ours = outcome_of("attack.py", "ours", "look_inside", stage)
    assert ["alive", "", ORDINARY] == ours
    # Why nothing in a server may set it dumpable again, as each switch unsets it.
    ours = outcome_of("attack.py", "ours", "look_inside_dumpable", stage)
    assert ["alive", "comm oom_score_adj", ORDINARY] == ours


def test_a_client_cannot_slow_a_thread_down(stage, outcome_of):
    # The kernel compares permitted capabilities too, and those of the thread remain.
    ours = outcome_of("attack.py", "ours", "slow_down", stage)
    assert ["alive", "PermissionError", ORDINARY] == ours


@pytest.mark.parametrize("call", ["seteuid_elsewhere", "setresuid_elsewhere"])
def test_a_switch_by_another_thread_ends_the_process_instead_of_the_impersonation(
    call, stage, run_program
):
    naive = run_program("attack.py", "naive-guard", call, stage)
    ours = run_program("attack.py", "ours", call, stage)
    assert [0, [], "secret"] == json.loads(naive.stdout)
    assert "" == ours.stdout
    assert -signal.SIGABRT == ours.returncode


@pytest.mark.parametrize(
    ("call", "groups"),
    [("setgroups_while_idle", {4711}), ("initgroups_while_idle", {0, 4711})],
)
def test_groups_set_by_another_thread_end_the_process_instead_of_spreading(
    call, groups, stage, run_program
):
    naive = run_program("attack.py", "naive-guard", call, stage)
    ours = run_program("attack.py", "ours", call, stage)
    assert groups >= set(json.loads(naive.stdout)) >= {4711}
    assert -signal.SIGABRT == ours.returncode


def test_groups_set_by_another_thread_end_the_process_while_it_impersonates(
    stage, run_program
):
    ours = run_program("attack.py", "ours", "setgroups_elsewhere", stage)
    assert "" == ours.stdout
    assert -signal.SIGABRT == ours.returncode
