"""Blocks of several threads, interleaved at random and attacked, beside a model.

Actors are threads that do one step at a time when they are told to: some hardened,
where the kernel follows, and some plain. The model of one is a list of names. After
each step every actor is asked who it is, and which of two files it can read; whatever
else happened, it is whom its innermost open block says, or an error.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stead.errors import (
    AccessDeniedError,
    LateImportError,
    NoThreadTokenError,
    RevertOrderError,
    StrangerIdentityError,
)
from stead.monitor import context
from stead.monitor.effective import effective_token
from stead.privileged.system_uids import DEFAULT_GUARD_UID as GUARD
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

UIDS = {"alice": 70001, "bob": 70002}
SERVER, LOST = "the server", "lost"
HARDENED, PLAIN = 2, 1
WAIT = 60


class Actor:
    """A thread that does what it is told, one thing at a time, inside its blocks.

    Attributes:
        blocks: what it has entered, the outermost first.
    """

    def __init__(self, start, *, is_kernel):
        self.is_kernel = is_kernel
        self.blocks = []
        self._steps = SimpleQueue()
        self.ended = start(self._live)

    def _live(self):
        while (step := self._steps.get()) is not None:
            act, told = step
            try:
                told.set_result(act())
            except BaseException as error:
                told.set_exception(error)

    def do(self, act):
        told = Future()
        self._steps.put((act, told))
        return told.result(WAIT)

    def end(self):
        for entry in reversed(self.blocks):
            with suppress(RevertOrderError):  # it may be spoilt, or out of order
                self.do(entry.statement.close)
        self._steps.put(None)
        with suppress(RevertOrderError):  # what it left open fails its work
            self.ended.result(WAIT)


@dataclass(slots=True)
class Entry:
    """A block that an actor has entered.

    Attributes:
        name: whom it became.
        block: the block.
        statement: the `with` statement, at work until it is closed.
        is_spoilt: whether another thread has left it.
    """

    name: str
    block: object
    statement: object
    is_spoilt: bool = False


def at_work(block):
    with block:
        yield


def on_a_plain_thread(work):
    ended = Future()

    def live():
        context._current.set(None)
        work()
        ended.set_result(None)

    threading.Thread(target=live, daemon=True).start()
    return ended


def who_am_i():
    """Return whom Stead and the kernel take this thread for."""
    try:
        found = effective_token().user
    except (StrangerIdentityError, NoThreadTokenError) as error:
        found = type(error)
    return found, os.geteuid()


def readable(files):
    """Return the names of whose files this thread can read."""
    found = set()
    for name, path in files.items():
        with suppress(PermissionError):
            found.add(name if path.read_text() == name else "somebody else's")
    return found


class Stage:
    """A server whose blocks the kernel judges, two clients, and a file of each."""

    def __init__(self, folder):
        store = folder / "store"
        store.mkdir(mode=0o700)
        self.server = ProtectedServer(
            "notes",
            store=store / "notes.db",
            enforcement=Enforcement.KERNEL,
            kernel_threads=HARDENED,
        )
        self.clients, self.files = {}, {}
        for name, uid in UIDS.items():
            self.server.accounts.add(name, uid=uid)
            client = self.server.client_for(name, authenticated_by="test")
            path = folder / name
            path.write_text(name)
            path.chmod(0o600)
            os.chown(path, uid, uid)
            self.clients[name], self.files[name] = client, path


@pytest.fixture(scope="module")
def stage():
    folder = Path(tempfile.mkdtemp(prefix="stead-test-"))
    folder.chmod(0o755)
    opened = Stage(folder)
    yield opened
    opened.server.close()
    shutil.rmtree(folder)


class Schedules(RuleBasedStateMachine):
    """Steps of actors in any order, and what comes between them."""

    def __init__(self, stage):
        super().__init__()
        self.server, self.clients = stage.server, stage.clients
        self.files = stage.files
        submit = self.server.executor().submit
        self.actors = [Actor(submit, is_kernel=True) for _ in range(HARDENED)]
        self.actors += [Actor(on_a_plain_thread, is_kernel=False) for _ in range(PLAIN)]

    def teardown(self):
        for actor in self.actors:
            actor.end()

    actor = st.integers(0, HARDENED + PLAIN - 1)
    name = st.sampled_from(sorted(UIDS))

    # --- what threads do ----------------------------------------------------------

    @rule(number=actor, name=name)
    def enter(self, number, name):
        actor = self.actors[number]
        self.hold(actor, name, self.clients[name].impersonate())

    @rule(number=actor)
    def act_as_the_server(self, number):
        self.hold(self.actors[number], SERVER, self.server.as_server())

    @precondition(lambda self: any(actor.blocks for actor in self.actors))
    @rule(data=st.data())
    def leave(self, data):
        actor = self.one_with_blocks(data)
        entry = actor.blocks.pop()
        if entry.is_spoilt:
            with pytest.raises(RevertOrderError):
                actor.do(entry.statement.close)
        else:
            actor.do(entry.statement.close)

    # --- what must not change who they are ----------------------------------------

    @rule(number=actor, name=name)
    def a_stream_is_abandoned(self, number, name):
        def stream():
            with self.clients[name].impersonate():
                yield os.geteuid()

        def abandon():
            abandoned = stream()
            first = next(abandoned)
            del abandoned
            gc.collect()
            return first

        expected = UIDS[name] if self.actors[number].is_kernel else 0
        assert expected == self.actors[number].do(abandon)

    @rule(number=actor, name=name)
    def a_block_raises(self, number, name):
        def fail():
            with self.clients[name].impersonate():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.actors[number].do(fail)

    @rule()
    def a_signal_comes(self):
        came = []
        before = signal.signal(signal.SIGUSR1, lambda *_: came.append(who_am_i()[1]))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, before)
        assert [0] == came

    @rule(number=actor)
    def a_thread_is_begun(self, number):
        """It begins as the server, or not at all: never as the client."""

        def begin():
            found = []
            thread = threading.Thread(target=lambda: found.append(who_am_i()[1]))
            try:
                thread.start()
            except (RuntimeError, AccessDeniedError):
                return 0
            thread.join()
            return found[0]

        assert 0 == self.actors[number].do(begin)

    @precondition(lambda self: any(self.is_client(a) for a in self.actors))
    @rule(data=st.data())
    def what_is_not_loaded_is_imported(self, data):
        actor = data.draw(
            st.sampled_from([a for a in self.actors if self.is_client(a)])
        )
        with pytest.raises(LateImportError):
            actor.do(lambda: __import__("this_is_not_there"))

    @precondition(lambda self: any(self.is_client(a) for a in self.actors))
    @rule(data=st.data())
    def a_process_is_forked(self, data):
        actor = data.draw(
            st.sampled_from([a for a in self.actors if self.is_client(a)])
        )
        with pytest.raises(PermissionError):
            actor.do(os.fork)

    # --- leaks ------------------------------------------------------------------------

    @precondition(lambda self: any(actor.blocks for actor in self.actors))
    @rule(data=st.data(), thief=actor)
    def another_thread_leaves_it(self, data, thief):
        actor = self.one_with_blocks(data)
        other = self.actors[thief]
        if other is actor:
            return
        entry = actor.blocks[-1]
        with pytest.raises(RevertOrderError):
            other.do(entry.block.leave)
        entry.is_spoilt = True

    @precondition(lambda self: any(len(actor.blocks) > 1 for actor in self.actors))
    @rule(data=st.data())
    def the_outer_one_is_left_first(self, data):
        able = [actor for actor in self.actors if len(actor.blocks) > 1]
        actor = data.draw(st.sampled_from(able))
        with pytest.raises(RevertOrderError):
            actor.do(actor.blocks[0].statement.close)
        _, uid = actor.do(who_am_i)
        assert uid in (self.uid_of(actor), GUARD)
        self.begin_anew(actor)

    # --- the model --------------------------------------------------------------------

    @invariant()
    def every_thread_is_whom_its_innermost_block_says(self):
        for actor in self.actors:
            name, is_spoilt = self.innermost(actor)
            found, uid = actor.do(who_am_i)
            if is_spoilt:
                assert found is StrangerIdentityError  # until it is left at home
            elif name in UIDS:
                assert self.clients[name].sid == found
            elif name is SERVER:
                assert self.server.token.user == found
            else:
                nobody = (
                    NoThreadTokenError if actor.is_kernel else self.server.token.user
                )
                assert nobody == found
            assert self.uid_of(actor) == uid

    @invariant()
    def every_thread_reads_what_its_client_may(self):
        for actor in self.actors:
            name, is_spoilt = self.innermost(actor)
            if name not in UIDS:
                continue
            is_judged = actor.is_kernel and not is_spoilt
            expected = {name} if is_judged else set()
            assert expected == actor.do(lambda: readable(self.files))

    def hold(self, actor, name, block):
        """Have an actor enter a block, by a statement that waits until it is closed."""
        statement = at_work(block)
        actor.do(lambda: next(statement))
        actor.blocks.append(Entry(name, block, statement))

    def innermost(self, actor):
        if not actor.blocks:
            return LOST, False
        return actor.blocks[-1].name, actor.blocks[-1].is_spoilt

    def uid_of(self, actor):
        name, _ = self.innermost(actor)
        return UIDS.get(name, 0) if actor.is_kernel else 0

    def is_client(self, actor):
        return self.innermost(actor)[0] in UIDS

    def one_with_blocks(self, data):
        return data.draw(st.sampled_from([a for a in self.actors if a.blocks]))

    def begin_anew(self, actor):
        """End the actor's work, which fails it, and give its thread other work."""
        actor.end()
        start = self.server.executor().submit if actor.is_kernel else on_a_plain_thread
        place = self.actors.index(actor)
        self.actors[place] = Actor(start, is_kernel=actor.is_kernel)


@pytest.mark.root
@pytest.mark.leaks_identity
def test_identities_hold_in_any_schedule(stage):
    run_state_machine_as_test(
        lambda: Schedules(stage),
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
