"""What a child could inherit or regain: it falls to a naive server and not to ours.

The programs are in ``programs/children.py``; "naive-WAY" says how the naive server
becomes the client. Nothing here measures time.
"""

import contextlib
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from stead.model.posix_identity import PosixIdentity
from stead.privileged.launching import Launcher
from stead.privileged.orders import Order
from stead.privileged.system_uids import DEFAULT_GUARD_UID

pytestmark = pytest.mark.root

CLIENT = PosixIdentity(70001, 70001)
PROGRAMS = str(Path(__file__).parent / "programs")
WAIT = 60


@pytest.mark.parametrize(
    ("way", "attack", "came"),
    [
        ("effective", "saved_uid", ("secret", "EPERM")),
        ("effective", "kept_capabilities", ("secret", "EACCES")),
        ("all", "kept_capabilities", ("secret", "EACCES")),
        ("groups", "left_over_group", ("group", "none")),
        ("all", "inherited_descriptor", ("secret", "none")),
        ("all", "inherited_socket", ("socket", "none")),
        ("all", "environment", ("secret", "none")),
        ("all", "memory", ("found", "none")),
        ("all", "terminal_injection", ("done", "ENXIO")),
        ("all", "ignored_signal", ("ignored", "no")),
        ("all", "session_keyring", ("secret", "ENOKEY")),
        ("all", "raised_limit", ("done", "EPERM")),
        ("effective", "signal_the_parent", ("done", "EPERM")),
        ("all", "working_directory", ("secret", "ENOENT")),
        ("all", "umask", ("000", "022")),
    ],
)
def test_the_attack_falls_on_the_naive_server_only(
    way, attack, came, world, file_of, outcome_of
):
    secret = file_of("secret", 0)
    (world / "private" / "open").mkdir(parents=True)
    file_of("private/open/note", 0, 0o644)
    (world / "private").chmod(0o700)
    fallen, stood = came
    assert fallen == outcome_of("children.py", f"naive-{way}", attack, secret)
    assert stood == outcome_of("children.py", "ours", attack, secret)


def test_a_worker_is_traced_and_read_by_no_other_process_of_its_client(
    watch, monkeypatch
):
    """A program that is executed is: that is how naive workers are started."""
    naive = subprocess.Popen(
        ["sleep", "600"], user=CLIENT.uid, group=CLIENT.gid, extra_groups=[]
    )
    monkeypatch.syspath_prepend(PROGRAMS)
    launcher = Launcher("workers", watch, guard=DEFAULT_GUARD_UID, preload=("bodies",))
    with contextlib.closing(launcher):
        worker, to_worker = begin(launcher, "bodies:waits")
        attacker, to_attacker = begin(launcher, "bodies:looks_into")
        with to_worker, to_attacker, to_attacker.makefile("rw") as talk:
            said = []
            for pid in (naive.pid, worker.started.result(WAIT)):
                talk.write(f"{pid}\n")
                talk.flush()
                said.append(json.loads(talk.readline()))
        attacker.end()
        assert 0 == worker.ended.result(WAIT)
    naive.kill()
    naive.wait()
    fallen, stood = said
    assert {"done"} == set(fallen.values())
    assert {"trace": "EPERM", "memory": "EACCES", "descriptors": "EACCES"} == stood


def begin(launcher, body):
    ours, theirs = socket.socketpair()
    with theirs, Path(os.devnull).open("r+b") as null:
        child = launcher.start(
            Order(CLIENT, body=body),
            (null.fileno(),) * 3,
            extra=[theirs.fileno()],
            on_end=lambda _: None,
        )
    return child, ours
