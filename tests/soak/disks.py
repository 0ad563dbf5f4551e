"""Real disks that fill up, or become read-only in the middle; needs root.

Whoever uses them is in a mount namespace of its own (`have_own_mounts`): nobody else's
namespace keeps a disk in use that is taken away here, and nothing is left at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

_NEW_MOUNTS: Final = 0x0002_0000  # CLONE_NEWNS of unshare(2)


def have_own_mounts() -> None:
    """Give this process, and what it starts, mounts that nobody else sees."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "no mount namespace of its own")
    _run("mount", "--make-rprivate", "/")


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """Mount so much memory at a folder."""
    options = f"size={megabytes}m,mode=700"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", place)
    try:
        yield
    finally:
        _run("umount", "--lazy", place)


def fill(place: Path) -> Path:
    """Leave not one byte free; return the file that is to be deleted again."""
    ballast = place / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return ballast


class RealDisk:
    """An ext4 file system in a file, which can be made to fail as disks do."""

    def __init__(self, image: Path, place: Path, megabytes: int = 64) -> None:
        """Make the file system; it is mounted while this is entered."""
        self._image = image
        self._place = place
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-e", "remount-ro", image)

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self._place)

    def mount(self) -> None:
        """Mount it, after a check, as whoever restarts a machine does."""
        subprocess.run(
            ["e2fsck", "-p", str(self._image)], check=False, capture_output=True
        )
        _run("mount", "-o", "loop,errors=remount-ro", self._image, self._place)
        self._place.chmod(0o700)

    def abort(self) -> None:
        """Have the kernel find an error: it makes the disk read-only at once."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("mount", "-o", "remount,abort", self._place)
        if self.is_writable():
            raise OSError(errno.EBUSY, "the disk did not become read-only")

    def is_writable(self) -> bool:
        """Try it."""
        probe = self._place / "probe"
        try:
            probe.touch()
            probe.unlink()
        except OSError:
            return False
        return True

    def mend(self) -> None:
        """Take it away, check it, and mount it again; nobody has it open."""
        _run("umount", self._place)
        self.mount()
