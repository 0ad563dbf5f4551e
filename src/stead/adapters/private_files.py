"""Files with secrets that others have to leave alone: a refusal to start, otherwise."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from stead.errors import UnsafeConfigurationError

_OTHERS: Final = stat.S_IWGRP | stat.S_IRWXO


def require_private(path: Path, *, advice: str = "") -> Path:
    """Return a file's absolute path, if its secrets are this server's.

    It is a regular file of root's or of this process's user; its group may read it.

    Args:
        path: the file, and no link to it.
        advice: how it is made, if it is not there.

    Raises:
        UnsafeConfigurationError: it is not there, is no file, or others have it.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UnsafeConfigurationError(
            f"`{path}` cannot be read: {error.strerror}", advice=advice
        ) from error
    try:
        status = os.fstat(number)
    finally:
        os.close(number)
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeConfigurationError(
            f"`{path}` is not a regular file", advice=advice or "name the file itself"
        )
    is_ours = status.st_uid in {0, os.geteuid()}
    if not is_ours or status.st_mode & _OTHERS:
        raise UnsafeConfigurationError(
            f"others have the secrets in `{path}`, or may write it",
            advice=f"chown it to root or the server's user, and chmod 0600 {path}",
        )
    return path.absolute()
