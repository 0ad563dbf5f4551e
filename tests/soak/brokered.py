"""Many clients of a server without root, while it, the broker and all below are killed.

usage: brokered.py [--clients N] [--acts N]

Each client is a process with a uid of its own. It connects to the gate, has files made
and read and a function run as itself, and tries the file of the next client; when
something was killed under it, it connects again. The broker, its monitors, launchers,
keepers and workers, the server and clients are killed at random. At the end each file
has its owner, no process of a client is left, and the trail verifies, with a record for
each answer and each file. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import encodings.idna  # noqa: F401 - a client cannot import it when it looks it up
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.privileged.broker_stage import NOTES, Stage
from tests.soak.processes import descendants_of, left_behind

from stead import ClientContext, Enforcement, ProtectedServer
from stead.adapters.store import Store
from stead.errors import RemoteError, SteadError
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.server import PipeGate
from stead.ledger.chain import verify
from stead.ledger.query import Query, find
from stead.model.audit_record import AuditEvent
from stead.model.token import ImpersonationLevel
from stead.privileged.late_imports import preload

FIRST_UID = 72_000
DENIED = "access is denied"
SECONDS = 60.0
SECONDS_BETWEEN_KILLS = 1.0
_lives = count(1)


# --- the server, under an ordinary uid ------------------------------------------------


def serve(stage: Stage, store: Path) -> None:
    """Offer what clients ask for, until it is killed or told to end."""
    server = ProtectedServer("notes", store=store, broker=stage.socket)
    level = ImpersonationLevel.IMPERSONATION

    @server.operation("who", level=level)
    def who(client: ClientContext) -> list[int]:
        return list(client.run(os.getresuid))

    @server.operation("make", level=level)
    def make(client: ClientContext, path: str) -> list[int]:
        with client.open(path, "x") as file:
            status = os.fstat(file.fileno())
        return [status.st_uid, status.st_gid]

    @server.operation("read", level=level)
    def read(client: ClientContext, path: str) -> str:
        with client.open(path) as file:
            return str(file.read())

    gate = PipeGate(stage.gate, name="notes", entrance=server.entrance(stage.gate))
    with server:
        asyncio.run(server.serve(gate))


# --- a client -------------------------------------------------------------------------


class Asker:
    """A client that asks all the time, and tells what it was answered."""

    def __init__(self, stage: Stage, uid: int, other: int, told: int) -> None:
        self._stage = stage
        self._uid = uid
        self._other = other
        self._told = told
        self._life = next(_lives)
        self._numbers = count(1)

    def run(self) -> None:
        """Connect again and again, and ask."""
        while True:
            mark = f"{self._life}-{next(self._numbers)}"
            try:
                with PipeClient.connect(
                    self._stage.gate, server_uid=0, timeout=SECONDS, correlation=mark,
                    level=ImpersonationLevel.IMPERSONATION,
                ) as link:  # fmt: skip
                    self._say("connected")
                    self._ask(link, mark)
            except (SteadError, OSError) as error:
                self._say("cut off", why=f"{type(error).__name__}: {error}")
                time.sleep(0.02)

    def _ask(self, link: PipeClient, mark: str) -> None:
        for number in count(1, 4):
            answered = [f"{mark}.{number + step}" for step in range(3)]
            home = self._stage.open / str(self._uid)
            made = home / f"{mark}-{number}"
            ids = link.call("who")
            owner = link.call("make", path=str(made))
            text = link.call("read", path=str(home / "note"))
            try:
                link.call("read", path=f"{self._stage.open}/{self._other}/note")
                refusal = "none"
            except RemoteError as error:
                refusal = str(error)
            said = [ids, owner, text]
            right = [[self._uid] * 3, [self._uid] * 2, str(self._uid)]
            is_right = said == right and refusal != "none"
            wrong = [] if is_right else [f"{self._uid} heard {said}, {refusal}"]
            self._say("round", answered=answered, made=made.name, wrong=wrong)
            if refusal != DENIED:
                raise SteadError(refusal)  # something was killed under it

    def _say(self, kind: str, **more: object) -> None:
        line = json.dumps({"kind": kind, "uid": self._uid, **more}) + "\n"
        os.write(self._told, line.encode())


# --- processes ------------------------------------------------------------------------


def forked(uid: int, act: Callable[[], None], log: Path) -> int:
    """Start a process under a uid, forked after all imports; return its number."""
    pid = os.fork()
    if not pid:
        be(uid, act, log)
    return pid


def be(uid: int, act: Callable[[], None], log: Path) -> NoReturn:
    """Drop to a uid, and do something; nothing of the parent's clean-up runs."""
    try:
        errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(errors, 2)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        act()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


