"""`kill -9` of the broker's parts and of its server, while clients are served.

Nobody is ever acted as but who asks, all that was started ends, every client that was
connected hears an error, and whoever comes afterwards is served.
"""

import os
import signal

import pytest
from tests.end_to_end.test_without_root import connected, stage, start
from tests.privileged.broker_stage import (
    ALICE,
    BOB,
    begin,
    is_alive,
    poll,
)

from stead.errors import SteadError
from stead.privileged import trees

pytestmark = [pytest.mark.root, pytest.mark.slow]
__all__ = ["begin", "stage"]  # fixtures


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch):
    """What is killed writes no measurements."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


CLIENTS = (ALICE, BOB, ALICE, BOB)
ENOUGH = 3


def busy(stage, uid):
    """Return what asks who it is, again and again, through whatever happens."""

    def act(talk):
        counts = {"own": 0, "others": 0, "errors": 0, "own since": 0}
        told = False
        while counts["own since"] < ENOUGH:
            try:
                with connected(stage) as link:
                    if not told:
                        talk.say(link.call("leaves"))
                    while counts["own since"] < ENOUGH:
                        ids, _, program = link.call("who")
                        kind = "own" if [uid] * 4 == [*ids, program] else "others"
                        counts[kind] += 1
                        counts["own since"] += bool(counts["errors"])
                        if counts["own"] == ENOUGH and not told:
                            told = True
                            talk.say("warm")
            except SteadError:
                counts["errors"] += told
        return counts

    return act


def part_of(stage, server, pid, whom):
    """Return the process to kill; `pid` is of a program that was started."""
    keeper = trees._read(pid).parent
    return {
        "broker": stage.process.pid,
        "monitor": stage.monitors()[0],
        "launcher": trees._read(keeper).parent,
        "keeper": keeper,
        "server": server.pid,
    }[whom]


@pytest.mark.parametrize("whom", ["broker", "monitor", "launcher", "server"])
def test_whoever_is_killed_under_load_nobody_is_acted_as_another(
    stage, world, begin, whom
):
    server = start(stage, world, begin)
    clients = [begin(uid, busy(stage, uid)) for uid in CLIENTS]
    pids = [client.hear() for client in clients]
    assert ["warm"] * len(clients) == [client.hear() for client in clients]
    assert all(is_alive(pid) for pid in pids)
    os.kill(part_of(stage, server, pids[0], whom), signal.SIGKILL)
    poll(lambda: not any(is_alive(pid) for pid in pids))
    if whom == "broker":
        stage.process.wait()
        stage.start()
    elif whom == "server":
        server.end()
        start(stage, world, begin)
    for client in clients:
        counts = client.hear()
        assert 0 == counts["others"]
        assert counts["errors"] >= 1
        assert counts["own since"] == ENOUGH


def test_a_keeper_that_is_killed_under_load_takes_its_own_program_alone(
    stage, world, begin
):
    server = start(stage, world, begin)
    clients = [begin(uid, busy(stage, uid)) for uid in CLIENTS]
    pids = [client.hear() for client in clients]
    assert ["warm"] * len(clients) == [client.hear() for client in clients]
    os.kill(part_of(stage, server, pids[0], "keeper"), signal.SIGKILL)
    poll(lambda: not is_alive(pids[0]))
    assert all(is_alive(pid) for pid in pids[1:])
