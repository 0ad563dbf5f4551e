"""A client of a server: session, token and level, for one connection or request.

It is handed to handlers explicitly and goes where they pass it. Nothing of it is
ambient: a thread becomes the client only inside ``with client.impersonate():``.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import IO, Any, Final, Protocol, Self

from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    KernelRefusedError,
    LoopThreadError,
    NotARegularFileError,
    SteadError,
)
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import context
from stead.monitor.context import FrameKind
from stead.monitor.guard import Guard
from stead.monitor.impersonation import Block
from stead.monitor.ports import Subject

_LONGEST_PATH: Final = 4095  # PATH_MAX without its end
_MODES: Final = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}


class FileOpener(Protocol):
    """Opens files as a client, by the kernel's judgement."""

    def __call__(self, token: AccessToken, path: str, flags: int, /) -> int:
        """Return a descriptor.

        Raises:
            KernelRefusedError: the kernel, judging as the client, said no.
        """
        ...


class ClientContext:
    """One client, as a server sees it.

    Attributes:
        subject: what checks and records are about.
    """

    __slots__ = ("_end", "_guard", "_opener", "_parent", "subject")

    def __init__(
        self,
        subject: Subject,
        guard: Guard,
        *,
        opener: FileOpener | None,
        end: Callable[[], None] | None,
    ) -> None:
        self.subject: Final = subject
        self._guard = guard
        self._opener = opener
        self._end = end
        self._parent: ClientContext | None = None

    @property
    def name(self) -> str:
        """The account's name, as records print it."""
        return self.subject.principal.name

    @property
    def sid(self) -> Sid:
        """The account's SID."""
        return self.subject.token.user

    @property
    def token(self) -> AccessToken:
        """The client's token; a value, which nothing here changes."""
        return self.subject.token

    @property
    def level(self) -> ImpersonationLevel:
        """How far the client lets the server go."""
        return self.subject.token.level

    def impersonate(self) -> Block:
        """Return a block in which this thread is the client.

        Entering it raises `LoopThreadError` on an event loop's thread,
        `BadImpersonationLevelError` below level Impersonation, and whatever keeps the
        thread from becoming the client; then nothing in the block runs.
        """
        return Block(FrameKind.CLIENT, self.subject, self._guard, keep=self)

    def open(
        self, path: str | os.PathLike[str], mode: str = "r", *, encoding: str = "utf-8"
    ) -> IO[Any]:
        """Open a file as the client, judged by the kernel.

        The kernel opens the file as the client on one of the server's hardened
        threads; the descriptor is handed back. Only regular files are opened; a FIFO
        or device is refused, and nothing waits for one. What is asked and what comes
        of it are recorded before this returns.

        Args:
            path: absolute.
            mode: as of `open`: `r`, `w`, `a` or `x`, with `b` and `+`.
            encoding: of text.

        Raises:
            KernelRefusedError: the kernel, judging as the client, refused.
            NotARegularFileError: the path names a directory, FIFO, socket or device.
            EnforcementUnavailableError: this server does not have the kernel's help.
            BadImpersonationLevelError: the level is below Impersonation.
            LoopThreadError: an event loop runs on this thread, and this waits.
            InvalidRequestError: the mode or the encoding is none.
        """
        flags, name = _flags(mode), _require_path(path)
        opener = self._require_may_open()
        text = None if "b" in mode else _require_encoding(encoding)
        descriptor = self._open_recorded(opener, name, flags)
        # Creating and emptying are done: what is left of "x" is writing. Nothing here
        # can be wrong any more; a failure would have closed the descriptor or not.
        return os.fdopen(descriptor, mode.replace("x", "w"), encoding=text)

    def _require_may_open(self) -> FileOpener:
        if context.is_loop_thread():
            raise LoopThreadError(
                "`client.open` waits, and an event loop runs on this thread",
                advice="call it from a thread: `await asyncio.to_thread(client.open, "
                "path)`",
            )
        needed = ImpersonationLevel.IMPERSONATION
        self._guard.require_level(self.subject, needed, act="opening a file")
        if self._opener is None:
            raise EnforcementUnavailableError(
                "no kernel judges files for this server",
                advice="run the server as root; `stead doctor` says what is missing",
            )
        return self._opener

    def _open_recorded(self, opener: FileOpener, path: str, flags: int) -> int:
        """Open between two durable records: what is asked, and what came of it."""
        self._guard.ask_for_file(self.subject, path, flags)
        try:
            descriptor = _opened_file(opener, self.token, path, flags)
        except SteadError as error:
            self._guard.answer_for_file(self.subject, path, flags, error)
            raise
        try:
            self._guard.answer_for_file(self.subject, path, flags, None)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def with_correlation(self, correlation: str) -> ClientContext:
        """Return the same client for one request, whose records it ties together."""
        made = ClientContext(
            replace(self.subject, correlation=correlation),
            self._guard,
            opener=self._opener,
            end=None,
        )
        made._parent = self  # the session lives as long as anybody holds it
        return made

    def close(self) -> None:
        """End the client's session, if this is what opened it; again does nothing."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Forgotten: the session ends all the same. Ending waits for nothing.
        if getattr(self, "_end", None) is not None:
            self.close()

    def __repr__(self) -> str:
        return f"ClientContext({self.name!r}, {self.level.name.lower()})"


def _opened_file(opener: FileOpener, token: AccessToken, path: str, flags: int) -> int:
    """Return a descriptor of a file; a directory opens too, and has no text to read."""
    descriptor = opener(token, path, flags)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotARegularFileError(f"`{path}` is a directory", object_name=path)
    return descriptor


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


def _flags(mode: str) -> int:
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
