"""Blocks on hardened threads: nesting, order, and whose thread it is."""

import gc
import os
import signal
import sys
import threading

import pytest

from stead.errors import (
    EnforcementUnavailableError,
    ImpersonationRefusedError,
    LateImportError,
    RevertOrderError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged import credentials
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import (
    HardenedThread,
    KernelBlock,
    is_hardened,
    switch_to,
)
from stead.privileged.system_uids import DEFAULT_GUARD_UID

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("switching")]

ALICE, BOB = PosixIdentity(70001, 70001), PosixIdentity(70002, 70002)


def test_the_inner_client_takes_over_and_the_outer_one_comes_back(executor):
    def act():
        seen = []
        with KernelBlock(ALICE):
            seen.append(os.geteuid())
            with KernelBlock(BOB):
                seen.append(os.geteuid())
                with KernelBlock(ALICE):
                    seen.append(os.geteuid())
                seen.append(os.geteuid())
            seen.append(os.geteuid())
        return [*seen, os.geteuid()]

    assert [70001, 70002, 70001, 70002, 70001, 0] == executor.submit(act).result()


def test_the_server_itself_can_be_a_block_inside_a_clients(executor, file_of):
    secret = file_of("secret", 0)

    def act():
        with KernelBlock(ALICE):
            with KernelBlock(None):
                text = secret.read_text()
                with KernelBlock(BOB):
                    inner = os.geteuid()
            return text, inner, os.geteuid()

    assert ("secret", 70002, 70001) == executor.submit(act).result()


def test_switch_to_gives_what_leaves_the_block(executor):
    def act():
        leave = switch_to(ALICE)
        inside = os.geteuid()
        leave()
        return inside, os.geteuid()

    assert (70001, 0) == executor.submit(act).result()


def test_a_refused_inner_client_leaves_the_outer_one_in_place(executor):
    def act():
        with KernelBlock(ALICE):
            with pytest.raises(ImpersonationRefusedError):
                KernelBlock(PosixIdentity(0, 0)).enter()
            return os.getresuid()

    assert (DEFAULT_GUARD_UID, 70001, 0) == executor.submit(act).result()


def test_a_refused_client_leaves_the_server_in_place(executor):
    def act():
        with pytest.raises(ImpersonationRefusedError):
            KernelBlock(PosixIdentity(0, 0)).enter()
        return os.getresuid()

    assert (0, 0, 0) == executor.submit(act).result()


def test_a_block_is_entered_once(executor):
    def act():
        block = KernelBlock(ALICE)
        with block, pytest.raises(RevertOrderError, match="entered once"):
            block.enter()
        with pytest.raises(RevertOrderError, match="entered once"):
            block.enter()

    executor.submit(act).result()


def test_a_block_is_left_once(executor):
    def act():
        block = KernelBlock(ALICE)
        with block:
            pass
        with pytest.raises(RevertOrderError, match="left before"):
            block.leave()
        return os.geteuid()

    assert 0 == executor.submit(act).result()


def test_a_block_that_was_not_entered_cannot_be_left(executor):
    def act():
        with pytest.raises(RevertOrderError, match="the thread that entered it"):
            KernelBlock(ALICE).leave()

    executor.submit(act).result()


def test_another_thread_cannot_leave_a_block_and_touches_nothing():
    entered, tried = threading.Event(), threading.Event()
    blocks = []

    def hold():
        with KernelBlock(ALICE) as block:
            blocks.append(block)
            entered.set()
            tried.wait()
            return os.geteuid()

    def intrude():
        entered.wait()
        with KernelBlock(BOB):
            try:
                with pytest.raises(RevertOrderError, match="thread that entered it"):
                    blocks[0].leave()
            finally:
                tried.set()
            return os.geteuid()

    with KernelExecutor(2) as executor:
        uids = [executor.submit(hold), executor.submit(intrude)]
        assert [70001, 70002] == [uid.result() for uid in uids]


def test_leaving_out_of_order_makes_the_thread_nobody_until_its_work_ends(
    executor, file_of
):
    files = [file_of("a", 70001), file_of("b", 70002), file_of("s", 0)]

    def act():
        outer, inner = KernelBlock(ALICE), KernelBlock(BOB)
        outer.enter()
        inner.enter()
        with pytest.raises(RevertOrderError, match="one inside it was open"):
            outer.leave()
        seen.append(os.getresuid())
        seen.append([os.access(path, os.R_OK, effective_ids=True) for path in files])
        with pytest.raises(RevertOrderError, match="left before"):
            inner.leave()
        with pytest.raises(RevertOrderError, match="out of order"):
            KernelBlock(ALICE).enter()
        seen.append(os.geteuid())
        return "swallowed"

    seen = []
    with KernelExecutor(1) as single:
        with pytest.raises(RevertOrderError, match="out of order"):
            single.submit(act).result()
        assert 0 == single.submit(os.geteuid).result()
    guard = DEFAULT_GUARD_UID
    assert [(guard, guard, 0), [False, False, False], guard] == seen


def test_a_finalizer_that_swallows_the_error_does_not_make_inner_code_the_server(
    file_of, monkeypatch
):
    """An abandoned generator's block is left by whoever happens to collect it."""
    secret = file_of("secret", 0)
    unraisable = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda it: unraisable.append(it.exc_type)
    )

    def stream():
        with KernelBlock(ALICE):
            yield

    def act():
        abandoned = stream()
        next(abandoned)
        with KernelBlock(BOB):
            del abandoned
            gc.collect()
            seen.append(os.access(secret, os.R_OK, effective_ids=True))

    seen = []
    with KernelExecutor(1) as single, pytest.raises(RevertOrderError):
        single.submit(act).result()
    assert [False] == seen
    assert [RevertOrderError] == unraisable


