"""A file to be opened for a client, as `open` is asked for one: checked beforehand.

What is wrong with it is found before anything is recorded or opened, so that nothing
can fail once the kernel has created or emptied a file.
"""

from __future__ import annotations

import codecs
import errno
import os
from dataclasses import dataclass
from typing import IO, Any, Final

from stead.errors import InvalidRequestError, KernelRefusedError

_LONGEST_PATH: Final = 4095  # PATH_MAX without its end
_MODES: Final = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}


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
        flags = flags_of(mode)
        name = _require_path(path)
        text = None if "b" in mode else _require_encoding(encoding)
        return cls(name, mode, flags, text)

    def file_of(self, descriptor: int) -> IO[Any]:
        """Return the file that was opened."""
        # Creating and emptying are done: what is left of "x" is writing. Nothing here
        # can be wrong any more; a failure would have closed the descriptor or not.
        mode = self.mode.replace("x", "w")
        return os.fdopen(descriptor, mode, encoding=self.encoding)


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
    name = os.fspath(path)
    if len(os.fsencode(name)) > _LONGEST_PATH:
        raise KernelRefusedError(
            f"no kernel opens a path of more than {_LONGEST_PATH} bytes",
            errno=errno.ENAMETOOLONG,
            object_name=name[:80],
        )
    return name
