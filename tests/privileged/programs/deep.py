"""Switches at every depth around the limit: `deep.py ours|naive CASE`.

Printed: what came of them, and who the thread was afterwards. Naive is the same without
the proof that the stack has room.
"""

import json
import sys

from stead.model.posix_identity import PosixIdentity
from stead.privileged import credentials, headroom, thread_credentials
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import KernelBlock

ALICE, BOB = PosixIdentity(70001, 70001, (70009,)), PosixIdentity(70002, 70002)
LIMIT = sys.getrecursionlimit()


def down(frames, act):
    return down(frames - 1, act) if frames else act()


def stay():
    with KernelBlock(ALICE):
        pass


def single(depth):
    """A block is entered and left down there."""
    down(depth, stay)


def nested(depth):
    """It lies in another one."""
    with KernelBlock(BOB):
        down(depth, stay)


def of_the_server(depth):
    """It is the server's, in a client's."""

    def act():
        with KernelBlock(None):
            pass

    with KernelBlock(BOB):
        down(depth, act)


def every_level(depth):
    """Each folder of a deep tree has its own block, as a recursive walk has."""
    if depth:
        stay()
        every_level(depth - 1)


def every_level_nested(depth):
    if depth:
        with KernelBlock(ALICE):
            every_level_nested(depth - 1)


def left_deeper(depth):
    """A block is left further down than it was entered, by hand."""
    block = KernelBlock(ALICE)
    block.enter()
    try:
        down(depth, block.leave)
    except RecursionError:
        block.leave()  # it is still open, and here is room
        raise


def left_deeper_for_good(depth):
    """Likewise, and nobody leaves it afterwards."""
    block = KernelBlock(ALICE)
    block.enter()
    down(depth, block.leave)


def resumed_deeper(depth):
    """A generator that holds a block is resumed further down."""

    def stream():
        with KernelBlock(ALICE):
            yield

    held = stream()
    next(held)
    down(depth, lambda: next(held, None))


def out_of_order(depth):
    """The outer block is left down there, while the inner one is open."""
    outer, inner = KernelBlock(ALICE), KernelBlock(BOB)
    outer.enter()
    inner.enter()
    down(depth, outer.leave)


def outcome(executor, work, depth):
    try:
        executor.submit(work, depth).result()
    except Exception as error:
        return type(error).__name__
    return "done"


def main():
    if sys.argv[1] != "ours":
        credentials.TWIN = None  # one call after another
    if sys.argv[1] == "naive":
        headroom.require = lambda _frames: None
    work = globals()[sys.argv[2]]
    seen, uids = set(), set()
    with KernelExecutor(1) as executor:
        # A walk passes every depth on its way down.
        step = 50 if work.__name__.startswith("every_level") else 1
        for depth in range(LIMIT - 150, LIMIT + 2, step):
            seen.add(outcome(executor, work, depth))
            uids.add(executor.submit(lambda: thread_credentials.read().uids).result())
    print(json.dumps([sorted(seen), sorted(uids)]))


main()