def test_a_finalizer_runs_as_whoever_the_thread_is(executor):
    """SEQUENCE: documented and not prevented; so blocks are short."""

    class Witness:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            uids.append(os.geteuid())

    uids = []

    def act():
        gc.collect()
        Witness()
        with KernelBlock(ALICE):
            gc.collect()

    executor.submit(act).result()
    assert [70001] == uids


def test_a_finalizer_in_the_middle_of_a_switch_stops_the_naive_server_only(
    outcome_of, run_program
):
    """An abandoned generator's block may be collected in the middle of any call."""
    naive = run_program("collected.py", "naive")
    assert -signal.SIGABRT == naive.returncode
    for ours in ("ours", "pure"):
        came = outcome_of("collected.py", ours)
        assert [["RevertOrderError", "done"], [[0, 0, 0]]] == came


def test_what_comes_into_the_middle_of_a_switch_is_told_no_and_fails_the_work(
    executor,
):
    class Meddling:
        """A client whose gid is asked for when the groups are switched already."""

        uid, groups = 70002, (70010,)

        @property
        def gid(self):
            with pytest.raises(LateImportError):
                __import__("this_is_not_there")
            with pytest.raises(RevertOrderError, match="in the middle of a switch"):
                outer.leave()
            return 70002

    def act():
        outer.enter()
        with pytest.raises(RevertOrderError, match="left out of order"):
            KernelBlock(Meddling()).enter()
        seen.append(os.getresuid())
        with pytest.raises(RevertOrderError, match="left before"):
            outer.leave()

    outer, seen = KernelBlock(ALICE), []
    with pytest.raises(RevertOrderError, match="the call left"):
        executor.submit(act).result()
    assert [(DEFAULT_GUARD_UID, DEFAULT_GUARD_UID, 0)] == seen


def test_a_switch_raises_no_audit_event(outcome_of):
    """An audit hook is anybody's code, and could raise in the middle."""
    assert [] == outcome_of("audited.py")


def test_without_memory_a_block_is_left_or_kept_open(executor):
    """Out of memory before anything was switched: the client is still the client."""
    testing = pytest.importorskip("_testcapi", reason="makes allocations fail")

    def act():
        block = KernelBlock(ALICE)
        block.enter()
        testing.set_nomemory(0)
        try:
            block.leave()
            came = "left"
        except MemoryError:
            came = "open"
        finally:
            testing.remove_mem_hooks()
        inside = os.geteuid()
        if came == "open":
            block.leave()
        return came, inside, os.geteuid()

    # The one call of the twin needs none, but what measures the tests would before it.
    is_one_call = credentials.TWIN is not None and sys.gettrace() is None
    expected = ("left", 0, 0) if is_one_call else ("open", 70001, 0)
    assert expected == executor.submit(act).result()


@pytest.mark.parametrize("switching", ["native"], indirect=True)
def test_without_memory_a_block_is_entered_or_not(executor):
    """Each of its allocations fails once."""
    testing = pytest.importorskip("_testcapi", reason="makes allocations fail")

    def without(number):
        with KernelBlock(ALICE) as known:
            pass
        testing.set_nomemory(number, number + 1)
        try:
            block = known.again()
        except MemoryError:
            return "refused", os.geteuid()
        finally:
            testing.remove_mem_hooks()
        inside = os.geteuid()
        block.leave()
        return "entered", inside, os.geteuid()

    came = {executor.submit(without, number).result() for number in range(40)}
    assert {("refused", 0), ("entered", 70001, 0)} == came


class Interrupted(BaseException):
    """What another thread, or a debugger, throws in."""


def test_wherever_entering_is_interrupted_nobody_becomes_whom_another_is():
    """The thread remembers a client, and how it is packed: never of two of them."""

    def stay(identity):
        with KernelBlock(identity):
            return os.geteuid()

    def interrupted(number):
        def trace(frame, event, _argument):
            nonlocal number
            if frame.f_code is not HardenedThread._open_alone.__code__:
                return None
            frame.f_trace_opcodes = True
            number -= event == "opcode"
            if number == 0:
                raise Interrupted
            return trace

        sys.settrace(trace)
        try:
            KernelBlock(ALICE).enter().leave()
        except Interrupted:
            pass
        finally:
            sys.settrace(None)
        return number

    with KernelExecutor(1, name="test") as executor:
        for count in range(1, 200):
            assert 70002 == executor.submit(stay, BOB).result()
            work = executor.submit(interrupted, count)
            # It stayed open where it was entered: the work fails, and is mended.
            is_whole = work.exception() is None and work.result() > 0
            assert 70001 == executor.submit(stay, ALICE).result(), count
            if is_whole:
                break
    assert count > 10


def test_a_thread_that_is_not_hardened_becomes_nobody_else():
    assert not is_hardened()
    with pytest.raises(EnforcementUnavailableError, match="not hardened"):
        KernelBlock(ALICE).enter()


def test_a_hardened_thread_says_so(executor):
    assert executor.submit(is_hardened).result()


def test_a_thread_that_could_not_be_hardened_does_no_work():
    worked = []
    thread = HardenedThread(worked.append, guard=0, name="no guard")
    thread.start()
    thread.join()
    with pytest.raises(EnforcementUnavailableError, match="the guard"):
        thread.ready.result()
    assert [] == worked
    with pytest.raises(EnforcementUnavailableError, match="not hardened"):
        _ = thread.server
