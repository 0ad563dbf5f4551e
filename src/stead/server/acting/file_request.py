"""A file to be opened for a client, as `open` is asked for one: checked beforehand.

What is wrong with it is found before anything is recorded or opened, so that nothing
can fail once the kernel has created or emptied a file. The file system is asked nothing
until somebody reads or writes: it may be a client's, and never answer.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
from dataclasses import dataclass
from typing import IO, Any, Final

from stead.errors import InvalidRequestError, KernelRefusedError
from stead.model.arguments import require_kind, require_text

_LONGEST_PATH: Final = 4095  # PATH_MAX without its end
_MODES: Final = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}


class ClientFile(io.RawIOBase):
    """The bytes of a client's regular file.

    It is what `io.FileIO` is, which asks for the file's size and kind when it is made.
    """

    def __init__(self, descriptor: int, path: str, mode: str) -> None:
        """Take a descriptor; it is this object's from now on.

        Args:
            descriptor: open, as the mode says.
            path: what it was opened by.
            mode: as of `open`.
        """
        super().__init__()
        self._descriptor = descriptor
        self._may_read = "r" in mode or "+" in mode
        self._may_write = "r" not in mode or "+" in mode
        self.name = path
        (kind,) = set(mode) & set(_MODES)
        self.mode = f"{kind}b+" if "+" in mode else f"{kind}b"

    def fileno(self) -> int:
        """Return the descriptor."""
        if self.closed:
            raise ValueError("the file is closed")
        return self._descriptor

    def readable(self) -> bool:
        """Say whether it is open for reading."""
        return self._may_read

    def writable(self) -> bool:
        """Say whether it is open for writing."""
        return self._may_write

    def seekable(self) -> bool:
        """Say that it can be read and written anywhere."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read at most what fits; return how much there was."""
        return os.readv(self.fileno(), [buffer])

    def write(self, data: Any, /) -> int:
        """Write what the kernel takes; return how much that was."""
        return os.write(self.fileno(), data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, and return it."""
        return os.lseek(self.fileno(), offset, whence)

    def truncate(self, size: int | None = None, /) -> int:
        """Make the file so long, or end it here; return how long it is."""
        length = self.tell() if size is None else size
        os.ftruncate(self.fileno(), length)
        return length

    def close(self) -> None:
        """Close the descriptor; again does nothing."""
        if not self.closed:
            super().close()
            os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class FileRequest:
    """What is asked for.

    Attributes:
        path: absolute.
        mode: as of `open`.
        flags: what the mode means to the kernel.
        encoding: of text; None for bytes.
    """

    path: str
    mode: str
    flags: int
    encoding: str | None

    @classmethod
    def of(cls, path: str | os.PathLike[str], mode: str, encoding: str) -> FileRequest:
        """Return the request.

        Raises:
            InvalidRequestError: the mode or the encoding is none.
            KernelRefusedError: no kernel takes a path so long.
        """
        require_text("mode", mode)
        require_text("encoding", encoding)
        flags = flags_of(mode)
        name = _require_path(path)
        text = None if "b" in mode else _require_encoding(encoding)
        return cls(name, mode, flags, text)

    def file_of(self, descriptor: int) -> IO[Any]:
        """Return the file that was opened."""
        raw = ClientFile(descriptor, self.path, self.mode)
        buffered: io.BufferedRandom | io.BufferedReader | io.BufferedWriter
        if "+" in self.mode:
            buffered = io.BufferedRandom(raw)
        elif raw.readable():
            buffered = io.BufferedReader(raw)
        else:
            buffered = io.BufferedWriter(raw)
        if self.encoding is None:
            return buffered
        text = io.TextIOWrapper(buffered, encoding=self.encoding)
        text.mode = self.mode  # type: ignore[misc]  # as `open` does
        return text


def flags_of(mode: str) -> int:
    """Return the flags of an `open` mode; raises `InvalidRequestError`."""
    kinds = [letter for letter in mode if letter in _MODES]
    rest = set(mode) - set(_MODES) - {"b", "t", "+"}
    if (
        len(kinds) != 1
        or rest
        or len(set(mode)) != len(mode)
        or {"b", "t"} <= set(mode)
    ):
        raise InvalidRequestError(f"`{mode}` is no mode to open a file with")
    flags = _MODES[kinds[0]]
    return flags & ~os.O_ACCMODE | os.O_RDWR if "+" in mode else flags


def _require_encoding(encoding: str) -> str:
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise InvalidRequestError(f"`{encoding[:80]}` is no encoding") from error
    return encoding


def _require_path(path: str | os.PathLike[str]) -> str:
    """Return a path as text; refuse one that no kernel takes, before it is recorded."""
    require_kind("path", path, (str, os.PathLike), "a path of text")
    name = os.fspath(path)
    require_text("path", name)
    try:
        written = os.fsencode(name)
    except UnicodeEncodeError:
        raise InvalidRequestError(f"`{name[:80]!a}` is no path") from None
    if len(written) > _LONGEST_PATH:
        raise KernelRefusedError(
            f"no kernel opens a path of more than {_LONGEST_PATH} bytes",
            errno=errno.ENAMETOOLONG,
            object_name=name[:80],
        )
    return name
