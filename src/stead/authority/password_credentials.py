"""A password that a session keeps, to show it to other machines as its client.

It lies in memory of its own: no dump of the process has it, no process that is forked
from this one sees it, and it is overwritten when the session ends. Whoever sends it
somewhere makes copies, as briefly as it can.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final, NoReturn

from stead.errors import CredentialsExpiredError, InvalidRequestError
from stead.model.arguments import require_kind, require_text
from stead.model.secret import Secret

_WIPE_ON_FORK: Final = 18
"""MADV_WIPEONFORK of Linux 4.14, which Python does not name."""


class PasswordCredentials:
    """A name and a password, for whoever takes those; never printed.

    Args:
        principal: whom they authenticate, as the other machine names it.
        secret: the password; it stays the caller's to wipe.

    Raises:
        SecretUsedError: the secret was wiped before.
    """

    __slots__ = (
        "__weakref__", "_area", "_at_close", "_lock", "_numbers", "_process", "_size",
        "principal",
    )  # fmt: skip

    def __init__(self, principal: str, secret: Secret) -> None:
        require_text("principal", principal)
        require_kind("secret", secret, Secret, 'write `Secret("...")`: it is wiped')
        self.principal: Final = principal
        self._lock = threading.RLock()
        self._process: Final = os.getpid()
        self._size = 0
        self._numbers = count()
        self._at_close: Final[dict[int, Callable[[], object]]] = {}
        self._area: mmap.mmap | None = secret.copy_into(self._room)

    @property
    def package(self) -> str:
        """What takes them."""
        return "password"

    @property
    def expires(self) -> int | None:
        """None: a password lasts until it is changed where it counts."""
        return None

    @property
    def is_closed(self) -> bool:
        """Whether they were wiped."""
        return self._area is None

    def renew_for(self, seconds: float) -> None:  # noqa: ARG002 - a password has no end
        """Return if they were not wiped; raises `CredentialsExpiredError`."""
        self._require()

    @contextmanager
    def revealed(self) -> Iterator[bytes]:
        """Yield the password, for whoever sends it.

        Raises:
            CredentialsExpiredError: they were wiped.
        """
        with self._lock:
            content = self._require()[: self._size]
        yield content

    @contextmanager
    def lent(self) -> Iterator[memoryview]:
        """Yield the password where it lies, for whoever reads it without a copy.

        Wiped meanwhile, it reads as zeros.

        Raises:
            CredentialsExpiredError: they were wiped.
        """
        with self._lock:
            whole = memoryview(self._require())
        with whole, whole[: self._size] as content:
            yield content

    def at_close(self, act: Callable[[], object]) -> Callable[[], None]:
        """Have something done when they are wiped; at once, if they were.

        Args:
            act: waits for nothing and never raises.

        Returns:
            what forgets it.
        """
        number = next(self._numbers)
        self._at_close[number] = act
        if self._area is None:
            self._end()

        def forget() -> None:
            self._at_close.pop(number, None)

        return forget

    def close(self) -> None:
        """Wipe them; again does nothing.

        A process that was forked off has no part in them, nor in what they opened.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            area, self._area = self._area, None
            if area is not None:
                area[:] = bytes(len(area))
                with suppress(BufferError):  # it is lent; nothing is left to read
                    area.close()
        self._end()

    def _end(self) -> None:
        for number in list(self._at_close):
            if (act := self._at_close.pop(number, None)) is not None:
                act()

    def _room(self, size: int) -> mmap.mmap:
        self._size = size
        return _private(max(size, 1))

    def _require(self) -> mmap.mmap:
        if os.getpid() != self._process:
            raise CredentialsExpiredError(
                f"the password of `{self.principal}` is of the process that was forked",
                advice="open a server in each process, after the fork",
            )
        if self._area is None:
            raise CredentialsExpiredError(
                f"the password of `{self.principal}` was wiped with its session",
                advice="log the client on again",
            )
        return self._area

    def __repr__(self) -> str:
        return f"PasswordCredentials({self.principal!r})"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError("credentials are neither pickled nor copied")

    def __del__(self) -> None:
        # Forgotten before any session had them. No lock: nobody else has them either.
        area = getattr(self, "_area", None)
        if area is not None and os.getpid() == self._process:
            with suppress(ValueError):
                area[:] = bytes(len(area))


def _private(size: int) -> mmap.mmap:
    """Return memory that neither dumps nor forks of the process have."""
    if sys.platform != "linux":
        return mmap.mmap(-1, size)
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for advice in (mmap.MADV_DONTDUMP, _WIPE_ON_FORK):
        with suppress(OSError):  # an older kernel, or one in a sandbox
            area.madvise(advice)
    return area
