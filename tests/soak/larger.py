"""What `run.py` runs; not collected with the other tests, for it takes its time."""

import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]

clients = sys.modules["stead_soak_test_clients"]
kills = sys.modules["stead_soak_test_kill"]


def state_of(pid):
    """Return the uids of a process's threads, its open files and its memory in KiB."""
    process = Path("/proc") / str(pid)
    lines = (process / "status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    uids = set()
    for status in process.glob("task/*/status"):
        text = status.read_text()
        uids |= set(text.partition("Uid:")[2].splitlines()[0].split())
    return uids, len(list((process / "fd").iterdir())), memory


def settled(pid, is_so):
    """Wait until the state of a process is as it should be; return the last one."""
    deadline = time.monotonic() + 30
    while not is_so(found := state_of(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks, not for timing
    return found


def test_one_server_answers_many_requests_and_does_not_grow(
    server, world, begin, asker, ask, held
):
    names = list(world.uids)

    def work(mark):
        children = [
            begin(
                world.uids[name],
                lambda name=name, victim=victim: clients.work_of(
                    asker(f"{name}-{mark}"), world, name, victim, held
                ),
            )
            for name, victim in zip(names, [*names[1:], names[0]], strict=True)
        ]
        return [child.result() for child in children]

    requests, clients.REQUESTS = clients.REQUESTS, 100
    work("warm")
    ask(world.uids["alice"], "release")
    _, open_before, memory_before = state_of(server.pid)
    clear(world)
    clients.REQUESTS = requests

    began = time.monotonic()
    told = work("soak")
    took = time.monotonic() - began

    answered = sum(len(each["answers"]) for each in told)
    print(f"\n{answered} requests in {took:.1f} s, {answered / took:.0f} a second")
    assert [] == [wrong for each in told for wrong in each["wrong"]]
    assert requests // 10 * 10 * len(names) == answered
    uids, open_after, memory_after = settled(
        server.pid, lambda found: found[0] == {"0"} and found[1] <= open_before + 8
    )
    print(f"open files {open_before} -> {open_after}, "
          f"memory {memory_before} -> {memory_after} KiB")  # fmt: skip
    assert {"0"} == uids
    assert open_after <= open_before + 8
    assert memory_after <= 1.5 * memory_before + 32 * 1024
    assert 0 == server.stop()
    marks = {record.correlation.rpartition(" ")[2] for _, record in world.trail()}
    expected = {f"{a[0]}.{a[1]}" for each in told for a in each["answers"]}
    assert set() == expected - marks


def clear(world):
    """Remove what the clients made, so that they can make it again."""
    for name in world.uids:
        for made in world.home_of(name).glob("made-*"):
            made.unlink()


def test_a_server_that_is_killed_again_and_again_has_recorded_what_it_answered(
    world, start, begin, asker, ask, ends
):
    kills.test_a_killed_server_has_recorded_whatever_it_answered(
        world, start, begin, asker, ask, ends
    )
