"""Failures that were answered are counted, though power fails right after.

The disk loses what was not flushed. The naive count is written and seen by everybody,
as ours is while the password is compared, and nobody ever waits for the disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.soak.faulty_disk import FaultyDisk

from stead.adapters.store import Store

NAMES = ("alice", "bob", "carol")
SERVER = """
import sys, time
from stead.adapters.store import Store
from stead.authority.lockout import Lockout, LockoutPolicy
from stead.authority.ports import LogonFailures
with Store.open(sys.argv[1], create=True) as store:
    lockout = Lockout(store.credentials, LockoutPolicy(), time.time_ns)
    for line in sys.stdin:
        how, name = line.split()
        reservation = lockout.reserve(name)
        if how == "ours":
            lockout.fail(name, reservation)
        print(store.credentials.failures()[name].count, flush=True)
"""


@pytest.fixture
def disk():
    folder = Path(tempfile.mkdtemp(prefix="stead-disk-"))
    with FaultyDisk(folder) as mounted:
        Store.open(folder / "store.db", create=True).close()
        yield mounted
    shutil.rmtree(folder)


def counted_after_power_failed(disk, how):
    """Fail as each name in a server that ends with its machine; return the counts."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(disk.place / "store.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
    )
    for name in NAMES:
        process.stdin.write(f"{how} {name}\n")
        process.stdin.flush()
        assert int(process.stdout.readline()) >= 1  # this is the answer
    process.send_signal(signal.SIGKILL)
    process.communicate()
    disk.cut()
    with Store.open(disk.place / "store.db", create=False) as store:
        kept = store.credentials.failures()
    return [kept[name].count if name in kept else 0 for name in NAMES]


@pytest.mark.root
def test_a_failure_that_was_answered_is_counted_when_power_is_back(disk):
    assert 0 in counted_after_power_failed(disk, "naive")
    assert [1, 1, 1] == counted_after_power_failed(disk, "ours")
    assert [2, 2, 2] == counted_after_power_failed(disk, "ours")
