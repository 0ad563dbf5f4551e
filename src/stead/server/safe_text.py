"""Files that say what a server is to do: nobody else may be able to write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from stead.adapters.store.safety import require_safe_folder
from stead.errors import InvalidRequestError

_MOST_BYTES: Final = 1 << 20


def read_safe_text(path: Path) -> str:
    """Return what a file of settings holds.

    Raises:
        InvalidRequestError: it cannot be read, is no text, is too long, or somebody
            else than root and the server's own user may write it.
        UnsafeStoreError: so may somebody of a folder on the way.
    """
    # Whoever may write a folder on the way puts other rules in their place.
    path = require_safe_folder(path.absolute().parent) / path.name
    try:
        # Not waiting: a FIFO in the file's place would keep the server from starting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(_that_is_safe(descriptor), "rb") as file:
            binary = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidRequestError(f"it cannot be read: {error.strerror}") from error
    if len(binary) > _MOST_BYTES:
        raise InvalidRequestError(f"it is longer than {_MOST_BYTES} bytes")
    try:
        return binary.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError("it is no text in UTF-8") from error


def _that_is_safe(descriptor: int) -> int:
    """Return the descriptor, or close it and raise."""
    try:
        _require_safe(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_safe(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequestError("it is no regular file")
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others or found.st_uid not in (0, os.geteuid()):
        raise InvalidRequestError(
            "somebody else may write it", advice="chown it to root and `chmod 644` it"
        )
