"""What the tests of ROOT share: folders that clients can reach, and programs."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stead.privileged.executor import KernelExecutor

PROGRAMS = Path(__file__).parent / "programs"


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root, because the kernel judges real uids")


@pytest.fixture
def world():
    """Give a folder that every uid can pass; pytest's own lies under a 0700 one."""
    folder = Path(tempfile.mkdtemp(prefix="stead-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def executor():
    with KernelExecutor(2, name="test") as opened:
        yield opened


@pytest.fixture
def run_program():
    """Give what runs one of the programs as a process of its own."""

    def run(name, *arguments, **options):
        return subprocess.run(
            [sys.executable, str(PROGRAMS / name), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **options,
        )

    return run


@pytest.fixture
def outcome_of(run_program):
    """Give what runs a program and reads the JSON it prints."""

    def outcome(name, *arguments, **options):
        done = run_program(name, *arguments, **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return outcome


@pytest.fixture
def file_of(world):
    """Give what makes a file with an owner and a mode."""

    def make(name, owner, mode=0o600, text="secret"):
        path = world / name
        path.write_text(text)
        os.chown(path, owner, owner)
        path.chmod(mode)
        return path

    return make
