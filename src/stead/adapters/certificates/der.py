"""The little of DER (X.690) that certificates' own extensions are written in."""

from __future__ import annotations

from typing import Final

from stead.errors import EvidenceRefusedError

UTF8_STRING: Final = 0x0C
SEQUENCE: Final = 0x30
OBJECT_IDENTIFIER: Final = 0x06
OCTET_STRING: Final = 0x04
CONTEXT_0: Final = 0xA0  # constructed, context-specific, number 0

_LONG: Final = 0x80
_LONGEST: Final = 0x82  # two bytes of length: nothing here is longer


def content(data: bytes, tag: int) -> bytes:
    """Return what one element holds that fills all of `data`.

    Raises:
        EvidenceRefusedError: it is not that element, or something follows it.
    """
    found, rest = element(data, tag)
    if rest:
        raise EvidenceRefusedError("something follows a value of the certificate")
    return found


def element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return what the first element holds, and what follows it.

    Raises:
        EvidenceRefusedError: it is not that element, or its length is not DER.
    """
    if len(data) < 2 or data[0] != tag:  # noqa: PLR2004 - a tag and a length
        raise EvidenceRefusedError("a value of the certificate is of another type")
    start, size = 2, data[1]
    if size >= _LONG:
        start += size - _LONG
        number = data[2:start]
        # Always the shortest form: a length that can be written twice is none.
        size = int.from_bytes(number, "big")
        is_shortest = size >= _LONG and number[0] != 0
        if data[1] == _LONG or data[1] > _LONGEST or not is_shortest:
            raise EvidenceRefusedError("a value of the certificate has no DER length")
    if len(data) < start + size:
        raise EvidenceRefusedError("a value of the certificate is cut off")
    return data[start : start + size], data[start + size :]
