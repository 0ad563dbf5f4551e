"""Containers, as far as the kernel's namespaces go: what works there, and who says so.

No container manager is needed: a program of the tests' makes the namespaces.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    NOTES,
    Raw,
    accept,
    begin,
    connect,
    hear,
    is_alive,
    poll,
    stage,
    told,
)

from stead.privileged.namespaces import IdRanges, Namespace, own_namespace

pytestmark = pytest.mark.root
__all__ = ["begin", "connect", "stage"]  # fixtures

PROGRAM = Path(__file__).parent / "programs" / "container.py"
WHOLE = "0:1,65520:20,70000:1000"  # root, the reserved ones, and everybody in the tests
ALL = ((0, 0xFFFF_FFFF),)


def inside(folder, maps, *command):
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), maps, *map(str, command)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def doctor(folder, maps):
    done = inside(folder, maps, sys.executable, "-m", "stead", "doctor", "--json")
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_the_container_is_one(world):
    """Its processes are few, its root is read-only, and its ids are those mapped."""
    script = (
        "echo $$; touch /tmp/x 2>/dev/null || echo read-only; "
        f"touch {world}/x && echo writable; cat /proc/self/uid_map | wc -l; "
        "ls /sys/class/net"
    )
    words = inside(world, WHOLE, "/bin/sh", "-c", script).stdout.split()
    assert ["2", "read-only", "writable", "3"] == words[:4]


# --- what the doctor says -------------------------------------------------------------


def test_the_doctor_finds_the_kernel_in_a_container_whose_ids_are_mapped(world):
    found = doctor(world, WHOLE)
    assert "kernel" == found["enforcement"]
    assert [] == found["support"]["reasons"]
    assert any(
        "0, 65520 to 65539, 70000 to 70999" in each
        for each in found["support"]["warnings"]
    )


@pytest.mark.parametrize(
    ("maps", "why"),
    [
        ("0:1!", "lets nobody set groups"),
        ("0:1", "guard 65530 does not exist"),
        ("0:1,70000:1000", "guard 65530 does not exist"),
    ],
)
def test_the_doctor_says_what_a_container_lacks_and_nothing_breaks(world, maps, why):
    """Naive: try it. A thread that cannot have its groups back ends the process."""
    found = doctor(world, maps)
    assert "token" == found["enforcement"]
    assert any(why in reason for reason in found["support"]["reasons"])


# --- the broker -----------------------------------------------------------------------


def contained(stage, maps):
    return stage.start(sys.executable, str(PROGRAM), str(stage.folder), maps)


@pytest.mark.parametrize("maps", [WHOLE, "-"])
def test_the_broker_serves_from_within_a_container(stage, begin, connect, maps):
    """With a user namespace and without: those who come are the host's processes."""
    contained(stage, maps)

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        for _ in range(2):
            index, client = accept(arrivals)
            reading, writing = os.pipe()
            channel = raw.start(
                index, "sh", "-c", "id -u; cat /proc/1/comm", out=writing
            )
            os.close(writing)
            with os.fdopen(reading) as file, client:
                talk.say([told(channel), file.read().split()])

    server = begin(NOTES, serves)
    assert "listens" == server.hear()
    for uid in (ALICE, BOB):
        connect(uid, stage.gate)
        said, (who, first) = server.hear()
        assert "started" in said
        assert str(uid) == who
        assert said["started"] < 1000  # a number of the container's own
        assert "python" in first


def test_whoever_is_not_mapped_is_nobody_to_the_broker(stage, begin, connect):
    """The kernel calls him 65534 there. Naive, that is an ordinary uid."""
    contained(stage, WHOLE)

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        message, _ = hear(arrivals, 8192, 1)
        talk.say(message)

    server = begin(NOTES, serves)
    server.hear()
    connect(80_001, stage.gate)
    said = server.hear()
    assert said["client"] is None
    assert "65534" in said["why"]


def test_what_a_contained_broker_started_ends_with_its_container(stage, begin, connect):
    contained(stage, WHOLE)

    def serves(talk):
        raw = Raw(stage.socket)
        raw.hello()
        arrivals = raw.listen()
        talk.say("listens")
        index, _client = accept(arrivals)
        channel = raw.start(index, "sleep", "6789")
        talk.say(told(channel))
        talk.hear()

    server = begin(NOTES, serves)
    server.hear()
    connect(ALICE, stage.gate)
    assert "started" in server.hear()
    (pid,) = poll(lambda: sleeping("6789"))
    stage.kill()
    poll(lambda: not is_alive(pid))


def sleeping(seconds):
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", seconds.encode()]:
            found.append(int(place.name))
    return found


@pytest.mark.parametrize(
    ("maps", "why"),
    [
        ("0:1!", "lets nobody set groups"),
        ("0:1,65520:20", f"service `notes` {NOTES} does not exist"),
        ("0:1,70000:1000", "guard 65530 does not exist"),
    ],
)
def test_a_broker_that_could_serve_nobody_does_not_start_and_says_why(stage, maps, why):
    done = inside(
        stage.folder, maps, sys.executable, "-I", "-m", "stead.privileged.broker",
        "--config", stage.config,
    )  # fmt: skip
    assert 1 == done.returncode
    assert why in done.stderr
    assert not stage.socket.exists()


# --- what is read of a namespace ------------------------------------------------------


def described(tmp_path, uids, gids, setgroups="allow"):
    texts = {"uid_map": uids, "gid_map": gids, "setgroups": setgroups}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return own_namespace(tmp_path)


def test_the_hosts_own_namespace_has_everybody():
    assert (
        Namespace(IdRanges(ALL), IdRanges(ALL), may_set_groups=True) == own_namespace()
    )
    assert [] == list(own_namespace().reasons([("x", 1)], [("y", 2)]))
    assert [] == list(own_namespace().warnings())


def test_ids_are_those_that_are_mapped(tmp_path):
    found = described(tmp_path, "0 1000 1\n10 5000 5\n", "0 1000 1\n")
    assert [True, False, True, True, False] == [
        number in found.uids for number in (0, 1, 10, 14, 15)
    ]
    assert "0, 10 to 14" == str(found.uids)
    assert 2 == len(list(found.reasons([("a", 0), ("b", 12), ("c", 7)])))
    assert ["d 99 does not exist"] == [
        each[:19] for each in found.reasons([], [("d", 99), ("e", 12)])
    ]
    assert ["0, 10 to 14" in each for each in found.warnings()] == [True]


def test_where_groups_cannot_be_set_nobody_can_be_acted_as(tmp_path):
    found = described(tmp_path, "0 0 4294967295\n", "0 0 4294967295\n", "deny\n")
    assert 1 == len(list(found.reasons([("a", 5)])))


def test_without_a_procfs_everybody_counts_as_there(tmp_path):
    found = own_namespace(tmp_path)
    assert Namespace(IdRanges(ALL), IdRanges(ALL), may_set_groups=True) == found
