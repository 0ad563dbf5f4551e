"""A dump of the process is searched for passwords: while a session has one, and after.

The naive server beside ours keeps it as a program would: in an attribute.
"""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import re, sys
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

MASK = bytes(byte ^ 0x55 for byte in range(256))

def dumped(masked):
    # What a core dump holds: what can be read and is not marked `dd`.
    found, text = 0, open("/proc/self/smaps").read()
    ranges = re.findall(
        r"^([0-9a-f]+)-([0-9a-f]+) r.*?VmFlags:([^\\n]*)", text, re.M | re.S
    )
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for begin, end, flags in ranges:
            begin, end = int(begin, 16), int(end, 16)
            if "dd" in flags.split():
                continue
            try:
                memory.seek(begin)
                found += memory.read(end - begin).translate(MASK).count(masked)
            except (OSError, ValueError):
                continue
    return found

def typed(masked):
    secret = Secret(bytes(len(masked)))
    for at, byte in enumerate(masked):
        secret._content[at] = byte ^ 0x55
    return secret

class Naive:
    def log_on(self, masked):
        self.password = bytes(byte ^ 0x55 for byte in masked)

masked = sys.stdin.buffer.read()
with ProtectedServer("notes", enforcement=Enforcement.TOKEN) as server:
    server.accounts.add("alice")
    server.accounts.set_password("alice", typed(masked))
    print(dumped(masked))
    with server.log_on("alice", typed(masked), LogonType.INTERACTIVE) as session:
        print(dumped(masked))
        with session.credentials_for("password").revealed() as content:
            assert content.translate(MASK) == masked
        del content
    try:
        server.log_on("alice", typed(masked[::-1]))
    except PermissionError:
        pass
    churn = [bytes(len(masked)) for _ in range(10_000)]  # what a server does next
    print(dumped(masked), dumped(masked[::-1]))
naive = Naive()
naive.log_on(masked)
print(dumped(masked))
"""


def test_no_dump_of_the_server_has_a_password():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=bytes(byte ^ 0x55 for byte in b"a-long-password-7d1f3b"),
        capture_output=True,
        timeout=120,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
    )
    assert b"" == done.stderr
    set_up, open_, ended, naive = done.stdout.decode().split("\n")[:4]
    assert ("0", "0", "0 0") == (set_up, open_, ended)
    assert int(naive) > 0
