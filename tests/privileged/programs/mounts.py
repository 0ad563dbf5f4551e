"""Mounts for the programs that need some, in a namespace of their own."""

import ctypes

import naive

UNSHARE = 97 if naive._ARM else 272
MOUNT = 40 if naive._ARM else 165
CLONE_NEWNS = 0x0002_0000
PRIVATE = 0x4000 | 0x4_0000
SHARED = 0x4000 | 0x10_0000


def own_namespace(propagation=PRIVATE):
    """Leave the machine's mounts alone, and arrange how later ones spread."""
    naive.raw(UNSHARE, CLONE_NEWNS)
    mount("/", "none", PRIVATE)
    mount("/", "none", propagation)


def mount(place, kind, flags=0):
    texts = [ctypes.create_string_buffer(str(t).encode()) for t in (place, kind)]
    at = [ctypes.addressof(text) for text in texts]
    naive.raw(MOUNT, at[1], at[0], at[1], flags, 0)
