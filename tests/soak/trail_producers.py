"""A server with many producers of records, which acts and tells after each is durable.

It is forked by `trail_cases.py` and mostly killed. Whatever a producer hears from the
ledger it tells on a pipe, one line at once: `ok NUMBER TOKEN` when the record is
durable and the act done, `no TOKEN` when it was refused. The act is a file named by the
token.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from stead import ClientContext, Enforcement, ProtectedServer, Rights, allow
from stead.adapters.store import Store
from stead.errors import LedgerUnavailableError, StoreUnavailableError
from stead.ledger.ledger import Ledger
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal

THREADS: Final = 6
TASKS: Final = 12
UNAVAILABLE: Final = (LedgerUnavailableError, StoreUnavailableError)
_PR_SET_PDEATHSIG: Final = 1
_PAUSE: Final = 0.005  # after a refusal, for not to ask in vain all the time
_DAY: Final = 86_400 * 10**9
_STEPS: Final = (0, 10**6, -(10**6), 3600 * 10**9, _DAY, -_DAY, 3650 * _DAY)


class Doc(Rights):
    """What can be done with the object that clients open."""

    READ = 1


class SteppingClock:
    """A wall clock that somebody sets all the time, back and forth."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._offset = self._chance.choice(_STEPS)
        self._real = time.time_ns

    def __call__(self) -> int:
        """Return the time, and now and then a very different one from now on."""
        if not self._chance.randrange(20):
            steps = (*_STEPS, -self._real())  # the last: the beginning of the epoch
            self._offset = self._chance.choice(steps)
        return self._real() + self._offset


@dataclass(frozen=True, slots=True)
class Orders:
    """What a server is told.

    Attributes:
        store: the store's file.
        acts: the folder of acts.
        life: which life this is; part of each token.
        has_steps: whether its clock is set all the time.
        naive: `early` to act and tell before the record is durable; `unflushed` to
            write without flushing: what must be found by whoever judges.
    """

    store: Path
    acts: Path
    life: int
    has_steps: bool = False
    naive: str = ""


class Producers:
    """All producers of one server."""

    def __init__(
        self,
        server: ProtectedServer,
        ledger: Ledger,
        told: int,
        orders: Orders,
        clock: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._server = server
        self._told = told
        self._orders = orders
        self._clock = clock
        self._numbers = count(1)
        self._principal = Principal(server.token.user, server.name)
        self._client = server.client_for("alice", authenticated_by="soak")
        self._plan = server.protect("plan", Doc, [allow("alice", Doc.READ)])
        self._is_ending = threading.Event()

    def say(self, line: str) -> None:
        """Tell whoever listens, in one piece."""
        os.write(self._told, f"{line}\n".encode())

    def run(self, ended: int) -> None:
        """Work until the other end of `ended` is closed."""
        # The server's own ledger would flush what a naive one did not.
        wanted = 0 if self._orders.naive else THREADS
        threads = [
            threading.Thread(target=self._guarded, args=(number,), daemon=True)
            for number in range(wanted)
        ]
        for thread in threads:
            thread.start()
        asyncio.run(self._tasks(ended))
        for thread in threads:
            thread.join()

    async def _tasks(self, ended: int) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(ended, self._is_ending.set)
        self.say("ready")
        await asyncio.gather(*(self._task(number) for number in range(TASKS)))
        loop.remove_reader(ended)

    def _token(self, who: str) -> str:
        return f"{self._orders.life}-{who}-{next(self._numbers)}"

    def _act(self, token: str) -> None:
        made = os.open(self._orders.acts / token, os.O_CREAT | os.O_EXCL, 0o600)
        os.close(made)

    # --- threads that ask the server --------------------------------------------------

    def _guarded(self, number: int) -> None:
        try:
            while not self._is_ending.is_set():
                self._open_object(self._token(f"thread{number}"))
        except BaseException as error:
            traceback.print_exc()
            self.say(f"wrong {error!r}")
            raise

    def _open_object(self, token: str) -> None:
        """Open an object for the client; act if that is granted; close it."""
        client: ClientContext = self._client.with_correlation(token)
        try:
            handle = self._server.open_object(client, self._plan, Doc.READ)
        except UNAVAILABLE:
            self.say(f"no {token}")
            time.sleep(_PAUSE)
            return
        self._act(token)
        self.say(f"ok {handle.number} {token}")
        handle.close()  # queued: nobody waits for it

    # --- tasks that ask a ledger of their own -----------------------------------------

    async def _task(self, number: int) -> None:
        while not self._is_ending.is_set():
            await self._submit(self._token(f"task{number}"))

    async def _submit(self, token: str) -> None:
        if self._orders.naive == "early":
            self._act(token)
            self.say(f"ok 0 {token}")
        try:
            future = self._ledger.submit(self._record(AuditEvent.OBJECT_ACCESS, token))
            written = await asyncio.wrap_future(future)
        except UNAVAILABLE:
            self.say(f"no {token}")
            await asyncio.sleep(_PAUSE)
            return
        if self._orders.naive != "early":
            self._act(token)
            self.say(f"ok {written} {token}")
        self._ledger.queue(self._record(AuditEvent.HANDLE_CLOSED, token))

    def _record(self, event: AuditEvent, token: str) -> AuditRecord:
        return AuditRecord(
            event=event,
            outcome=Outcome.SUCCESS,
            time=self._clock(),
            server=self._principal,
            chain=(self._principal,),
            correlation=token,
        )


def serve(orders: Orders, told: int, ended: int) -> None:
    """Be the server, in a process that was forked for it; never returns."""
    status = 1
    try:
        # Whoever forked it may be killed as well.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        clock: Callable[[], int] = time.time_ns
        if orders.has_steps:
            clock = SteppingClock(orders.life)
            time.time_ns = clock  # what the server hands to all of its parts
        _serve(orders, told, ended, clock)
        status = 0
    except UNAVAILABLE as error:
        os.write(told, f"refused to start: {error}\n".encode())
    except BaseException as error:
        traceback.print_exc()
        os.write(told, f"wrong {error!r}\n".encode())
    finally:
        sys.stderr.flush()
        os._exit(status)  # nothing of the parent's clean-up runs here


def _serve(orders: Orders, told: int, ended: int, clock: Callable[[], int]) -> None:
    with (
        Store.open(orders.store) as store,
        ProtectedServer(
            "soak",
            orders.store,
            enforcement=Enforcement.TOKEN,
            kernel_threads=1,
            handler_threads=2,
            trail_reserve=0,  # the disks are small
        ) as server,
    ):
        if orders.naive == "unflushed":
            engine = store.ledger._database._engine
            engine.raw_connection().execute("PRAGMA synchronous = OFF")
        server.accounts.add("alice", exist_ok=True)
        genesis = store.accounts.domain().to_bytes()
        with Ledger(
            store.ledger,
            genesis=genesis,
            note=lambda event, said: _note(server, clock(), event, said),
        ) as ledger:
            Producers(server, ledger, told, orders, clock).run(ended)


def _note(
    server: ProtectedServer, moment: int, event: AuditEvent, said: dict[str, str]
) -> AuditRecord:
    return AuditRecord(
        event=event,
        outcome=Outcome.FAILURE,
        time=moment,
        server=Principal(server.token.user, server.name),
        detail=said,
    )
