"""Bare tokens' blocks: the twin in C and Python do the same, whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import threading
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from stead.errors import (
    BadImpersonationLevelError,
    LoopThreadError,
    RevertOrderError,
    StrangerIdentityError,
)
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import context, frames, impersonation, tripwire
from stead.monitor.context import Frame
from stead.monitor.effective import thread_token
from stead.monitor.impersonation import MOST_SUBJECTS, impersonate, subject_of

PROGRAMS = Path(__file__).with_name("programs")
ALICE, BOB = (AccessToken(Sid.from_string(f"S-1-5-21-1-2-3-{n}")) for n in (1001, 1002))
TWIN = frames.TWIN


def here():
    """Return whom this thread's blocks are for, and who is in force."""
    frame = context.raw_frame()
    return [each.subject.token for each in context.here()], (
        None if frame is None else frame.subject.token
    )


NOBODY = ([], None)


def is_nobody():
    """Tell whether nothing is in force here, for whoever asks."""
    return context.current_frame() is None and context.watched_frame() is None


def ran(program, *arguments):
    unmeasured = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, str(PROGRAMS / program), *arguments],
        env=unmeasured,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


# --- both -----------------------------------------------------------------------


def test_the_twin_has_the_fields_that_python_has():
    fields = set(frames.PureFields.__slots__) - {"__weakref__"}
    assert fields <= set(dir(frames.Fields))
    assert set(frames.PureDoor.__slots__) <= set(dir(frames.Door))
    assert set(frames.PurePassFields.__slots__) <= set(dir(frames.PassFields))
    assert set(frames.PureStandingFields.__slots__) <= set(dir(frames.StandingFields))


@pytest.mark.parametrize("kind", [frames.PureFields, frames.Fields])
def test_a_new_frame_is_in_force_and_its_own_process(kind):
    place = context.here()
    frame = kind(
        kind=frames.FrameKind.CLIENT, subject=None, guard=None, outer=None, place=place,
        task=None, grip=None, at="here", code=None, last=0,
    )  # fmt: skip
    assert (False, False, False) == (frame.is_kernel, frame.is_closed, frame.is_left)
    assert (None, None, None) == (frame.look, frame.revert, frame.outer)
    assert (os.getpid(), place, "here") == (frame.process, frame.place, frame.at)
    with pytest.raises(TypeError):
        kind()


def spots():
    """Return what both say of who calls, which are here on one line."""
    return [frames.where(*find()) for find in (frames.pure_spot, frames.spot)]


def test_both_name_the_same_caller():
    nameless = {"spots": spots, "__name__": "contextlib"}
    exec("def ask(): return spots()", nameless)  # noqa: S102 - code of another module
    for ask in (spots, nameless["ask"]):
        assert f"{__file__}:" in ask()[0]
        assert 1 == len(set(ask()))
    assert "" == frames.where(None, 0)
    assert f"{__file__}:{spots.__code__.co_firstlineno}" == frames.where(
        spots.__code__, 1 << 20
    )


@contextlib.contextmanager
def managed():
    with impersonate(ALICE):
        yield context.raw_frame()


def test_a_frame_names_the_line_of_its_with_statement():
    line = sys._getframe().f_lineno + 1
    with impersonate(ALICE):
        assert f"{__file__}:{line}" == context.raw_frame().where
    with contextlib.ExitStack() as stack:
        line = sys._getframe().f_lineno + 1
        stack.enter_context(impersonate(ALICE))
        assert f"{__file__}:{line}" == context.raw_frame().where
    with managed() as frame:
        assert frame.where.startswith(f"{__file__}:")


# --- whole or not at all --------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", ["twin", "pure"])
@pytest.mark.parametrize("how", ["instructions", "timer"])
@pytest.mark.parametrize("what", ["bare", "pass"])
def test_an_interrupt_finds_a_plain_block_entered_or_not(what, which, how):
    done = ran("interrupted.py", f"{what}_{how}", which)
    assert (0, "") == (done.returncode, done.stderr)
    assert "interrupted" in done.stdout


def without(number, act):
    """Do something while one allocation fails; tell whether it raised."""
    import _testcapi

    try:
        _testcapi.set_nomemory(number, number + 1)
        try:
            act()
        finally:
            _testcapi.remove_mem_hooks()
    except MemoryError:
        return True
    return False


def test_without_memory_a_block_is_entered_or_not():
    """Each of its allocations fails once; what failed leaves nothing behind."""
    came = []
    for number in range(60):
        block = impersonate(ALICE)
        came.append(without(number, block.__enter__))
        if not came[-1]:
            assert ([ALICE], ALICE) == here()
            block.leave()
        assert is_nobody()
        assert NOBODY == here()
    assert {True, False} == set(came)


def down(frames_, act):
    return down(frames_ - 1, act) if frames_ else act()


