"""Documents in memory that nobody changes any more (memfd_create(2), F_ADD_SEALS).

Whoever is handed one reads what its maker wrote, whoever else has the descriptor.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO, Final

from stead.errors import InvalidRequestError

if sys.platform == "linux":  # nobody sends one elsewhere
    import fcntl

MAXIMUM_DOCUMENT: Final = 16 << 20
"""How many bytes an order may have: an environment of the kernel's 6 MB, and JSON."""


def sealed(document: bytes) -> BinaryIO:
    """Return a file of memory that holds the document and never changes again."""
    descriptor = os.memfd_create("stead-order", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    file = os.fdopen(descriptor, "wb")
    try:
        file.write(document)
        file.flush()
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _seals())
    except BaseException:
        file.close()
        raise
    return file


def require_sealed(descriptor: int, most: int = MAXIMUM_DOCUMENT) -> int:
    """Return the size of a document that nobody can change any more.

    Raises:
        InvalidRequestError: it lies in no memory, is not sealed, or is too large.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise InvalidRequestError("the order lies in no memory") from error
    if seals != _seals():
        raise InvalidRequestError("the order is not sealed")
    size = os.fstat(descriptor).st_size
    if size > most:
        raise InvalidRequestError(f"the order has more than {most} bytes")
    return size


def read_sealed(descriptor: int, most: int = MAXIMUM_DOCUMENT) -> bytes:
    """Read a document; raises as `require_sealed`."""
    return os.pread(descriptor, require_sealed(descriptor, most), 0)


def _seals() -> int:
    content = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    return content | fcntl.F_SEAL_SEAL
