"""Real disks that fill up, or become read-only in the middle; needs root."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        """Make the file system; it is mounted by `mount`."""
        self._image = image
        self._place = place
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-e", "remount-ro", image)

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

    def unmount(self) -> None:
        """Take it away from whoever still has it open."""
        _run("umount", "--lazy", self._place)
