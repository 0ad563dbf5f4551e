"""Passwords: what a logon costs beside what looking at the password costs by itself."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import brokered
from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY
from bench import Bench

from stead import Enforcement, ProtectedServer
from stead.adapters.pam.authority import PamAuthority
from stead.adapters.pam.conversation import ask_pam
from stead.adapters.pam.verifier import FOLDER, SERVICE
from stead.adapters.scram import Scram
from stead.adapters.scram_client import ScramClient
from stead.codec import scram
from stead.model.logon_record import LogonType
from stead.model.secret import Secret

TURNS = 4  # times the usual rounds: what takes long is met by what others do
LONG_REST = 0.4  # and in which the broker has the next process ready
_ROOT = Path(__file__).resolve().parent.parent
NAME = "stead-bench"
WORD = "tiger"
REST = 0.03  # seconds in which nobody pays for what the one before has left to do


def measure(bench: Bench, folder: Path) -> None:
    """Measure logons of each kind, and what is compared in each."""
    place = folder / "logons"
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:
        sys.path.insert(0, str(_ROOT))
        from tests.host_accounts import HostAccount, own_accounts  # noqa: PLC0415

        with (
            own_accounts(place, {NAME: HostAccount(WORD)}),
            PamAuthority(["HOST"]) as host,
        ):
            measure_host(bench, place, host)
            measure_brokered(bench, place)
    else:
        bench.leave_out("logons of the host's", "they need root")
    with ProtectedServer(
        "bench", place / "a.db", enforcement=Enforcement.TOKEN,
        packages=[Scram(iterations=scram.MINIMUM_ITERATIONS)],
    ) as server:  # fmt: skip
        server.accounts.add("alice")
        server.accounts.set_password("alice", Secret(WORD))
        hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        kept = hasher.hash(WORD)
        bench.compare(
            "log_on of the store's, two records",
            lambda: server.log_on("alice", WORD, LogonType.NETWORK).close(),
            to=("argon2 by itself", lambda: hasher.verify(kept, WORD)),
            turns=TURNS,
        )
        bench.compare(
            "logon by SCRAM, both sides, 4096 times",
            lambda: by_scram(server),
            to=(
                "its hashing by itself",
                lambda: scram.keys_of(WORD.encode(), bytes(16), 4096),
            ),
        )


def measure_host(bench: Bench, place: Path, host: PamAuthority) -> None:
    """Measure logons of an account of the host's, by `pam_unix` and our service."""
    pam = (
        "pam by itself",
        lambda: ask_pam(SERVICE, str(FOLDER), NAME, WORD.encode()),
    )
    compare_rested(
        bench,
        "PamAuthority.log_on, a process for it",
        lambda: host.log_on(NAME, "HOST", Secret(WORD), keep=False),
        pam,
    )
    with ProtectedServer(
        "bench", place / "host.db", enforcement=Enforcement.TOKEN,
        password_authorities=[host],
    ) as server:  # fmt: skip
        compare_rested(
            bench,
            "log_on of the host's, two records",
            lambda: server.log_on(f"HOST\\{NAME}", WORD, LogonType.NETWORK).close(),
            pam,
        )


def measure_brokered(bench: Bench, place: Path) -> None:
    """Measure the same for a server that is not root, whose broker asks PAM."""
    ours, bare = [], []
    folder = place / "broker"
    folder.mkdir(mode=0o711)
    place.chmod(0o711)
    with brokered.logging_on(folder, NAME, WORD) as log_on:
        log_on()
        for _ in range(bench.rounds):
            time.sleep(LONG_REST)
            ours.append(log_on())
            time.sleep(LONG_REST)
            began = time.perf_counter()
            ask_pam(SERVICE, str(FOLDER), NAME, WORD.encode())
            bare.append(time.perf_counter() - began)
    bench.add(
        "through the broker: log_on",
        statistics.median(ours),
        to=("pam by itself", statistics.median(bare)),
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
    for _ in range(bench.rounds * TURNS):
        for one, found in samples.items():
            time.sleep(REST)
            began = time.perf_counter()
            one()
            found.append(time.perf_counter() - began)
    ours, bare = (statistics.median(found) for found in samples.values())
    bench.add(what, ours, to=(to[0], bare))


def by_scram(server: ProtectedServer) -> None:
    """Be a client that proves that it knows the password."""
    client = ScramClient("alice", Secret(WORD))
    exchange = server.begin_logon("scram-sha-256")
    client.require_server(exchange.step(client.answer(exchange.step(client.first()))))
    if exchange.session is not None:
        exchange.session.close()
