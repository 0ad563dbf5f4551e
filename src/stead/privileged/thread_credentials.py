"""Who a thread is to the kernel: a value, and how it is asked.

Nothing here changes anything; `stead.privileged.credentials` does.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from typing import Final

from stead.privileged.syscalls import call

_CAPABILITY_VERSION_3 = 0x2008_0522
_FIXED: Final = struct.Struct("3I3IQI")


@dataclass(frozen=True, slots=True)
class ThreadCredentials:
    """What the kernel holds about one thread.

    Attributes:
        uids: real, effective and saved. The file-system uid follows every change of
            the effective one, and the filter denies the call that would part them.
        gids: likewise.
        groups: supplementary groups, sorted.
        effective: the effective capabilities, as bits.
    """

    uids: tuple[int, int, int]
    gids: tuple[int, int, int]
    groups: tuple[int, ...]
    effective: int

    @property
    def packed(self) -> bytes:
        """All of it as the twin in C reads it."""
        fixed = _FIXED.pack(*self.uids, *self.gids, self.effective, len(self.groups))
        return fixed + struct.pack(f"{len(self.groups)}I", *self.groups)


def read() -> ThreadCredentials:
    """Ask the kernel who the calling thread is.

    Raises:
        OSError: the kernel did not say.
    """
    return ThreadCredentials(
        uids=three_ids("getresuid"),
        gids=three_ids("getresgid"),
        groups=_groups(),
        effective=_effective_capabilities(),
    )


def three_ids(name: str) -> tuple[int, int, int]:
    """Return the real, effective and saved id, as `getresuid` or `getresgid` does."""
    one = ctypes.c_uint32 * 1
    real, effective, saved = one(), one(), one()
    call(name, real, effective, saved)
    return real[0], effective[0], saved[0]


def _groups() -> tuple[int, ...]:
    count = call("getgroups")
    if not count:
        return ()
    array = (ctypes.c_uint32 * count)()
    call("getgroups", count, array)
    return tuple(sorted(array))


def _effective_capabilities() -> int:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, first their low and then their high words.
    words = (ctypes.c_uint32 * 6)()
    call("capget", header, words)
    return words[0] | words[3] << 32
