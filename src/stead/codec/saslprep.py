"""Passwords as SCRAM hashes them (RFC 4013, "SASLprep"; RFC 5802 2.2)."""

from __future__ import annotations

import stringprep
import unicodedata
from typing import Final

_PROHIBITED: Final = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
    stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6,
    stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9,
    stringprep.in_table_a1,
)  # fmt: skip


_PRINTABLE: Final = range(0x20, 0x7F)


def prepared_secret(secret: bytes | memoryview) -> bytes | memoryview:
    """Return the bytes of a password that are hashed.

    What is of printable ASCII alone is left as it is, and where it lies.

    What SASLprep cannot prepare is hashed as it is: bytes that are no text, letters
    that were not in Unicode 3.2. The specification would refuse it; PostgreSQL's
    clients and servers do as we do, and everybody may choose their password.
    """
    if all(byte in _PRINTABLE for byte in secret):
        return secret
    try:
        text = str(secret, "utf-8")
    except UnicodeDecodeError:
        return secret
    prepared = saslprep(text)
    return secret if prepared is None else prepared.encode()


def saslprep(text: str) -> str | None:
    """Return text prepared (RFC 4013 2); None if it holds what is prohibited.

    1. Spaces of other kinds become a space, and what stands for nothing goes.
    2. What is left is normalized (NFKC).
    3. No prohibited or unassigned letter is in it.
    4. Letters of both directions do not mix.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter
        for letter in text
        if not stringprep.in_table_b1(letter)
    )
    made = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not made or any(is_in(letter) for letter in made for is_in in _PROHIBITED):
        return None
    return made if _is_of_one_direction(made) else None


def _is_of_one_direction(text: str) -> bool:
    """Apply RFC 3454 6: right-to-left text begins, ends and is nothing but that."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
