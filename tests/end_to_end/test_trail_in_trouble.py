"""Kills, full and failing disks, power cuts, a clock that is set: nothing gets lost.

A few of each of what `make soak` does many of (`tests/soak/trail.py`), with two naive
servers that the same judge must find out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]

PROGRAM = Path(__file__).parents[1] / "soak" / "trail.py"
CASES = {
    "kills": 3,
    "clock steps": 2,
    "full disk": 1,
    "read-only": 1,
    "write errors": 2,
    "power cuts": 1,
    "naive: early": 20,  # until it is found out
    "naive: unflushed": 20,
}


@pytest.fixture(scope="module")
def told():
    """Run all cases in one program, and return what each tells."""
    words = [f"{name}={times}" for name, times in CASES.items()]
    # Unmeasured: most of its processes are killed.
    plain = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--json", *words],
        capture_output=True,
        text=True,
        check=False,
        env=plain,
    )
    lines = map(json.loads, done.stdout.splitlines())
    found = {line["case"]: line for line in lines}
    assert set(CASES) == set(found), done.stderr
    return found


@pytest.mark.parametrize("name", [name for name in CASES if ":" not in name])
def test_nothing_acknowledged_is_lost_and_nothing_done_is_unrecorded(told, name):
    count = told[name]["count"]
    assert [] == told[name]["problems"]
    assert count["acknowledged"] <= count["acts"] <= count["records"]
    assert count["lives"] > 1
    assert count["acknowledged"] > 0


@pytest.mark.parametrize("name", ["full disk", "read-only", "write errors"])
def test_a_disk_that_fails_makes_refusals(told, name):
    assert told[name]["count"]["refused"] > 0


def test_errors_were_injected_and_power_was_lost_with_what_was_not_flushed(told):
    assert told["write errors"]["count"]["errors"] > 0
    assert told["power cuts"]["count"]["kills"] == CASES["power cuts"]
    assert told["clock steps"]["count"]["backward in time"] > 0


@pytest.mark.parametrize("name", [name for name in CASES if ":" in name])
def test_a_naive_server_loses_what_it_acknowledged(told, name):
    problems = told[name]["problems"]
    assert any("it is not there" in each for each in problems)
    assert any("was done and is not recorded" in each for each in problems)
