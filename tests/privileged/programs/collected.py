"""Abandoned generators collected at every call of a switch: `ours|naive`.

Printed: what came of the work, and who the thread was afterwards. Naive lets whoever
comes into the middle of a switch begin another.
"""

import gc
import json
import sys

from stead.model.posix_identity import PosixIdentity
from stead.privileged import credentials, thread_credentials
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import HardenedThread, KernelBlock

MOST = 600  # more than entering makes, returns counted
ALICE, BOB = PosixIdentity(70001, 70001), PosixIdentity(70002, 70002)


def stream():
    _me = yield
    with KernelBlock(ALICE):
        yield


def enter(calls):
    """Enter a block; after that many calls on the way garbage is collected."""
    gc.disable()
    abandoned = stream()
    next(abandoned)
    abandoned.send(abandoned)
    block = KernelBlock(BOB)
    del abandoned
    left = calls

    def on_call(_frame, _event, _argument):
        nonlocal left
        left -= 1
        if left == 0:
            gc.collect()

    sys.setprofile(on_call)
    try:
        block.enter()
    finally:
        sys.setprofile(None)
    block.leave()
    gc.collect()


def outcome(executor, calls):
    try:
        executor.submit(enter, calls).result()
    except Exception as error:
        return type(error).__name__
    return "done"


def main():
    if sys.argv[1] != "ours":
        credentials.TWIN = None  # one call after another
    if sys.argv[1] == "naive":
        HardenedThread._switch = lambda _thread, act, block: act(block)
    sys.unraisablehook = lambda _: None
    seen, uids = set(), set()
    with KernelExecutor(1) as executor:
        for calls in range(1, MOST):
            seen.add(outcome(executor, calls))
            uids.add(executor.submit(lambda: thread_credentials.read().uids).result())
    print(json.dumps([sorted(seen), sorted(uids)]))


main()
