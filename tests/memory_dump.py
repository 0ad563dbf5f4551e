"""What a dump of a process would hold, searched by a program of a test's own.

    lines = said_by(PROGRAM, password)

The program reads a password of the test's from its standard input, masked, so that
what it searches for is not itself in what it searches:

    from tests.memory_dump import dumped, read_masked, typed
    masked = read_masked()
    server.accounts.set_password("alice", typed(masked))
    print(dumped(masked))
"""

from __future__ import annotations

import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

from stead.model.secret import Secret

MASK = bytes(byte ^ 0x55 for byte in range(256))
_CHUNK = 1 << 20
_ROOT = Path(__file__).resolve().parents[1]


def said_by(program: str, password: bytes, *words: str) -> list[str]:
    """Run a program that searches its memory for a password; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        input=password.translate(MASK),
        capture_output=True,
        timeout=120,
        check=False,
        env=environment(),
    )
    assert b"" == done.stderr
    return done.stdout.decode().splitlines()


def environment(**more: str) -> dict[str, str]:
    """Return what such a program runs in: it finds this module, and is not measured."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    path = os.pathsep.join(filter(None, [str(_ROOT), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path, **more}


# --- in the program -------------------------------------------------------------------


def read_masked() -> bytes:
    """Return the password, masked, as the test sends it."""
    return sys.stdin.buffer.read()


def typed(masked: bytes) -> Secret:
    """Return a secret as somebody types it, byte by byte."""
    secret = Secret(bytes(len(masked)))
    for at, byte in enumerate(masked):
        secret._content[at] = byte ^ 0x55
    return secret


def wide(masked: bytes) -> bytes:
    """Return the same in UTF-16, masked."""
    return b"".join(bytes([byte, 0x55]) for byte in masked)


def dumped(*masked: bytes) -> int:
    """Return how often a core dump would hold them: what is readable, and not `dd`.

    What is searched for, and in, lies where no dump has it: a copy of the memory that
    was given back would be found the next time.
    """
    sought = [_unmasked(each) for each in masked]
    room = _private(_CHUNK + max(map(len, masked)))
    found, text = 0, Path("/proc/self/smaps").read_text("utf-8")
    ranges = re.findall(
        r"^([0-9a-f]+)-([0-9a-f]+) r.*?VmFlags:([^\n]*)", text, re.MULTILINE | re.DOTALL
    )
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        for first, after, flags in ranges:
            begin, end = int(first, 16), int(after, 16)
            if "dd" in flags.split():
                continue
            for at in range(begin, end, _CHUNK):
                try:
                    memory.seek(at)
                    with memoryview(room) as whole, whole[: end - at] as part:
                        size = memory.readinto(part)
                except (OSError, OverflowError, ValueError):
                    break
                found += sum(_count(each, room, size) for each in sought)
    return found


def _count(sought: mmap.mmap, room: mmap.mmap, size: int) -> int:
    """Count what begins in a chunk; what begins behind it is the next one's."""
    with memoryview(sought) as letters:
        found, at = 0, room.find(letters, 0, size)
        while 0 <= at < _CHUNK:
            found, at = found + 1, room.find(letters, at + 1, size)
    return found


def _unmasked(masked: bytes) -> mmap.mmap:
    made = _private(len(masked))
    for at, byte in enumerate(masked):
        made[at] = byte ^ 0x55
    return made


def _private(size: int) -> mmap.mmap:
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made.madvise(mmap.MADV_DONTDUMP)
    return made
