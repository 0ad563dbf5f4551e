"""Asking a file server who it thinks we are: LsarGetUserName ([MS-LSAT] 3.1.4.2).

SMB itself does not say. Its servers have an RPC for it (Win32: GetUserName), over a
pipe of the same session: two messages of [C706], written out here, and their answers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final
from uuid import UUID

from stead.errors import RemoteProtocolError

_LSARPC: Final = UUID("12345778-1234-abcd-ef00-0123456789ab").bytes_le
_NDR: Final = UUID("8a885d04-1ceb-11c9-9fe8-08002b104860").bytes_le
_GET_USER_NAME: Final = 45
_BIND, _BIND_ACK, _REQUEST, _RESPONSE = 11, 12, 0, 2
_WHOLE: Final = 3  # the first fragment, and the last
_HEADER: Final = struct.Struct("<BBBB4sHHI")
_LITTLE_ENDIAN: Final = b"\x10\x00\x00\x00"
_LARGEST: Final = 4280

Transact = Callable[[bytes], bytes]
"""Sends one message through the pipe `lsarpc`, and returns the answer."""


def user_name(transact: Transact) -> tuple[str, str]:
    """Return the account and the domain that the server takes us for.

    Raises:
        RemoteProtocolError: the answer is none.
    """
    kind, _ = _answer(transact(_message(_BIND, _bind())))
    if kind != _BIND_ACK:
        raise RemoteProtocolError("the server does not say who it thinks we are")
    # No system's name; no name given; the domain is wanted.
    question = struct.pack("<IIII", 0, 0, 1, 0)
    head = struct.pack("<IHH", len(question), 0, _GET_USER_NAME)
    kind, body = _answer(transact(_message(_REQUEST, head + question)))
    if kind != _RESPONSE:
        raise RemoteProtocolError("the server does not say who it thinks we are")
    try:
        return _names(body[8:])
    except (struct.error, UnicodeDecodeError) as error:
        raise RemoteProtocolError("the server's answer makes no sense") from error


def _bind() -> bytes:
    context = struct.pack("<HBx", 0, 1) + _LSARPC + struct.pack("<HH", 0, 0)
    return (
        struct.pack("<HHIBxxx", _LARGEST, _LARGEST, 0, 1)
        + context
        + _NDR
        + struct.pack("<I", 2)
    )


def _message(kind: int, body: bytes) -> bytes:
    length = _HEADER.size + len(body)
    return _HEADER.pack(5, 0, kind, _WHOLE, _LITTLE_ENDIAN, length, 0, 1) + body


def _answer(message: bytes) -> tuple[int, bytes]:
    """Return the kind of an answer, and what follows its header."""
    try:
        major, _, kind, flags, order, length, _, _ = _HEADER.unpack_from(message)
    except struct.error as error:
        raise RemoteProtocolError("the server's answer is too short") from error
    is_whole = length == len(message) and flags & _WHOLE == _WHOLE
    if major != 5 or order != _LITTLE_ENDIAN or not is_whole:  # noqa: PLR2004 - [C706] 12.6
        raise RemoteProtocolError("the server's answer is none of one fragment")
    return kind, message[_HEADER.size :]


def _names(stub: bytes) -> tuple[str, str]:
    user, at = _text(stub, 0)
    (has_domain,) = struct.unpack_from("<I", stub, at)
    domain, at = _text(stub, at + 4) if has_domain else ("", at + 4)
    (status,) = struct.unpack_from("<I", stub, at)
    if status:
        raise RemoteProtocolError(f"the server refuses to say it: {status:#010x}")
    return user, domain


def _text(stub: bytes, at: int) -> tuple[str, int]:
    """Return a text that a pointer leads to, and where the next thing begins."""
    (pointer,) = struct.unpack_from("<I", stub, at)
    if not pointer:
        return "", at + 4
    length, _, _, _, _, count = struct.unpack_from("<HHIIII", stub, at + 4)
    begin = at + 24
    if length > 2 * count or begin + 2 * count > len(stub):
        raise RemoteProtocolError("the server's answer makes no sense")
    text = stub[begin : begin + length].decode("utf-16-le")
    return text, begin + (2 * count + 3) // 4 * 4
