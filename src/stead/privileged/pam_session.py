"""A PAM session around one process: limits, a keyring, the audit's login uid.

Only the session part of PAM. The service file is our own and lies beside this module
(``pam/stead``): the machine's services ``su`` and ``runuser`` let root pass without a
password, and its common ones may accept empty passwords. In ours, whoever asks it to
authenticate somebody is told no, and it changes no passwords.

``pam_setcred`` is not called: it runs the modules that authenticate, and there are
none. Modules change the process that opens the session, so that is a keeper, which
serves this one process.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Final

from stead.errors import DirectoryUnavailableError, ImpersonationRefusedError
from stead.privileged.name_service import open_host_names

_LIBRARY: Final = "libpam.so.0"
_FOLDER: Final = Path(__file__).with_name("pam")
_SERVICE: Final = b"stead"
_SUCCESS: Final = 0
_CONVERSATION_ERROR: Final = 19
_SILENT: Final = 0x8000


class PamSession:
    """An open session, or none.

    Attributes:
        environment: the variables that modules set, for the client's process alone.
    """

    def __init__(self, user: str, uid: int) -> None:
        """Open a session.

        Args:
            user: the account's name; empty for no session.
            uid: whom the account must be.

        Raises:
            ImpersonationRefusedError: PAM, the account or a module is not there, or a
                required module refuses.
        """
        self.environment: dict[bytes, bytes] = {}
        self._handle: ctypes.c_void_p | None = None
        if user:
            _require_account(user, uid)
            self._pam = _library()
            # PAM keeps pointers to both; so must we.
            self._answer = _Answer(_no_answer)
            self._conversation = _Conversation(self._answer, None)
            self._open(user.encode())

    def close(self) -> None:
        """Close the session, if there is one; again does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            status = self._pam.pam_close_session(handle, _SILENT)
            self._pam.pam_end(handle, status)

    def _open(self, user: bytes) -> None:
        handle = ctypes.c_void_p()
        status = self._pam.pam_start_confdir(
            _SERVICE,
            user,
            ctypes.byref(self._conversation),
            bytes(_FOLDER),
            ctypes.byref(handle),
        )
        if status != _SUCCESS:
            raise ImpersonationRefusedError(f"pam cannot be started: error {status}")
        status = self._pam.pam_open_session(handle, _SILENT)
        if status != _SUCCESS:
            words = self._pam.pam_strerror(handle, status).decode(errors="replace")
            self._pam.pam_end(handle, status)
            raise ImpersonationRefusedError(f"pam opens no session: {words.lower()}")
        self._handle = handle
        self.environment = _variables(self._pam.pam_getenvlist(handle))


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


_Answer = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.c_void_p,
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    _fields_ = (("answer", _Answer), ("data", ctypes.c_void_p))


def _no_answer(*_question: object) -> int:
    """Answer no module's question: there is nobody to ask."""
    return _CONVERSATION_ERROR


def _require_account(user: str, uid: int) -> None:
    try:
        found = open_host_names().user_by_name(user)
    except DirectoryUnavailableError as error:
        raise ImpersonationRefusedError(
            f"whether the account `{user}` is uid {uid} cannot be told: "
            f"{error.args[0]}",
            advice=error.advice,
        ) from error
    if found is None or found.uid != uid:
        raise ImpersonationRefusedError(f"the account `{user}` is not uid {uid}")


def _library() -> ctypes.CDLL:
    try:
        pam = ctypes.CDLL(_LIBRARY)
        pam.pam_start_confdir.restype = ctypes.c_int
    except (AttributeError, OSError) as error:
        raise ImpersonationRefusedError(
            f"`{_LIBRARY}` 1.4 or newer is not there",
            advice="install Linux-PAM, or start processes without a PAM session",
        ) from error
    pam.pam_strerror.restype = ctypes.c_char_p
    pam.pam_strerror.argtypes = (ctypes.c_void_p, ctypes.c_int)
    pam.pam_getenvlist.restype = ctypes.POINTER(ctypes.c_char_p)
    for name in ("pam_open_session", "pam_close_session", "pam_end"):
        getattr(pam, name).argtypes = (ctypes.c_void_p, ctypes.c_int)
    pam.pam_getenvlist.argtypes = (ctypes.c_void_p,)
    return pam


def _variables(entries: Any) -> dict[bytes, bytes]:
    """Read a list of ``NAME=value`` that ends with NULL; it is never freed."""
    found: dict[bytes, bytes] = {}
    index = 0
    while entries and entries[index] is not None:
        name, _, value = entries[index].partition(b"=")
        found[name] = value
        index += 1
    return found
