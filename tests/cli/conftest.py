"""What the command line's tests share: stores, and ways to run a verb."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stead.cli.main import app
from stead.model.access_mask import AccessMask, Rights
from stead.model.explicit_access import allow, deny
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

ROOT = Path(__file__).resolve().parents[2]


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root, because the kernel judges real uids")


class Doc(Rights):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Ran:
    """What came of one command."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def private(tmp_path):
    """Give a folder that nobody else may enter."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def store(private):
    """Give a store with accounts, nested groups, a privilege and an object."""
    path = private / "notes.db"
    with ProtectedServer("notes", store=path, enforcement=Enforcement.TOKEN) as server:
        desk = server.accounts
        desk.add("alice", uid=70_101)
        desk.add("bob")
        for group in ("staff", "interns", "summer"):
            desk.add_group(group)
        desk.add_member("interns", "summer")
        desk.add_member("summer", "bob")
        for name in ("alice", "bob"):
            desk.add_member("staff", name)
        server.protect(
            "plan",
            Doc,
            [
                deny("interns", Doc.WRITE),
                allow("staff", Doc.READ | Doc.WRITE),
                allow("Administrators", AccessMask.READ_CONTROL),
            ],
            owner="Administrators",
        )
    return path


@pytest.fixture
def stead(store, monkeypatch):
    """Give what runs a verb in this process, over the store."""
    monkeypatch.setenv("STEAD_STORE", str(store))
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments):
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ran(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def process():
    """Give what runs a verb as a process, as people do."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "stead", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=ROOT,
            env=os.environ | environment,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def events(stead):
    """Give what lists the names of the trail's events after a number."""

    def list_events(after=0):
        lines = stead("audit", "list", "--json", "--after", after).lines
        return [json.loads(line)["record"]["event"] for line in lines]

    return list_events


@pytest.fixture
def length(stead):
    """Give what counts the records of the trail."""
    return lambda: stead("audit", "verify", "--json").json["count"]
