"""The broker's verifier of passwords: one process for one attempt, with PAM.

It gets the account's name and the password in sealed memory, asks PAM by a service file
of our own (``pam/stead-logon``), and answers with the account's ids or with nothing.
Why it failed goes to nobody: not to the server, which might be anybody's, and not to a
log with the name that was typed, which may be a password. PAM itself logs failures.

PAM's own delay after a failure is left out: the broker answers every failure at a fixed
time, so that it does not tell what failed.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from stead.errors import (
    EnforcementUnavailableError,
    LogonFailureError,
    RemoteProtocolError,
    SteadError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged import orders, pam_session
from stead.privileged.broker_wire import LONGEST_ANSWER, LONGEST_DOCUMENT, hear, say

_FOLDER: Final = Path(pam_session.__file__).with_name("pam")
_SERVICE: Final = b"stead-logon"
_LONGEST: Final = 512
_SUCCESS: Final = 0
_CONVERSATION_ERROR: Final = 19
_BUFFER_ERROR: Final = 5
_PROMPT_ECHO_OFF: Final = 1
_SILENT: Final = 0x8000
_DISALLOW_NULL_PASSWORD: Final = 0x0001
_FAIL_DELAY: Final = 10
_DUMPABLE: Final = 4


def serve(control: socket.socket, document: dict[str, Any]) -> None:  # noqa: ARG001  # as every program of the bootstrap
    """Look at one password, and answer if it is right; otherwise say nothing."""
    ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)
    with suppress(SteadError, OSError, ValueError, KeyError, TypeError):
        identity = _identified(control)
        say(
            control,
            {"uid": identity.uid, "gid": identity.gid, "groups": identity.groups},
        )


def _identified(control: socket.socket) -> PosixIdentity:
    heard = hear(control, LONGEST_ANSWER, 2)
    if heard is None or len(heard[1]) != 2:  # noqa: PLR2004  # name and password
        raise RemoteProtocolError("there is no password")
    names, secrets = heard[1]
    name = json.loads(orders.read_sealed(names, LONGEST_DOCUMENT))["account"]
    secret = orders.read_sealed(secrets, LONGEST_DOCUMENT)
    return verify(name, secret)


def verify(name: str, secret: bytes) -> PosixIdentity:
    """Return whose account it is, if the password is right and it may log on.

    Args:
        name: the account's, as this host knows it.
        secret: the password, without a NUL.

    Raises:
        EnforcementUnavailableError: PAM is not there.
        LogonFailureError: whatever else.
    """
    if not name or not secret or b"\0" in secret or len(secret) > _LONGEST:
        raise LogonFailureError
    # PAM is asked whether or not there is such a name, and before anybody looks.
    if not _ask_pam(name.encode(), secret):
        raise LogonFailureError
    try:
        found = pwd.getpwnam(name)
        groups = os.getgrouplist(name, found.pw_gid)
    except (KeyError, OSError) as error:
        # A group that is left out can grant: who cannot be known whole is not known.
        raise LogonFailureError from error
    return PosixIdentity(found.pw_uid, found.pw_gid, tuple(groups))


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


def _ask_pam(name: bytes, secret: bytes) -> bool:
    """Authenticate, and ask whether the account may log on.

    Raises:
        EnforcementUnavailableError: PAM is not there.
    """
    pam, libc = _libraries()
    # PAM keeps pointers to all of these; so must we.
    answer = _Answer(lambda *asked: _respond(libc, secret, *asked))
    conversation = _Conversation(answer, None)
    delay = _Delay(_no_delay)
    handle = ctypes.c_void_p()
    status: int = pam.pam_start_confdir(
        _SERVICE, name, ctypes.byref(conversation), bytes(_FOLDER), ctypes.byref(handle)
    )
    if status != _SUCCESS:
        raise EnforcementUnavailableError(f"pam cannot be started: error {status}")
    try:
        pam.pam_set_item(handle, _FAIL_DELAY, ctypes.cast(delay, ctypes.c_void_p))
        flags = _SILENT | _DISALLOW_NULL_PASSWORD
        status = pam.pam_authenticate(handle, flags)
        if status == _SUCCESS:
            status = pam.pam_acct_mgmt(handle, flags)
        return status == _SUCCESS
    finally:
        pam.pam_end(handle, status)


def _respond(libc: Any, secret: bytes, count: int, asked: Any, *given: Any) -> int:
    """Answer the one question there is: the password. PAM frees the answer."""
    if count != 1 or asked[0].contents.style != _PROMPT_ECHO_OFF:
        return _CONVERSATION_ERROR
    response = libc.calloc(1, ctypes.sizeof(_Response))
    if not response:
        return _BUFFER_ERROR
    made = ctypes.cast(response, ctypes.POINTER(_Response))
    made[0].text = libc.strdup(secret)
    given[0][0] = made
    return _SUCCESS


def _no_delay(*_: object) -> None:
    """Wait for nothing: the broker does."""


def _libraries() -> tuple[Any, Any]:
    try:
        pam = ctypes.CDLL("libpam.so.0")
        pam.pam_start_confdir.restype = ctypes.c_int
    except (AttributeError, OSError) as error:
        raise EnforcementUnavailableError(
            "`libpam.so.0` 1.4 or newer is not there", advice="install Linux-PAM"
        ) from error
    for name in ("pam_authenticate", "pam_acct_mgmt", "pam_end"):
        getattr(pam, name).argtypes = (ctypes.c_void_p, ctypes.c_int)
    pam.pam_set_item.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    libc = ctypes.CDLL(None)
    libc.calloc.restype = ctypes.c_void_p
    libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
    libc.strdup.restype = ctypes.c_void_p
    libc.strdup.argtypes = (ctypes.c_char_p,)
    return pam, libc
