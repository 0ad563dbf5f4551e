"""A file server of a test's own: a real server, private, and gone afterwards."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import smbclient
from smbprotocol.exceptions import SMBOSError

from stead.errors import EnforcementUnavailableError
from stead.testing import file_server as module
from stead.testing.file_server import FileServer

pytestmark = [pytest.mark.root]

PROGRAM = """
import os
from stead.testing.file_server import FileServer
files = FileServer().__enter__()
print(files.folder, flush=True)
os.kill(os.getpid(), 9)
"""


def servers(folder):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if str(folder) in command:
            found.append(process)
    return found


def test_its_accounts_are_its_own_and_write_as_themselves(private_file_server):
    files = private_file_server
    uid = files.add_account("alice", "a password")
    cache = {}
    way = {"username": "alice", "port": files.port, "connection_cache": cache}
    with smbclient.open_file(
        r"\\127.0.0.1\data\own", mode="w", password="a password", **way
    ) as file:
        file.write("hers")
    assert uid == (files.share / "own").stat().st_uid
    with pytest.raises(SMBOSError, match="LOGON_FAILURE"):
        smbclient.listdir(
            r"\\127.0.0.1\data", username="alice", password="another",
            port=files.port, connection_cache={},
        )  # fmt: skip
    assert "alice" not in Path("/etc/passwd").read_text()
    with pytest.raises(EnforcementUnavailableError, match="pdbedit"):
        files.add_account("a:b", "x")
    smbclient.reset_connection_cache(connection_cache=cache)


def test_it_ends_with_its_block_and_again_does_nothing():
    with FileServer() as files:
        folder = files.folder
        assert servers(folder)
    assert not folder.exists()
    assert not servers(folder)
    files.close()


def test_it_ends_though_the_process_that_started_it_is_killed():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
    )  # fmt: skip
    folder = Path(done.stdout.strip())
    until = time.monotonic() + 60
    while (servers(folder) or folder.exists()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not servers(folder)
    assert not folder.exists()


def test_what_it_needs_is_said(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "PATH", "/nonexistent")
        with pytest.raises(EnforcementUnavailableError, match="smbd") as caught:
            FileServer().__enter__()
        assert "samba" in caught.value.advice
    monkeypatch.setattr(module, "_SECONDS_TO_START", 0.2)
    with pytest.raises(EnforcementUnavailableError, match="does not start"):
        FileServer("interfaces = nonsense", "smb ports = 1 x").__enter__()
