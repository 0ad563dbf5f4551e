"""Stores in folders of their own, and programs that use them from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stead
from stead.adapters.store import Store

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
