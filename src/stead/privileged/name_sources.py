"""One source of users and groups, asked by the functions of its own library.

These are what glibc's switch calls (nss(5), "The NSS Module Interface" of its manual):
each returns a status and fills records of C. What is here hears every status.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from stead.errors import DirectoryUnavailableError
from stead.privileged.name_switch import Source, Status

_FIRST_BUFFER: Final = 4096
_LONGEST_BUFFER: Final = 16 << 20
_FIRST_GROUPS: Final = 64
_NO_LIMIT: Final = -1
# By number: each logon asks, and making a status of one takes a while.
_SAID: Final = MappingProxyType(
    {int(each): each for each in (Status.SUCCESS, Status.NOT_FOUND)}
)
_IN_LIBC: Final = "files"  # since glibc 2.34
# systemd's says "unavailable" with this number where it means "no such record".
_NO_RECORD: Final = ("systemd", errno.ESRCH)
# INVARIANT: one enumeration at a time; a library keeps its place for the whole process.
_ENUMERATING: Final = threading.Lock()


class Passwd(ctypes.Structure):
    """`struct passwd` of pwd.h."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("password", ctypes.c_char_p),
        ("uid", ctypes.c_uint), ("gid", ctypes.c_uint),
        ("gecos", ctypes.c_char_p), ("home", ctypes.c_char_p),
        ("shell", ctypes.c_char_p),
    )  # fmt: skip


class Group(ctypes.Structure):
    """`struct group` of grp.h."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("password", ctypes.c_char_p),
        ("gid", ctypes.c_uint), ("members", ctypes.POINTER(ctypes.c_char_p)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoadedSource:
    """A source whose library is loaded.

    Attributes:
        source: what nsswitch.conf says of it.
        code: its library.
        libc: whose memory it hands out. Opened once as well: in a block, nothing is.
    """

    source: Source
    code: Any = field(repr=False)
    libc: Any = field(repr=False)

    def function(self, name: str) -> Any | None:
        """Return one of its functions; None if it has none of this name."""
        return getattr(self.code, f"_nss_{self.source.name}_{name}", None)

    def look_up(
        self, function: str, key: Any, record: type[Passwd | Group], what: str
    ) -> tuple[Status, Any, object]:
        """Ask for one entry.

        Args:
            function: `getpwuid_r` or another.
            key: the number or name that it is given.
            record: what it fills.
            what: what is asked for, for the error.

        Returns:
            The status, the entry, and what the entry points into. A source that has
            nothing of the kind is unavailable, which is no error.

        Raises:
            DirectoryUnavailableError: it cannot answer.
        """
        ask = self.function(function)
        if ask is None:
            return Status.UNAVAILABLE, None, None
        entry = record()

        def once(*buffer: Any) -> int:
            made: int = ask(key, ctypes.byref(entry), *buffer)
            return made

        status, kept = self._heard(once, what)
        return status, entry, kept

    def groups_of(self, name: bytes, gid: int, what: str) -> tuple[Status, set[int]]:
        """Ask for the groups of a user, beside the primary one.

        Raises:
            DirectoryUnavailableError: it cannot answer.
        """
        ask = self.function("initgroups_dyn")
        if ask is not None:
            return self._initgroups(ask, name, gid, what)
        if self.function("getgrent_r") is None:
            return Status.UNAVAILABLE, set()  # a source of users alone
        with _ENUMERATING:
            return self._enumerate(name, what)

    def _initgroups(
        self, ask: Any, name: bytes, gid: int, what: str
    ) -> tuple[Status, set[int]]:
        libc = self.libc
        number, size = ctypes.c_long(0), ctypes.c_long(_FIRST_GROUPS)
        code = ctypes.c_int(0)
        # The library makes it longer by realloc(3).
        groups = ctypes.c_void_p(libc.calloc(_FIRST_GROUPS, ctypes.sizeof(_GID)))
        try:
            made = ask(
                ctypes.c_char_p(name), _GID(gid), ctypes.byref(number),
                ctypes.byref(size), ctypes.byref(groups), ctypes.c_long(_NO_LIMIT),
                ctypes.byref(code),
            )  # fmt: skip
            status = self._status(made, code.value, what)
            found = ctypes.cast(groups, ctypes.POINTER(_GID))
            return status, {found[index] for index in range(number.value)}
        finally:
            libc.free(groups)

    def _enumerate(self, name: bytes, what: str) -> tuple[Status, set[int]]:
        """Read every group, of a library that does not know a user's by itself."""
        begin, end = self.function("setgrent"), self.function("endgrent")
        following = self.function("getgrent_r")
        gids: set[int] = set()
        if begin is not None:
            self._status(begin(ctypes.c_int(0)), 0, what)
        try:
            while True:
                entry = Group()

                def once(*buffer: Any, entry: Group = entry) -> int:
                    made: int = following(ctypes.byref(entry), *buffer)  # type: ignore[misc]  # it is there: `groups_of`
                    return made

                status, _kept = self._heard(once, what)
                if status is not Status.SUCCESS:
                    return (Status.SUCCESS if gids else status), gids
                if name in _members(entry):
                    gids.add(entry.gid)
        finally:
            if end is not None:
                end()

    def _heard(self, ask: Callable[..., int], what: str) -> tuple[Status, object]:
        """Ask with a buffer that is long enough; raises if it is not answered."""
        size, kept = _FIRST_BUFFER, _Buffer()
        while True:
            code = ctypes.c_int(0)
            made = ask(kept, ctypes.c_size_t(size), ctypes.byref(code))
            is_short = code.value == errno.ERANGE and made == Status.TRY_AGAIN
            if not is_short or size >= _LONGEST_BUFFER:
                return self._status(made, code.value, what), kept
            size *= 4
            kept = ctypes.create_string_buffer(size)

    def _status(self, made: int, code: int, what: str) -> Status:
        """Return what a source says; raises if that is that it cannot answer."""
        said = _SAID.get(made)
        if said is not None:
            return said
        if (self.source.name, code) == _NO_RECORD and made == Status.UNAVAILABLE:
            return Status.NOT_FOUND
        words = os.strerror(code).lower() if code else f"status {made}"
        raise unavailable(self.source.name, what, words)


