"""Stores in folders of their own, and programs that use them from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.adapters.witness_stage import SIGNER, VERIFIER

import stead
from stead.adapters.store import Store
from stead.adapters.witness_files import WitnessFolder
from stead.errors import SteadError
from stead.ledger.witness import Witness

SOURCES = Path(stead.__file__).parents[1]
PYTHON_PATH = os.pathsep.join(
    filter(None, [str(SOURCES), os.environ.get("PYTHONPATH")])
)


@pytest.fixture
def folder(tmp_path):
    """A folder that only this process's uid may write."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def place(folder):
    return folder / "store.db"


@pytest.fixture(params=["file", "memory"])
def store(request, place):
    with Store.open(place if request.param == "file" else ":memory:") as opened:
        yield opened


@pytest.fixture
def run_program():
    """Start a Python program with arguments; every one is ended at last."""
    started = []

    def run(program, *arguments, **settings):
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", program, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": PYTHON_PATH},
                **settings,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def small_disk(folder):
    disk = folder / "disk"
    disk.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "stead", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a file system")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def open_witness(state):
    opened, reports = [], []

    def make(elsewhere=None, **options):
        folder = WitnessFolder(state, elsewhere)
        opened.append(folder)
        try:
            witness = Witness(folder, SIGNER, VERIFIER, reports.append, **options)
        except SteadError:
            folder.close()
            raise
        witness.folder, witness.reports = folder, reports
        return witness

    yield make
    for folder in opened:
        folder.close()


@pytest.fixture
def witness(open_witness):
    return open_witness()