def test_at_the_end_of_the_stack_a_block_is_entered_or_not():
    def stay():
        with impersonate(ALICE):
            pass

    came = set()
    limit = sys.getrecursionlimit()
    for depth in range(limit - 200, limit):
        try:
            down(depth, stay)
            came.add("stayed")
        except RecursionError:
            came.add("refused")
        assert is_nobody(), depth
    assert {"stayed", "refused"} == came


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.leaks_identity
def test_what_is_collected_meanwhile_takes_no_block_with_it():
    """Abandoned generators end their blocks in the middle of what others enter."""

    def stream(token):
        with impersonate(token):
            yield

    def abandon():
        cycle = [stream(BOB)]
        next(cycle[0])
        cycle.append(cycle)

    before, stayed = gc.get_threshold(), 0
    gc.collect()
    gc.freeze()  # what other tests left is looked through no more
    try:
        for number in range(300):
            gc.disable()
            abandon()
            gc.set_threshold(1 + number % 7)
            gc.enable()
            # What is collected just between two questions is an error, and nobody.
            with contextlib.suppress(StrangerIdentityError), impersonate(ALICE):
                stayed += thread_token() is ALICE
                with impersonate(BOB):
                    assert BOB is thread_token()
                assert ALICE is thread_token()
            gc.collect()
            assert is_nobody()
        assert stayed > 100
    finally:
        gc.enable()
        gc.set_threshold(*before)
        gc.unfreeze()


class Watch:
    """A watch that raises where it is told to."""

    def __init__(self, moment):
        self.moment = moment

    def entered(self, frame):
        self.raise_at("entered")

    def left(self, frame):
        self.raise_at("left")

    def forgotten(self, frame):
        """Hear of a block that nobody left."""

    strayed = ended = forgotten

    def raise_at(self, moment):
        if moment == self.moment:
            raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["entered", "left"])
def test_an_interrupt_in_a_watch_leaves_nothing_behind(moment):
    watch, ran_ = Watch(moment), []
    context.add_watch(watch)
    try:
        with pytest.raises(KeyboardInterrupt), impersonate(ALICE):
            ran_.append(thread_token())
    finally:
        context.remove_watch(watch)
    assert ([] if moment == "entered" else [ALICE]) == ran_
    assert NOBODY == here()
    with impersonate(BOB):
        assert BOB is thread_token()


# --- what is not plain ----------------------------------------------------------


def test_a_token_that_only_identifies_is_refused():
    low = replace(ALICE, level=ImpersonationLevel.IDENTIFICATION)
    with pytest.raises(BadImpersonationLevelError), impersonate(low):
        pass
    assert NOBODY == here()


def test_a_loops_thread_is_refused():
    async def enter():
        with impersonate(ALICE):
            pass

    with pytest.raises(LoopThreadError):
        asyncio.run(enter())


def test_a_block_is_used_once():
    block = impersonate(ALICE)
    with block:
        with pytest.raises(RevertOrderError, match="is used"):
            block.__enter__()
        assert ALICE is thread_token()
    with pytest.raises(RevertOrderError, match="is used"):
        block.__enter__()
    with pytest.raises(RevertOrderError, match="left already"):
        block.leave()
    assert NOBODY == here()


@pytest.mark.leaks_identity
def test_a_block_left_by_another_thread_makes_nobody_of_this_one():
    block, errors = impersonate(ALICE), []

    def steal():
        try:
            block.__exit__(None, None, None)
        except RevertOrderError as error:
            errors.append(str(error))

    block.__enter__()
    thread = threading.Thread(target=steal)
    thread.start()
    thread.join()
    assert "by another thread or task" in errors[0]
    with pytest.raises(StrangerIdentityError):
        thread_token()
    with pytest.raises(RevertOrderError, match="before"):
        block.__exit__(None, None, None)
    assert NOBODY == here()


@pytest.mark.leaks_identity
def test_a_block_left_in_another_context_is_an_error():
    block = impersonate(ALICE)
    block.__enter__()
    with pytest.raises(RevertOrderError, match="in another context"):
        copy_context().run(lambda: (context._current.set(None), block.leave()))
    assert [] == here()[0]
    with pytest.raises(StrangerIdentityError):
        thread_token()


@pytest.mark.leaks_identity
def test_the_outer_block_left_first_leaves_the_inner_one_in_force():
    outer, inner = impersonate(ALICE), impersonate(BOB)
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RevertOrderError, match="before one inside"):
        outer.leave()
    assert BOB is thread_token()
    inner.leave()
    assert NOBODY == here()


def test_a_tripwire_that_somebody_took_down_is_put_up_again():
    tripwire.install()
    taken = [f for f in sys.meta_path if isinstance(f, tripwire.ImportGuard)]
    for finder in taken:
        sys.meta_path.remove(finder)
    with impersonate(ALICE):
        up = [f for f in sys.meta_path if isinstance(f, tripwire.ImportGuard)]
    assert 1 == len(taken) == len(up)


