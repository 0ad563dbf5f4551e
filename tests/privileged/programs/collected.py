"""Abandoned generators collected at every allocation of a switch: `ours|naive`.

Printed: what came of the work, and who the thread was afterwards. Naive lets whoever
comes into the middle of a switch begin another.
"""

import gc
import json
import sys

from stead.model.posix_identity import PosixIdentity
from stead.privileged import credentials
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import HardenedThread, KernelBlock

ALICE, BOB = PosixIdentity(70001, 70001), PosixIdentity(70002, 70002)


def stream():
    _me = yield
    with KernelBlock(ALICE):
        yield


def enter(allocations):
    """Enter a block, with a collection of garbage that many allocations later."""
    gc.disable()
    abandoned = stream()
    next(abandoned)
    abandoned.send(abandoned)
    block = KernelBlock(BOB)
    gc.set_threshold(allocations, 1000, 1000)
    del abandoned
    gc.enable()
    try:
        block.enter()
    finally:
        gc.set_threshold(700, 10, 10)
    block.leave()


def outcome(executor, allocations):
    try:
        executor.submit(enter, allocations).result()
    except Exception as error:
        return type(error).__name__
    return "done"


def main():
    if sys.argv[1] == "naive":
        HardenedThread._switch = lambda _thread, act: act()
    sys.unraisablehook = lambda _: None
    seen, uids = set(), set()
    with KernelExecutor(1) as executor:
        for allocations in range(1, 100):
            seen.add(outcome(executor, allocations))
            uids.add(executor.submit(lambda: credentials.read().uids).result())
    print(json.dumps([sorted(seen), sorted(uids)]))


main()
