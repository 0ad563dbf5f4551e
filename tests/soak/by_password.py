"""Clients show passwords to a database and a file server, for a long time.

usage: by_password.py [--seconds N] [--clients N] [--seed N]

Each client is a thread with explicit credentials of its account, block after block. It
writes rows into a PostgreSQL (SCRAM-SHA-256-PLUS) and files to a Samba that is in no
domain (NTLMv2), over what the block keeps connected; now and then the password is wiped
in the middle. Whose each row and file is, the far end says: the role that the database
works as, the owner on the file server's disk. In the end rows are counted, and nothing
may be left of the blocks: no thread, no descriptor, no connection. Needs root.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cryptography import x509
from tests.soak.far_end import (
    Tally,
    act,
    descriptors,
    expect_rows,
    look_for_leftovers,
    run,
)

from stead import ProtectedServer
from stead.authority.password_credentials import PasswordCredentials
from stead.model.limits import Host
from stead.model.secret import Secret
from stead.server.enforcement import Enforcement
from stead.testing.certificates import SERVER, Authority
from stead.testing.file_server import FileServer
from stead.testing.postgres import Postgres

ACCOUNTS = ("alice", "bob", "carol", "dave")
WIPED_IN = 20
"""How many acts a password lasts, on average."""
INSERT = """\
insert into notes (body) values ('a row')
returning owner, session_user::text, current_user::text"""


@dataclass
class Far:
    """The servers at the far end, and the uids of accounts on the file server."""

    database: Postgres
    files: FileServer
    uids: dict[str, int]


class Client:
    """One client: block after block, until it is told to stop."""

    def __init__(
        self, number: int, open_client: Callable[[str], Any], far: Far, tally: Tally,
        seed: int,
    ) -> None:  # fmt: skip
        self.name = f"client{number}"
        self.account = ACCOUNTS[number % len(ACCOUNTS)]
        self.open_client = open_client
        self.far = far
        self.tally = tally
        self.choose = random.Random(seed * 1000 + number)
        self.count = 0

    def run(self, stop: threading.Event) -> None:
        acts = (
            (self.far.database.port, self.write_a_row),
            (self.far.files.port, self.write_a_file),
        )
        while not stop.is_set():
            port, act = self.choose.choice(acts)
            held = PasswordCredentials(self.account, Secret(f"{self.account}-pw"))
            client = self.open_client(self.account)
            try:
                with client.explicit_credentials(
                    held, target=Host("localhost", port)
                ) as to:
                    self.tally.add("blocks", self.account)
                    for _ in range(self.choose.randrange(1, 5)):
                        if not self.choose.randrange(WIPED_IN):
                            held.close()
                        self.count += 1
                        act(to)
            except Exception as error:  # expected of a password that was wiped, alone
                is_meant = held.is_closed and isinstance(error, PermissionError)
                self.tally.expect(True, is_meant, f"{self.name} failed: {error!r}")
                self.tally.add("ends", self.account)

    def write_a_row(self, to: Any) -> None:
        dsn = self.far.database.conninfo()
        with to.postgres(dsn).connection() as connection:
            seen = connection.execute(INSERT).fetchone()
        self.tally.expect((self.account,) * 3, seen, "the database saw")
        self.tally.add("rows", self.account)

    def write_a_file(self, to: Any) -> None:
        name = f"{self.name}-{self.count}"
        files = to.smb("localhost", port=self.far.files.port)
        with files.open(f"data/{name}", "x") as file:
            file.write(self.account)
        owner = (self.far.files.share / name).stat().st_uid
        self.tally.expect(self.far.uids[self.account], owner, f"{name} is owned by")
        self.tally.add("files", self.account)


def soak(given: argparse.Namespace, stack: ExitStack) -> Tally:
    """Set it up and let it run."""
    authority, folder = Authority(), stack.enter_context(tempfile.TemporaryDirectory())
    shown = authority.issue("localhost", x509.DNSName("localhost"), use=[SERVER])
    os.environ["SSL_CERT_FILE"] = str(authority.anchor(Path(folder) / "anchor.pem"))
    database = stack.enter_context(Postgres(certificate=shown))
    files = stack.enter_context(FileServer())
    for account in ACCOUNTS:
        database.add_role(account, f"{account}-pw")
    database.add_owned_rows("notes", ACCOUNTS)
    uids = {name: files.add_account(name, f"{name}-pw") for name in ACCOUNTS}
    far, tally = Far(database, files, uids), Tally()
    server = stack.enter_context(
        ProtectedServer(
            "front", enforcement=Enforcement.TOKEN,
            delegation=[
                f"postgres+scram://localhost:{database.port}",
                f"smb+ntlm://localhost:{files.port}",
            ],
        )
    )  # fmt: skip
    for account in ACCOUNTS:
        server.accounts.add(account)
    gc.collect()
    before = threading.active_count(), descriptors()

    def open_client(name: str) -> Any:
        return server.client_for(name, authenticated_by="a soak")

    clients = [
        Client(number, open_client, far, tally, given.seed)
        for number in range(given.clients)
    ]
    act(clients, given.seconds)
    look_for_leftovers(before, tally)
    count_at_the_end(far, tally)
    return tally


def count_at_the_end(far: Far, tally: Tally) -> None:
    """Count rows where they lie, and who is still connected there."""
    expect_rows(far.database, ACCOUNTS, tally)
    left = "select count(*) from pg_stat_activity where usename = any('{%s}')"
    tally.expect(["0"], far.database.execute(left % ",".join(ACCOUNTS)), "connections")


def main() -> int:
    """Read the arguments, run it and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=24)
    return run(soak, parser, ("blocks", "rows", "files", "ends"))


if __name__ == "__main__":
    sys.exit(main())
