"""However deep a handler recurses, its client does not stop the server."""

import os
import signal
import sys

import pytest

from stead.model.posix_identity import PosixIdentity
from stead.privileged import headroom
from stead.privileged.hardened_thread import KernelBlock


def down(frames, act):
    return down(frames - 1, act) if frames else act()


def test_room_that_is_there_is_used_for_trial_only():
    headroom.require(headroom.ROOM_TO_ENTER)
    headroom.require(0)


@pytest.mark.parametrize(
    "frames", [0, headroom.ROOM_TO_LEAVE, headroom.ROOM_TO_ENTER, sys.maxsize]
)
def test_room_that_is_not_there_is_an_ordinary_error(frames):
    """At the bottom, where no frame is left, not even nothing can be proved."""

    def deeper():
        headroom.require(frames)
        deeper()

    with pytest.raises(RecursionError):
        deeper()


def test_entering_asks_for_twice_the_room_of_leaving():
    assert 2 * headroom.ROOM_TO_LEAVE <= headroom.ROOM_TO_ENTER


@pytest.mark.root
@pytest.mark.parametrize(
    ("case", "came"),
    [
        ("single", ["RecursionError", "done"]),
        ("nested", ["RecursionError", "done"]),
        ("of_the_server", ["RecursionError", "done"]),
        ("every_level", ["RecursionError", "done"]),
        ("every_level_nested", ["RecursionError", "done"]),
        ("left_deeper", ["RecursionError", "done"]),
        # What is left open fails the work, whatever it swallowed.
        ("left_deeper_for_good", ["RevertOrderError", "done"]),
        ("resumed_deeper", ["RevertOrderError", "done"]),
        ("out_of_order", ["RevertOrderError"]),
    ],
)
def test_a_deep_stack_stops_the_naive_server_only(case, came, run_program, outcome_of):
    naive = run_program("deep.py", "naive", case)
    assert -signal.SIGABRT == naive.returncode
    assert "" == naive.stdout
    for ours in ("ours", "pure"):
        assert [came, [[0, 0, 0]]] == outcome_of("deep.py", ours, case)


@pytest.mark.root
def test_where_calls_are_counted_apart_frames_prove_the_room(executor, monkeypatch):
    """As in Python 3.12: what C counts says nothing of Python's own calls."""

    def stay():
        with KernelBlock(PosixIdentity(70001, 70001)):
            return os.geteuid()

    def refused():
        came = []
        for depth in range(limit - 100, limit):
            try:
                came.append(executor.submit(down, depth, stay).result())
            except RecursionError:
                came.append(None)
        assert {70001, None} == set(came)
        return came.count(None)

    limit = sys.getrecursionlimit()
    counted = refused()
    monkeypatch.setattr(headroom, "COUNTS_APART", True)
    assert counted < refused()
