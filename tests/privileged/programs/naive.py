"""Impersonation as people write it: raw calls and no hardening.

Each way is right in what it does and lacks something; the attacks show what.
"""

import contextlib
import ctypes
import os
import platform

_ARM = platform.machine() == "aarch64"
SETRESUID = 147 if _ARM else 117
SETRESGID = 149 if _ARM else 119
SETGROUPS = 159 if _ARM else 116
SETFSUID = 151 if _ARM else 122
SETFSGID = 152 if _ARM else 123
CAPGET = 90 if _ARM else 125
CAPSET = 91 if _ARM else 126
ADD_KEY = 217 if _ARM else 248
KEYCTL = 219 if _ARM else 250
PTRACE = 117 if _ARM else 101
PROCESS_VM_READV = 270 if _ARM else 310
PRLIMIT = 261 if _ARM else 302
TGKILL = 131 if _ARM else 234
NOBODY_RUNS_AS = 65532

_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.argtypes = (ctypes.c_uint64,) * 7
_syscall.restype = ctypes.c_long


def raw(number, *arguments):
    words = [argument & (2**64 - 1) for argument in arguments]
    result = _syscall(number, *words, *(0,) * (6 - len(words)))
    if result < 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed))
    return result


@contextlib.contextmanager
def as_uid(uid, way="guard"):
    """Be `uid` on this thread by "fsuid", "effective", "samba" or "guard"."""
    raw(SETGROUPS, 0, 0)
    if way == "fsuid":
        raw(SETFSGID, uid)
        raw(SETFSUID, uid)
    else:
        real = {"effective": -1, "samba": uid, "guard": NOBODY_RUNS_AS}[way]
        raw(SETRESGID, real, uid, -1)
        raw(SETRESUID, real, uid, -1)
    try:
        yield
    finally:
        if way == "fsuid":
            raw(SETFSUID, 0)
            raw(SETFSGID, 0)
        else:
            raw(SETRESUID, 0, 0, -1)
            raw(SETRESGID, 0, 0, -1)


def regain_capabilities():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    words = (ctypes.c_uint32 * 6)()
    raw(CAPGET, ctypes.addressof(header), ctypes.addressof(words))
    words[0], words[3] = words[1], words[4]
    raw(CAPSET, ctypes.addressof(header), ctypes.addressof(words))
