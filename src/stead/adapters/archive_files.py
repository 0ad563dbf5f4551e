"""Archives of the trail as files: whole or not there, and never one over another."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from stead.errors import InvalidRequestError

LONGEST_LINE: Final = 1 << 20
"""Characters of a line: a body's every character may be escaped."""

_MODE: Final = 0o600


@contextmanager
def drafted(place: Path, lines: Iterable[str]) -> Iterator[Path]:
    """Write an archive under another name; it is gone after the block.

    Args:
        place: what `keep` will call it.
        lines: its lines.

    Raises:
        OSError: it cannot be written.
    """
    draft = place.with_name(f".{place.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(draft, flags, _MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(descriptor)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def keep(draft: Path, place: Path) -> None:
    """Give a draft its name.

    Raises:
        FileExistsError: something has that name.
        OSError: it cannot be done.
    """
    os.link(draft, place)
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lines_of(place: Path) -> Generator[str, None, None]:
    """Yield the lines of an archive; to be closed unless it is read to its end.

    Raises:
        InvalidRequestError: one is longer than any of an archive, or no text.
        OSError: it cannot be read.
    """
    with place.open(encoding="utf-8", newline="\n") as file:
        try:
            while line := file.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise InvalidRequestError(f"`{place}` has a line that is too long")
                yield line
        except UnicodeDecodeError as error:
            raise InvalidRequestError(f"`{place}` is no text in UTF-8") from error


def digest_of(place: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = sha256()
    with place.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
