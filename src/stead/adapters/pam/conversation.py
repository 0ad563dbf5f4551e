"""One password shown to PAM: is it right, and may the account log on (pam(3))?

For a process of its own, which ends after this: modules are code of the host's.

PAM's own delay after a failure is left out: whoever asks answers failures late by its
own rule, which does not tell what failed.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

from stead.errors import EnforcementUnavailableError

LONGEST_SECRET: Final = 512
"""Bytes of a password, as PAM's own bound (PAM_MAX_RESP_SIZE)."""
_PROMPT_ECHO_OFF: Final = 1
_MERE_WORDS: Final = frozenset({3, 4})  # PAM_ERROR_MSG, PAM_TEXT_INFO
_MOST_MESSAGES: Final = 32
_SILENT: Final = 0x8000
_DISALLOW_NULL_PASSWORD: Final = 0x0001
_USER: Final = 2
_FAIL_DELAY: Final = 10


class PamStatus(IntEnum):
    """What Linux-PAM's functions return (`_pam_types.h`), where it is told apart."""

    SUCCESS = 0
    BUFFER_ERROR = 5
    PERMISSION_DENIED = 6
    AUTHENTICATION_ERROR = 7
    CREDENTIALS_INSUFFICIENT = 8
    INFORMATION_UNAVAILABLE = 9
    USER_UNKNOWN = 10
    MAXIMUM_TRIES = 11
    NEW_PASSWORD_REQUIRED = 12
    ACCOUNT_EXPIRED = 13
    CONVERSATION_ERROR = 19
    PASSWORD_EXPIRED = 27


@dataclass(frozen=True, slots=True)
class PamOutcome:
    """What came of it.

    Attributes:
        status: what PAM says last; 0 if the password is right and the account may come.
        was_authenticated: whether the password was right.
        user: whom PAM knows the client as by now; modules may change the name.
    """

    status: int
    was_authenticated: bool
    user: str


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_Answer = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.POINTER(_Response)),
    ctypes.c_void_p,
)
_Delay = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = (("answer", _Answer), ("data", ctypes.c_void_p))


def ask_pam(service: str, folder: str, name: str, secret: bytes) -> PamOutcome:
    """Authenticate an account, and ask whether it may log on.

    Args:
        service: the service file's name.
        folder: where that lies.
        name: the account.
        secret: its password, without a NUL.

    Raises:
        EnforcementUnavailableError: PAM is not there, or cannot begin.
    """
    return PamReady(service, folder).ask(name, secret)


class PamReady:
    """PAM with a service's modules loaded, before anybody asks; for one attempt.

    Args:
        service: the service file's name.
        folder: where that lies.

    Raises:
        EnforcementUnavailableError: PAM is not there, or cannot begin.
    """

    def __init__(self, service: str, folder: str) -> None:
        self._pam, libc = libraries()
        given: list[bytes] = []
        self._given = given
        # PAM keeps pointers to all of these; so must we.
        self._answer = _Answer(lambda *asked: _respond(libc, given, *asked))
        self._conversation = _Conversation(self._answer, None)
        self._delay = _Delay(_no_delay)
        self._handle = ctypes.c_void_p()
        status: int = self._pam.pam_start_confdir(
            service.encode(), None, ctypes.byref(self._conversation), folder.encode(),
            ctypes.byref(self._handle),
        )  # fmt: skip
        if status != PamStatus.SUCCESS:
            raise EnforcementUnavailableError(
                f"pam cannot begin with service `{service}`: error {status}",
                advice=f"see pam.d(5); the service file lies in `{folder}`",
            )

    def ask(self, name: str, secret: bytes) -> PamOutcome:
        """Authenticate an account, and ask whether it may log on; once."""
        pam, handle = self._pam, self._handle
        self._given.append(secret)
        delay = ctypes.cast(self._delay, ctypes.c_void_p)
        flags = _SILENT | _DISALLOW_NULL_PASSWORD
        was_authenticated = False
        status: int = pam.pam_set_item(handle, _USER, name.encode())
        try:
            if status == PamStatus.SUCCESS:
                pam.pam_set_item(handle, _FAIL_DELAY, delay)
                status = pam.pam_authenticate(handle, flags)
                was_authenticated = status == PamStatus.SUCCESS
            if was_authenticated:
                status = pam.pam_acct_mgmt(handle, flags)
            return PamOutcome(status, was_authenticated, _user_of(pam, handle))
        finally:
            pam.pam_end(handle, status)


def _user_of(pam: Any, handle: ctypes.c_void_p) -> str:
    found = ctypes.c_char_p()
    status = pam.pam_get_item(handle, _USER, ctypes.byref(found))
    if status != PamStatus.SUCCESS or found.value is None:
        return ""
    return found.value.decode("utf-8", "surrogateescape")


def _respond(libc: Any, given: list[bytes], count: int, asked: Any, *rest: Any) -> int:
    """Answer the one question there is: the password, once. PAM frees the answers.

    What a module only has to say is taken note of. Nothing is answered to another
    question: a new password, a number that was sent to a telephone.
    """
    if not 0 < count <= _MOST_MESSAGES:
        return PamStatus.CONVERSATION_ERROR
    styles = [asked[index].contents.style for index in range(count)]
    questions = [style for style in styles if style not in _MERE_WORDS]
    if questions not in ([], [_PROMPT_ECHO_OFF]) or len(questions) > len(given):
        return PamStatus.CONVERSATION_ERROR
    responses = libc.calloc(count, ctypes.sizeof(_Response))
    if not responses:
        return PamStatus.BUFFER_ERROR
    made = ctypes.cast(responses, ctypes.POINTER(_Response))
    if questions:
        made[styles.index(_PROMPT_ECHO_OFF)].text = libc.strdup(given.pop())
    rest[0][0] = made
    return PamStatus.SUCCESS


def _no_delay(*_: object) -> None:
    """Wait for nothing: whoever asks does."""


@cache
def libraries() -> tuple[Any, Any]:
    """Return PAM's library and C's.

    Raises:
        EnforcementUnavailableError: PAM is not there.
    """
    try:
        pam = ctypes.CDLL("libpam.so.0")
        pam.pam_start_confdir.restype = ctypes.c_int
    except (AttributeError, OSError) as error:
        raise EnforcementUnavailableError(
            "`libpam.so.0` 1.4 or newer is not there", advice="install Linux-PAM"
        ) from error
    for name in ("pam_authenticate", "pam_acct_mgmt", "pam_end"):
        getattr(pam, name).argtypes = (ctypes.c_void_p, ctypes.c_int)
    for name in ("pam_set_item", "pam_get_item"):
        getattr(pam, name).argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    libc = ctypes.CDLL(None)
    libc.calloc.restype = ctypes.c_void_p
    libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
    libc.strdup.restype = ctypes.c_void_p
    libc.strdup.argtypes = (ctypes.c_char_p,)
    return pam, libc
