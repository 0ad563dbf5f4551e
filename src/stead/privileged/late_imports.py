"""Refuse a module's first import while the thread is a client.

As the client, the files of a module may not be readable; the import system would
remember that, and the module would stay missing for the server too. The refusal is no
ImportError, because codecs and optional imports swallow that.
"""

from __future__ import annotations

import importlib
import threading
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Final

from stead.errors import LateImportError
from stead.privileged.hardened_thread import HardenedThread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


IMPORTED_LATE: Final = (
    "_strptime",  # datetime.strptime
    "encodings.idna",  # host names
    "encodings.latin_1",
    "encodings.utf_16",
    "linecache",  # tracebacks
    "stringprep",
    "tokenize",
    "traceback",
)
"""What the standard library imports at first use, and blocks commonly need."""


def preload() -> None:
    """Import now what would be refused later."""
    for name in IMPORTED_LATE:
        importlib.import_module(name)


class LateImportGuard(MetaPathFinder):
    """The first finder on ``sys.meta_path`` while an executor is open."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find nothing; refuse if the calling thread is a client.

        Raises:
            LateImportError: it is.
        """
        del path, target
        thread = threading.current_thread()
        if isinstance(thread, HardenedThread) and thread.is_client:
            raise LateImportError(
                f"`{fullname}` was to be imported for the first time as the client",
                advice=f"import `{fullname}` before the block",
            )
        return None
