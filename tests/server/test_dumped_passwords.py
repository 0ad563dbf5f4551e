"""A dump of the process is searched for passwords: while a session has one, and after.

The naive server beside ours keeps it as a program would: in an attribute.
"""

from __future__ import annotations

from tests.memory_dump import said_by

PROGRAM = """
from stead.model.logon_record import LogonType
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from tests.memory_dump import MASK, dumped, read_masked, typed

class Naive:
    def log_on(self, masked):
        self.password = masked.translate(MASK)

masked = read_masked()
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
    set_up, open_, ended, naive = said_by(PROGRAM, b"a-long-password-7d1f3b")
    assert ("0", "0", "0 0") == (set_up, open_, ended)
    assert int(naive) > 0
