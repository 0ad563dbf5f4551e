"""Bits by number, and what the generic ones among them stand for."""

from __future__ import annotations

from stead.model.access_mask import GenericMapping
from stead.model.sid import Sid

READ_CONTROL, WRITE_DAC, WRITE_OWNER, DELETE = 17, 18, 19, 16
SYSTEM_SECURITY, MAXIMUM = 24, 25
GENERIC_ALL, GENERIC_EXECUTE, GENERIC_WRITE, GENERIC_READ = 28, 29, 30, 31


def bits(mask: int) -> frozenset[int]:
    return frozenset(number for number in range(32) if mask & (1 << number))


def mapped(mask: int, mapping: GenericMapping) -> frozenset[int]:
    """The bits of an entry's mask, each generic one replaced by what it means."""
    result = {number for number in bits(mask) if number < GENERIC_ALL}
    for generic, meaning in (
        (GENERIC_READ, mapping.read),
        (GENERIC_WRITE, mapping.write),
        (GENERIC_EXECUTE, mapping.execute),
        (GENERIC_ALL, mapping.all),
    ):
        if generic in bits(mask):
            result |= bits(meaning)
    return frozenset(result)


def numbers_after(sid: Sid, prefix: str, count: int) -> tuple[int, ...] | None:
    """The SID's numbers after `prefix`, if there are exactly `count` of them."""
    text = str(sid)
    parts = text[len(prefix) :].split("-") if text.startswith(prefix) else []
    return tuple(int(part) for part in parts) if len(parts) == count else None