def test_other_finders_may_stand_before_the_tripwires():
    class Other:
        def find_spec(self, *arguments):
            return None

    tripwire.install()
    before, other = sys.meta_path.copy(), Other()
    sys.meta_path.insert(0, other)
    try:
        with impersonate(ALICE):
            assert [other, *before] == sys.meta_path
    finally:
        sys.meta_path.remove(other)


def test_on_trios_thread_a_plain_block_is_refused_too():
    """The tripwire is up, and no loop of asyncio's runs."""

    async def enter():
        with impersonate(ALICE):
            pass

    with impersonate(BOB):
        pass
    with pytest.raises(LoopThreadError):
        trio.run(enter)
    assert NOBODY == here()


# --- what is remembered --------------------------------------------------------


def test_a_bare_tokens_subject_is_remembered_with_that_very_token():
    first = subject_of(ALICE, None)
    assert subject_of(ALICE, None) is first
    other = replace(ALICE, level=ImpersonationLevel.DELEGATION)  # the same user's
    assert subject_of(other, None).token is other
    assert subject_of(ALICE, None).token is ALICE


def test_no_more_subjects_are_remembered_than_so_many():
    for number in range(MOST_SUBJECTS + 10):
        token = AccessToken(Sid.from_string(f"S-1-5-21-7-{number}"))
        assert subject_of(token, None).token is token
    assert len(impersonation._subjects) <= MOST_SUBJECTS


def test_the_guard_of_a_server_that_opens_or_closes_counts_at_once(open_server):
    guards = []

    def enter():
        with impersonate(server.token if server else ALICE):
            guards.append(context.raw_frame().guard)

    server = None
    enter()
    server = open_server()
    enter()
    guard = server._house.guard
    server.close()
    server = None
    enter()
    assert [None, guard, None] == guards


@pytest.mark.parametrize("fork", [os.fork, ctypes.CDLL(None).fork], ids=["py", "libc"])
def test_a_fork_is_another_process_however_it_was_made(fork):
    """A fork that Python was not told of included."""
    assert os.getpid() == frames.process()
    with contextlib.ExitStack() as stack:
        stack.enter_context(impersonate(ALICE))
        frame = context.raw_frame()
        stack.pop_all().close()
    child = fork()
    if not child:
        is_other = frames.process() == os.getpid() and not Frame.is_mine(frame)
        os._exit(0 if is_other else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert frame.is_mine()


# --- the twin itself -----------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: TWIN.connect(1, 2, 3),
        lambda: TWIN.connect(dict, *[None] * 8),
        lambda: TWIN.connect(dict, None, None, None, [], *[None] * 4),
        lambda: TWIN.Door(1),
        lambda: TWIN.Door(1, 2, 3, at=4),
        lambda: TWIN.Fields(1, 2, 3),
        lambda: TWIN.hook({"open"}, print),
        lambda: TWIN.hook(frozenset()),
        lambda: TWIN.hook(frozenset(), print)("open"),
        lambda: TWIN.hook(frozenset(), print)([], ()),
        lambda: TWIN.hook(frozenset({"open"}), None)("open", ()),
        lambda: TWIN.made(1, 2, 3, 4, 5),
        lambda: TWIN.made(dict, 2, 3, 4, 5),
        lambda: TWIN.made(TWIN.Door, 2, 3, 4),
        lambda: TWIN.StandingFields(1, 2),
        lambda: TWIN.StandingFields.__new__(TWIN.StandingFields).good_at(),
        lambda: TWIN.PassFields().enter(),
        lambda: TWIN.PassFields().leave(),
        lambda: TWIN.Exit().__get__(1, int),
        lambda: TWIN.Grip(1),
        lambda: TWIN.Door.__new__(TWIN.Door).__enter__(),
        lambda: TWIN.Exit().__get__(TWIN.Door.__new__(TWIN.Door), None)(1),
    ],
)
def test_what_is_no_block_and_no_hook_is_an_error(call):
    with pytest.raises((TypeError, AttributeError)):
        call()


@pytest.mark.slow
@pytest.mark.timeout(450)  # more than its program gets
def test_without_the_twin_python_passes_the_same_tests():
    assert frames.load("stead.monitor._nothing") is None
    done = ran(
        "without_twin.py",
        *("test_frames.py", "test_impersonation.py", "../server/test_passes.py"),
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_a_block_is_the_twins_exactly_where_there_is_one():
    is_there = TWIN is not None
    assert issubclass(impersonation.Block, frames.PureDoor) is not is_there
    assert frames.TWIN is sys.modules.get("stead.monitor._frames")
