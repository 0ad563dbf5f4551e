"""Passwords: what a logon costs beside what looking at the password costs by itself."""

from __future__ import annotations

import pwd
import shutil
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY
from bench import Bench

from stead import Enforcement, ProtectedServer
from stead.adapters.pam.authority import PamAuthority
from stead.adapters.pam.conversation import ask_pam
from stead.adapters.scram import Scram
from stead.adapters.scram_client import ScramClient
from stead.codec import scram
from stead.model.logon_record import LogonType
from stead.model.secret import Secret

WORD = "tiger"
REST = 0.03  # seconds in which nobody pays for what the one before has left to do
# A module that takes a password and hashes it with yescrypt at Debian's strength, as
# pam_unix does by /etc/shadow, which is none of a bench's to change.
MODULE = r"""
#include <crypt.h>
#include <string.h>
int pam_get_authtok(void *, int, const char **, const char *);
int pam_sm_authenticate(void *handle, int flags, int number, const char **words) {
    const char *word = 0;
    pam_get_authtok(handle, 6, &word, 0);
    struct crypt_data room;
    memset(&room, 0, sizeof room);
    char *made = crypt_r(word, "$y$j9T$steadsteadstead1$", &room);
    return made && !strcmp(word, "tiger") ? 0 : 7;
}
int pam_sm_setcred(void *handle, int flags, int number, const char **words) {
    return 0;
}
int pam_sm_acct_mgmt(void *handle, int flags, int number, const char **words) {
    return 0;
}
"""


def measure(bench: Bench, folder: Path) -> None:
    """Measure logons of each kind, and what is compared in each."""
    if shutil.which("cc") is None:
        bench.leave_out("logons", "a module of PAM has to be built, and there is no cc")
        return
    place = folder / "logons"
    place.mkdir(mode=0o700)
    with (
        service(place) as (services, name),
        PamAuthority(["HOST"], service="stead-bench", folder=services) as host,
    ):
        pam = ("pam by itself", lambda: ask_pam(
            "stead-bench", str(services), name, WORD.encode()
        ))  # fmt: skip
        compare_rested(
            bench,
            "PamAuthority.log_on, a process for it",
            lambda: host.log_on(name, "HOST", Secret(WORD), keep=False),
            pam,
        )
        with ProtectedServer(
            "bench", place / "a.db", enforcement=Enforcement.TOKEN,
            packages=[Scram(iterations=scram.MINIMUM_ITERATIONS)],
            password_authorities=[host],
        ) as server:  # fmt: skip
            server.accounts.add("alice")
            server.accounts.set_password("alice", Secret(WORD))
            network = LogonType.NETWORK
            compare_rested(
                bench,
                "log_on of the host's, two records",
                lambda: server.log_on(f"HOST\\{name}", WORD, network).close(),
                pam,
            )
            row = durable_row(place / "row.db")
            compare_rested(
                bench,
                "log_on of the host's, beside the least of it",
                lambda: server.log_on(f"HOST\\{name}", WORD, network).close(),
                ("pam's process, and a durable row", lambda: row(
                    host.log_on(name, "HOST", Secret(WORD), keep=False).name
                )),
            )  # fmt: skip
            hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
            kept = hasher.hash(WORD)
            bench.compare(
                "log_on of the store's, two records",
                lambda: server.log_on("alice", WORD, network).close(),
                to=("argon2 by itself", lambda: hasher.verify(kept, WORD)),
            )
            bench.compare(
                "logon by SCRAM, both sides, 4096 times",
                lambda: by_scram(server),
                to=(
                    "its hashing by itself",
                    lambda: scram.keys_of(WORD.encode(), bytes(16), 4096),
                ),
            )


def compare_rested(
    bench: Bench,
    what: str,
    act: Callable[[], object],
    to: tuple[str, Callable[[], object]],
) -> None:
    """Measure as `Bench.compare` does, each time after a rest.

    Processes for the next attempts are made ready after one: without a rest, whatever
    comes next would be measured with that.
    """
    samples: dict[Callable[[], object], list[float]] = {act: [], to[1]: []}
    for _ in range(bench.rounds):
        for one, found in samples.items():
            time.sleep(REST)
            began = time.perf_counter()
            one()
            found.append(time.perf_counter() - began)
    ours, bare = (statistics.median(found) for found in samples.values())
    bench.add(what, ours, to=(to[0], bare))


def durable_row(file: Path) -> Callable[[str], object]:
    """Return what writes a row of a record's size, and waits for the disk."""
    database = sqlite3.connect(file, isolation_level=None)
    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = full")
    database.execute("create table row (name text, said blob)")
    add = "insert into row values (?, zeroblob(1024))"
    return lambda name: database.execute(add, (name,))


def by_scram(server: ProtectedServer) -> None:
    """Be a client that proves that it knows the password."""
    client = ScramClient("alice", Secret(WORD))
    exchange = server.begin_logon("scram-sha-256")
    client.require_server(exchange.step(client.answer(exchange.step(client.first()))))
    if exchange.session is not None:
        exchange.session.close()


@contextmanager
def service(folder: Path) -> Iterator[tuple[Path, str]]:
    """Give a folder with a service that costs what passwords cost, and a user."""
    services = folder / "pam.d"
    services.mkdir(mode=0o755)
    source, module = folder / "module.c", folder / "module.so"
    source.write_text(MODULE)
    build = ["cc", "-O2", "-shared", "-fPIC", "-w", "-o", str(module), str(source)]
    subprocess.run([*build, "-lcrypt", "-l:libpam.so.0"], check=True)
    lines = f"auth required {module}\naccount required {module}\n"
    (services / "stead-bench").write_text(lines)
    yield services, pwd.getpwuid(1).pw_name
