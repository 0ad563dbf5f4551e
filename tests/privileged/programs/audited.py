"""Prints the audited events of the switches of nested blocks."""

import json
import sys

from stead.model.posix_identity import PosixIdentity
from stead.privileged.executor import KernelExecutor
from stead.privileged.hardened_thread import KernelBlock

ALICE, BOB = PosixIdentity(70001, 70001, (70009,)), PosixIdentity(70002, 70002)
events = []
listening = False


def on_event(event, _arguments):
    if listening:
        events.append(event)


def switch():
    global listening  # noqa: PLW0603  # a hook cannot be taken away again
    listening = True
    with KernelBlock(ALICE), KernelBlock(BOB), KernelBlock(None):
        pass
    listening = False


sys.addaudithook(on_event)
with KernelExecutor(1) as executor:
    executor.submit(switch).result()
print(json.dumps(events))
