"""Many clients of few accounts go on to three kinds of servers, for a long time.

usage: second_hop.py [--seconds N] [--clients N] [--accounts N] [--seed N]

Each client is a thread with a session of its own in one server of Stead's, which it
logs on to with a password of a private Active Directory domain. It asks a web server,
writes to a file server and to a PostgreSQL, over and over, in any order, over whatever
connections its session keeps; now and then it logs off and on again, and so do others
of its account. Whose each request, file and row is, the far end says each time: the
principal that the web server authenticated, the owner of the file on its disk, the
principal and role of the database's connection. In the end all files and rows are
counted, and nothing may be left of the sessions: no thread, no descriptor. Needs root.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.adapters.outbound.web import serving
from tests.domain_clients import found
from tests.soak.far_end import (
    Tally,
    act,
    descriptors,
    expect_rows,
    look_for_leftovers,
    run,
)

from stead import ProtectedServer
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.model.logon_record import LogonType
from stead.model.privilege import LogonRight
from stead.server.enforcement import Enforcement
from stead.testing.domain import Domain
from stead.testing.postgres import Postgres

FRONT, WEB = "HTTP/front.ad.stead.test", "HTTP/localhost"
WHO = (
    "select current_user::text, principal from pg_stat_gssapi"
    " where pid = pg_backend_pid()"
)
ONCE_IN = 40
"""How many acts a session lasts, on average."""


@dataclass
class Far:
    """The servers at the far end, and what is known of them."""

    domain: Domain
    database: Postgres
    web: Any
    uids: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> Path:
        return self.domain.shares["data"]


class Client:
    """One client: it acts until it is told to stop."""

    def __init__(
        self, number: int, account: str, log_on: Callable[[], Any], far: Far,
        tally: Tally, seed: int,
    ) -> None:  # fmt: skip
        self.name = f"client{number}"
        self.account = account
        self.log_on = log_on
        self.far = far
        self.tally = tally
        self.choose = random.Random(seed * 1000 + number)
        self.count = 0

    def run(self, stop: threading.Event) -> None:
        acts = (self.ask_the_web, self.write_a_file, self.write_a_row)
        while not stop.is_set():
            with self.log_on() as session:
                self.tally.add("sessions", self.account)
                while not stop.is_set() and self.choose.randrange(ONCE_IN):
                    self.count += 1
                    try:
                        self.choose.choice(acts)(session)
                    except Exception as error:  # none is expected
                        what = f"{self.name} of {self.account} failed"
                        why = getattr(error, "advice", "")
                        self.tally.expect(None, f"{error!r}; {why}", what)
                        return

    @property
    def principal(self) -> str:
        return f"{self.account}@{self.far.domain.name}"

    def ask_the_web(self, session: Any) -> None:
        with session.http(self.far.web.url) as http:
            answer = http.get(f"/who?{self.name}-{self.count}")
        self.tally.expect(self.principal, answer.text, "the web server saw")
        self.tally.add("requests", self.account)

    def write_a_file(self, session: Any) -> None:
        name = f"{self.name}-{self.count}.txt"
        with session.smb(self.far.domain.address).open(f"data/{name}", "x") as file:
            file.write(self.account)
        path = self.far.share / name
        self.tally.expect(self.account, path.read_text("utf-8"), f"{name} holds")
        owner = path.stat().st_uid
        self.tally.expect(self.far.uids[self.account], owner, f"{name} is owned by")
        self.tally.add("files", self.account)

    def write_a_row(self, session: Any) -> None:
        conninfo = self.far.database.conninfo()
        with session.postgres(conninfo).connection() as connection:
            ((role, principal),) = connection.execute(WHO).fetchall()
            connection.execute(
                "insert into notes (body) values (%s)", [f"{self.name}-{self.count}"]
            )
            owners = connection.execute("select distinct owner from notes").fetchall()
        seen = (role, principal, owners)
        expected = (self.account, self.principal, [(self.account,)])
        self.tally.expect(expected, seen, "the database saw")
        self.tally.add("rows", self.account)


def learn_uids(far: Far, accounts: list[str], log_on: Callable[[str], Any]) -> None:
    """Have each account write a file, and see what the disk calls its owner.

    That the file is the account's, the file server says by the owner's SID.
    """
    for account in accounts:
        with log_on(account) as session:
            smb = session.smb(far.domain.address)
            with smb.open(f"data/first-{account}.txt", "x") as file:
                file.write(account)
        path = far.share / f"first-{account}.txt"
        if far.domain.owner_of(path) != far.domain.sid_of(account):
            raise AssertionError(f"{path} is not owned by {account}")
        far.uids[account] = path.stat().st_uid
    if len(set(far.uids.values())) != len(accounts):
        raise AssertionError("two accounts are one on the disk")


def count_at_the_end(far: Far, accounts: list[str], tally: Tally) -> None:
    """Count files and rows where they lie."""
    owners = Counter(path.stat().st_uid for path in far.share.iterdir())
    for account in accounts:
        files = tally.done[f"files of {account}"] + 1  # the first one
        tally.expect(files, owners[far.uids[account]], f"files of {account}")
    expect_rows(far.database, accounts, tally)


def soak(given: argparse.Namespace, stack: ExitStack) -> Tally:
    """Set it up and let it run."""
    accounts = [f"soak{number:02}" for number in range(given.accounts)]
    domain = stack.enter_context(Domain())
    passwords = {account: domain.add_user(account) for account in accounts}
    keys = domain.add_service("sql", Postgres.principal)
    web_keys = domain.add_service("web", WEB)
    stack.enter_context(found(domain))
    database = stack.enter_context(Postgres(domain=domain, keytab=keys))
    for account in accounts:
        database.add_role(account)
    database.add_owned_rows("notes", accounts)
    web = stack.enter_context(serving(web_keys))
    far, tally = Far(domain, database, web), Tally()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    own = KerberosService(
        domain.export_keytab("front", FRONT), FRONT,
        realms=[TrustedRealm(name=domain.name)], replay_cache=folder / "replays",
    )  # fmt: skip
    server = stack.enter_context(
        ProtectedServer(
            "front", folder / "front.db", enforcement=Enforcement.TOKEN,
            password_authorities=[KerberosPasswords(own, domain.name)],
            issuers=[Issuer(domain.name, names_accounts=True)],
        )
    )  # fmt: skip
    for account in accounts:
        server.accounts.add(account)
        server.accounts.grant(account, LogonRight.INTERACTIVE)

    def log_on(account: str) -> Any:
        name = f"{account}@{domain.name}"
        return server.log_on(name, passwords[account], LogonType.INTERACTIVE)

    learn_uids(far, accounts, log_on)
    gc.collect()
    before = threading.active_count(), descriptors()
    clients = [
        Client(number, account, lambda account=account: log_on(account), far, tally,
               given.seed)
        for number in range(given.clients)
        for account in [accounts[number % len(accounts)]]
    ]  # fmt: skip
    act(clients, given.seconds)
    count_at_the_end(far, accounts, tally)
    look_for_leftovers(before, tally)
    return tally


def main() -> int:
    """Read the arguments, run it and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--accounts", type=int, default=10)
    return run(soak, parser, ("sessions", "requests", "files", "rows"))


if __name__ == "__main__":
    sys.exit(main())
