"""The thread beside the trail: whatever goes wrong on it is told, and it goes on."""

from __future__ import annotations

import sqlite3
import time

import pytest
from tests.ledger.staging import Stage

from stead.adapters.store import Store
from stead.errors import WitnessDisagreesError, WitnessUnavailableError
from stead.ledger.keeping import Keeper, Sealing
from stead.ledger.segments import SegmentPolicy


@pytest.fixture
def stage(tmp_path):
    tmp_path.chmod(0o700)
    stage = Stage(tmp_path)
    stage.grow(20)
    return stage


def _sealing(store, *, with_witness=False):
    return Sealing(
        SegmentPolicy(records=10),
        store.reading,
        store.evidence,
        time.time_ns,
        with_witness=with_witness,
    )


class _Steps:
    """What a step of witnessing does, one after another."""

    def __init__(self, *acts):
        self.acts = list(acts)
        self.count = 0

    def step(self):
        self.count += 1
        act = self.acts.pop(0) if self.acts else None
        if act is not None:
            raise act

    def close(self):
        pass


def _until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("bend", ["last = 'x'", "last = 2.5", "edge = 'x'"])
def test_a_seal_that_was_bent_ends_no_witnessing_and_is_told_once(stage, bend):
    told, steps = [], _Steps()
    with Store.open(stage.place) as store:
        assert 20 == _sealing(store).step().last
        with sqlite3.connect(stage.place) as connection:
            connection.execute(f"UPDATE segment SET {bend}")  # noqa: S608 - as above
        connection.close()
        keeper = Keeper(_sealing(store), steps, told.append, 0.01)
        keeper.start()
        _until(lambda: steps.count > 3)
        keeper.close()
    assert ["InvalidProofError"] == [type(error).__name__ for error in told]


def test_what_nobody_foresaw_is_told_and_a_disagreement_after_it_too(stage):
    told = []
    steps = _Steps(
        TypeError("odd"), None, KeyError("x"), KeyError("x"),
        WitnessUnavailableError("down"), WitnessDisagreesError("no"),
    )  # fmt: skip
    with Store.open(stage.place) as store:
        keeper = Keeper(_sealing(store), steps, told.append, 0.01)
        keeper.start()
        _until(lambda: len(told) == 5)
        keeper.close()
    assert "TypeError: odd" in str(told[0])
    assert told[1] is None
    assert "KeyError" in str(told[2])
    assert isinstance(told[3], WitnessUnavailableError)
    assert isinstance(told[4], WitnessDisagreesError)
    assert 6 == steps.count


@pytest.mark.parametrize("step", [Sealing.seal_now, Sealing.step])
def test_a_witness_that_is_there_no_more_is_not_waited_for(stage, step):
    stage.grow(15, witnessed=False)
    with Store.open(stage.place) as store:
        witnessed = step(_sealing(store, with_witness=True))
        assert (20, True) == (witnessed.last, bool(witnessed.note))
        assert None is step(_sealing(store, with_witness=True))
        rest = step(_sealing(store))
        assert (35, "") == (rest.last, rest.note)


def test_a_seal_without_a_witness_has_the_note_that_was_signed_there(stage):
    with Store.open(stage.place) as store:
        assert _sealing(store).seal_now().note == store.evidence.last_checkpoint().note
