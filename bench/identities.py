"""What an identity costs: the block, the tripwire, carrying, and watching for leaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial

from bench import Bench

from stead import AccessToken, Enforcement, ProtectedServer, Sid, impersonate
from stead.monitor import tripwire
from stead.monitor.carrying import Lease, carried, run_aside
from stead.monitor.impersonation import subject_of
from stead.monitor.leaks import LeakWatch

_TOKEN = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
_variable: ContextVar[object] = ContextVar("bench", default=None)
_AT_ONCE = 500


def measure(bench: Bench) -> None:
    """Measure what needs no server, and then what a record adds."""
    _measure_open(bench)  # first of all: an audit hook cannot be taken out again
    bench.compare("token block, no server", block, to=("ContextVar set, reset", bare))
    with LeakWatch(print):
        bench.compare(
            "token block, watched for leaks", block, to=("ContextVar set, reset", bare)
        )
    _measure_carry(bench)
    _measure_steps(bench)


def block() -> None:
    """Enter a block and leave it."""
    with impersonate(_TOKEN):
        pass


def bare() -> None:
    """Do what a block does at the least."""
    _variable.reset(_variable.set(_TOKEN))


def _measure_open(bench: Bench) -> None:
    """Measure `open` with the hook beside the samples that were taken without it."""

    def opened() -> None:
        os.close(os.open(os.devnull, os.O_RDONLY))

    bench.compare("os.open, close, no tripwire", opened)
    without = bench.lines.pop()
    tripwire.install()
    bench.compare("os.open, close, tripwire up", opened)
    with_hook = bench.lines.pop()
    bench.add(
        "os.open, close, tripwire up",
        with_hook.seconds,
        to=("the same without", without.seconds),
    )


def _measure_carry(bench: Bench) -> None:
    def lease() -> Lease:
        return Lease(
            subject_of(_TOKEN, None), None, origin=None, many=True, where="bench"
        )

    ours = carried(_nothing, lease(), run_aside)
    plain = partial(_nothing)
    bench.compare("carried function called", ours, to=("functools.partial", plain))
    with ThreadPoolExecutor(1) as pool:
        bench.compare(
            "carried function in an executor",
            _many(pool, ours),
            to=("functools.partial in it", _many(pool, plain)),
            each=_AT_ONCE,
        )
    with ProtectedServer("bench", enforcement=Enforcement.TOKEN) as server:
        server.accounts.add("alice")
        client = server.client_for("alice", authenticated_by="bench")
        recorded = client.carry(_nothing, many=True)
        with ThreadPoolExecutor(1) as pool:
            bench.compare(
                "carried for a server's client, recorded",
                lambda: pool.submit(recorded).result(),
                to=(
                    "functools.partial in it, waited for",
                    lambda: pool.submit(plain).result(),
                ),
            )
        client.close()


def _many(pool: ThreadPoolExecutor, act: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        for future in [pool.submit(act) for _ in range(_AT_ONCE)]:
            future.result()

    return run


def _measure_steps(bench: Bench) -> None:
    """Measure one step of a coroutine that is the client in it."""
    lease = Lease(subject_of(_TOKEN, None), None, origin=None, many=True, where="bench")
    ours = carried(_steps, lease, run_aside)
    bench.compare(
        "a step of a carried coroutine",
        lambda: asyncio.run(ours()),
        to=("a step of a bare one", lambda: asyncio.run(_steps())),
        each=_AT_ONCE,
    )


def _nothing() -> None:
    """Be what is carried."""


async def _steps() -> None:
    for _ in range(_AT_ONCE):
        await asyncio.sleep(0)
