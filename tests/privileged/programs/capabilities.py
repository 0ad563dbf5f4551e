"""A server that lacks a capability: `capabilities.py BIT harden|probe`."""

import ctypes
import json
import sys

import naive

from stead.errors import EnforcementUnavailableError
from stead.privileged.hardened_thread import HardenedThread
from stead.privileged.probe import probe


def drop(bit):
    """Lose the capability for good; threads started later lack it too."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    words = (ctypes.c_uint32 * 6)()
    naive.raw(naive.CAPGET, ctypes.addressof(header), ctypes.addressof(words))
    for index in (0, 1):
        words[index] &= ~(1 << bit)
    naive.raw(naive.CAPSET, ctypes.addressof(header), ctypes.addressof(words))


def harden():
    thread = HardenedThread(lambda _: None, guard=65530, name="lacking")
    thread.start()
    try:
        thread.ready.result()
    except EnforcementUnavailableError as error:
        return str(error)


drop(int(sys.argv[1]))
print(json.dumps(harden() if sys.argv[2] == "harden" else probe().reasons))
