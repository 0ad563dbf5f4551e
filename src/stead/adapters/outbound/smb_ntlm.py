"""NTLMv2 for file servers that know a password themselves, and are in no realm.

Only where the operator names the server for it (`smb+ntlm://nas.example`): whoever
answers can try passwords against what it is shown, and may pass it on. What signs the
connection comes of the password, so a server that does not know it is found out.

The library is handed the hash of the password, which is wiped when the server has let
us in (`stead.adapters.outbound.smb_shown`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import spnego
from spnego._ntlm_raw.md4 import md4  # pyright: ignore[reportPrivateImportUsage]

from stead.adapters.outbound.passwords import MachinePassword, ShownPassword
from stead.errors import InvalidRequestError, NoCredentialsError
from stead.model.delegation_policy import PasswordWay

_LEVEL: Final = "LM_COMPAT_LEVEL"
_NTLM_V2: Final = frozenset({"3", "4", "5"})


def shown_by_ntlm(held: MachinePassword) -> ShownPassword:
    """Return what is about to be shown, for policy and records."""
    return ShownPassword(PasswordWay.NTLM, held.principal)


def account_of(held: MachinePassword) -> str:
    r"""Return the account without its domain; raises `InvalidRequestError`.

    Nobody is an account: a server lets in whoever shows no name as a guest.
    """
    account = held.principal.rpartition("\\")[2]
    if not account:
        raise InvalidRequestError("the credentials name no account")
    return account


def require_version_2() -> None:
    """Return if the library shows NTLMv2, and nothing that is easier to guess.

    Raises:
        NoCredentialsError: the environment says otherwise.
    """
    if os.environ.get(_LEVEL, "3") not in _NTLM_V2:
        raise NoCredentialsError(
            f"`{_LEVEL}` in the server's environment asks for older kinds of NTLM",
            advice="start the server without it",
        )


@contextmanager
def hash_of(held: MachinePassword) -> Iterator[spnego.NTLMHash]:
    """Yield what the library takes, and wipe it of the hash.

    A password that looks like two hashes would be taken for these; this one is hashed.

    Raises:
        CredentialsExpiredError: it was wiped.
        InvalidRequestError: it is no text, so no file server knows it.
    """
    room = bytearray()
    try:
        with held.lent() as content:
            if content and max(content) < 0x80:  # noqa: PLR2004 - ASCII, without a copy
                room = bytearray(2 * len(content))
                for at, byte in enumerate(content):
                    room[2 * at] = byte
            else:
                room = _wide(content)
        shown = spnego.NTLMHash(held.principal, nt_hash=md4(bytes(room)).hex())
    finally:
        room[:] = bytes(len(room))
    try:
        yield shown
    finally:
        shown.nt_hash = None


def _wide(content: memoryview) -> bytearray:
    try:
        return bytearray(str(content, "utf-8").encode("utf-16-le"))
    except UnicodeDecodeError:
        raise InvalidRequestError("the password is no text") from None