class World:
    """All processes, what they told, and what was killed."""

    def __init__(self, folder: Path, clients: int, seed: int) -> None:
        self.folder = folder
        self.stage = Stage(folder)
        self.stage.write(limits="")
        self.store = folder / "store" / "notes.db"
        self.store.parent.mkdir(mode=0o700)
        os.chown(self.store.parent, NOTES, NOTES)
        self.count: Counter[str] = Counter()
        self.answered: list[str] = []
        self.made: set[str] = set()
        self.wrong: list[str] = []
        self._left = b""
        self._chance = random.Random(seed)
        self._told, self._telling = os.pipe()
        self.uids = list(range(FIRST_UID, FIRST_UID + clients))
        for uid in self.uids:
            self._house(uid)
        self.stage.start()
        self.server = self._new_server()
        self.clients = {uid: self._new_client(uid) for uid in self.uids}

    def _house(self, uid: int) -> None:
        home = self.stage.open / str(uid)
        home.mkdir(mode=0o700)
        (home / "note").write_text(str(uid))
        for place in (home / "note", home):
            os.chown(place, uid, uid)
        (home / "note").chmod(0o600)

    def _new_server(self) -> int:
        log = self.folder / "server.log"
        return forked(NOTES, lambda: serve(self.stage, self.store), log)

    def _new_client(self, uid: int) -> int:
        other = self.uids[(self.uids.index(uid) + 1) % len(self.uids)]
        asker = Asker(self.stage, uid, other, self._telling)
        return forked(uid, asker.run, self.folder / "clients.log")

    def listen(self, seconds: float) -> None:
        """Hear what clients tell for a time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._told], [], [], left)[0]:
                *lines, self._left = (
                    self._left + os.read(self._told, 1 << 16)
                ).split(b"\n")  # fmt: skip
                for line in lines:
                    self._hear(json.loads(line))

    def _hear(self, said: dict[str, object]) -> None:
        kind = str(said["kind"])
        self.count[kind] += 1
        if kind == "round":
            self.count["acts"] += 4
            self.answered += said["answered"]  # type: ignore[operator]  # a list
            self.made.add(f"{said['uid']}/{said['made']}")
            self.wrong += said["wrong"]  # type: ignore[operator]  # a list

    def kill_something(self) -> None:
        """Kill one process with -9, and start it anew if it was started here."""
        kind = self._chance.choice(("below", "below", "server", "client", "broker"))
        broker = self.stage.process
        assert broker is not None
        if kind == "below":
            below = descendants_of(broker.pid)
            if below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._chance.choice(below), signal.SIGKILL)
        elif kind == "server":
            end(self.server)
            self.server = self._new_server()
        elif kind == "client":
            uid = self._chance.choice(self.uids)
            end(self.clients[uid])
            self.clients[uid] = self._new_client(uid)
        else:
            self.stage.kill()
            self.stage.start()
        self.count[f"killed: {kind}"] += 1

    def end(self) -> None:
        """End everything: clients, then the server in order, then the broker."""
        for pid in self.clients.values():
            end(pid)
        self.listen(0.2)
        os.kill(self.server, signal.SIGTERM)
        os.waitpid(self.server, 0)
        if self.stage.stop():
            self.wrong.append("the broker ended in disorder")


def end(pid: int) -> None:
    """Kill a process of ours, and wait for its end."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# --- afterwards -----------------------------------------------------------------------


def judged(world: World) -> list[str]:
    """Say what is not as it should be: owners, processes, the trail."""
    found = world.wrong + left_behind(range(FIRST_UID, FIRST_UID + len(world.uids)))
    there = set()
    for uid in world.uids:
        for made in (world.stage.open / str(uid)).iterdir():
            status = made.lstat()
            if (status.st_uid, status.st_gid) != (uid, uid):
                found.append(f"`{made}` belongs to {status.st_uid}")
            if made.name != "note":
                there.add(f"{uid}/{made.name}")
    found += [f"`{name}` is gone" for name in world.made - there]
    return found + trail_judged(world, there)


def trail_judged(world: World, there: set[str]) -> list[str]:
    """Verify the trail; hold answers and files against it."""
    for place in (world.store.parent, *world.store.parent.iterdir()):
        os.chown(place, 0, 0)
    ended, asked = set(), set()
    with Store.open(world.store, create=False) as store:
        verified = verify(store.ledger.entries(), store.accounts.domain().to_bytes())
        for _, record in find(store.ledger, Query()):
            if record.event is AuditEvent.OPERATION_ENDED:
                ended.add(record.correlation.rpartition(" ")[2])
            if record.event is AuditEvent.HANDLE_REQUESTED:
                asked.add("/".join(record.object_name.split("/")[-2:]))
    print(f"{verified.count} records verified, {len(there)} files")
    found = [f"the answer {mark} has no record" for mark in world.answered
             if mark not in ended]  # fmt: skip
    return found + [f"`{name}` was made unrecorded" for name in there - asked]


def main() -> int:
    """Read the arguments, run it, and tell what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--acts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("the soak test needs root: the broker is root")
        return 1
    # Whoever drops to another uid can import nothing more.
    preload()
    with ProtectedServer("rehearsal", enforcement=Enforcement.TOKEN):
        began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stead-soak-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        world = World(folder, given.clients, given.seed)
        chance, silent = random.Random(given.seed), time.monotonic()
        while world.count["acts"] < given.acts and not world.wrong:
            acts = world.count["acts"]
            world.listen(chance.uniform(0, 2 * SECONDS_BETWEEN_KILLS))
            if world.count["acts"] > acts:
                silent = time.monotonic()
                world.kill_something()
            elif time.monotonic() > silent + SECONDS:
                world.wrong.append("nobody is served any more")
        world.end()
        print(f"{dict(world.count)} in {time.monotonic() - began:.0f} s")
        found = judged(world)
        if found:
            print((folder / "server.log").read_text("utf-8")[-3000:])
    print("\n".join(found[:50]) or "nobody was mistaken for anybody")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