_GID: Final = ctypes.c_uint
_Buffer: Final = ctypes.c_char * _FIRST_BUFFER


def load(source: Source) -> LoadedSource | None:
    """Load a source's library; None if it is not installed.

    Raises:
        DirectoryUnavailableError: it is installed and cannot be loaded.
    """
    libc = _memory()
    if source.name == _IN_LIBC and hasattr(libc, "_nss_files_getpwuid_r"):
        return LoadedSource(source, libc, libc)
    file = f"libnss_{source.name}.so.2"
    try:
        return LoadedSource(source, ctypes.CDLL(file), libc)
    except OSError as error:
        # The loader says it in words alone. Where what is missing is something that
        # this library needs, they begin with that one's name.
        if str(error).startswith(f"{file}: cannot open shared object file: No such"):
            return None
        raise unavailable(source.name, "anything", str(error)) from error


def unavailable(source: str, what: str, words: str) -> DirectoryUnavailableError:
    """Return the error that a source cannot say something."""
    return DirectoryUnavailableError(
        f"the host's source `{source}` cannot say {what}: {words}",
        advice="start it, or take it out of nsswitch.conf(5); a line `initgroups` says "
        "whom groups are asked of",
    )


def _members(entry: Group) -> set[bytes]:
    found: set[bytes] = set()
    index = 0
    while entry.members and entry.members[index] is not None:
        found.add(entry.members[index])
        index += 1
    return found


def _memory() -> Any:
    libc = ctypes.CDLL(None)
    libc.calloc.restype = ctypes.c_void_p
    libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.free.restype = None
    return libc
