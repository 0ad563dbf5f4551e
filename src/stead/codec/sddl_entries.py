"""Entries in the spelling that everybody prints: most of what SDDL there is.

A kind without further fields, words for flags and mask that were read before, and a SID
of decimal numbers or an alias. What is read here `stead.codec.sddl` would read alike,
letter by letter, and what is not is left to it. Such entries are looked through as they
are read, so that they cannot fail, and made when somebody looks at them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias, cast

from stead.codec.cursor import Cursor
from stead.codec.sid_aliases import ALIASES
from stead.codec.sid_text import sid_of_numbers
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    Place,
    SystemAuditAce,
    checked_ace,
)
from stead.model.acl import MAXIMUM_ACL_SIZE
from stead.model.sid import Sid

_Row: TypeAlias = tuple[str, ...]
"""Five: a whole entry; of it the first three fields, and whom it is about: a SID's
authority and its other numbers, or an alias."""
_Head: TypeAlias = tuple[type[Ace], int, int]
"""What the first three fields mean: the class, the mask and the flags."""

# No number that it finds is above 4,294,899,999, so that each fits 32 bits. Atomic:
# whoever sends text shall not make it try again and again.
_NUMBER: Final = (
    r"(?>[1-3][0-9]{9}"
    r"|4(?:[01][0-9]{8}|2(?:[0-8][0-9]{7}|9(?:[0-3][0-9]{6}|4[0-8][0-9]{5})))"
    r"|[0-9]{1,9}+)"
)
_ENTRY: Final = re.compile(
    r"(\(([A-Z]{1,2}+;[A-Z]{0,16}+;[0-9A-Za-z]{1,34}+);;;"
    rf"(?:S-1-([0-9]{{1,10}}+)((?:-{_NUMBER}){{1,15}}+)|([A-Z]{{2}}))\))"
)
_LONGEST_HEAD: Final = 54
_LARGEST_SIZE: Final = 76  # bytes of an entry of the kinds below
_SURELY_FIT: Final = MAXIMUM_ACL_SIZE // _LARGEST_SIZE - 1
_KINDS: Final = frozenset({AccessAllowedAce, AccessDeniedAce, SystemAuditAce})
_ALIASES: Final[dict[str, Sid | None]] = {"": None, **ALIASES}
# First fields that were read lately, by the list that they stand in; emptied when full.
_KEPT_HEADS: Final = 1024
_known_in_dacls: Final[dict[str, _Head]] = {}
_known_in_sacls: Final[dict[str, _Head]] = {}


class PlainEntries:
    """Entries that stand one after another, looked through and not made yet.

    Args:
        rows: their texts.
        known: what first fields mean.

    Raises:
        LookupError: one holds words that were not read before.
    """

    __slots__ = ("_heads", "_rows", "kinds")

    def __init__(self, rows: list[_Row], known: Mapping[str, _Head]) -> None:
        _, heads, _, _, aliases = zip(*rows, strict=True)
        self._rows = rows
        self._heads = {head: known[head] for head in set(heads)}
        if not _ALIASES.keys() >= set(aliases):
            raise LookupError("one is relative to a domain, or unknown")
        self.kinds = frozenset([head[0] for head in self._heads.values()])
        """Their classes."""

    def __call__(self) -> tuple[Ace, ...]:
        """Make them."""
        aces: list[Ace] = []
        for _, head, authority, numbers, alias in self._rows:
            kind, mask, flags = self._heads[head]
            sid = _ALIASES[alias] or sid_of_numbers(authority, numbers)
            aces.append(checked_ace(kind, cast("Sid", sid), mask, flags))
        return tuple(aces)


def read_plain_entries(cursor: Cursor, place: Place) -> PlainEntries | None:
    """Look through all entries of a list, and step over them.

    None, and no step, unless all are spelled so and surely fit a list.

    Args:
        cursor: where the first may begin.
        place: the list that they are in.
    """
    text, start = cursor.text, cursor.position
    # A colon belongs to the next part; no entry that is spelled so has one.
    colon = text.find(":", start)
    limit = len(text) if colon < 0 else colon
    end = text.rfind(")", start, limit) + 1
    rows: list[_Row] = _ENTRY.findall(text, start, end)
    if not 0 < len(rows) <= _SURELY_FIT:
        return None
    is_whole = sum([len(row[0]) for row in rows]) == end - start
    if not is_whole or text.find("(", end, limit) >= 0:
        return None
    try:
        entries = PlainEntries(rows, _known_in(place))
    except LookupError:
        return None
    cursor.position = end
    return entries


def read_plain_entry(cursor: Cursor, place: Place) -> Ace | None:
    """Read one entry, if it is spelled so; None, and no step, if it is not."""
    found = _ENTRY.match(cursor.text, cursor.position)
    if found is None:
        return None
    try:
        entries = PlainEntries([found.groups("")], _known_in(place))
    except LookupError:
        return None
    cursor.position = found.end()
    return entries()[0]


def _known_in(place: Place) -> dict[str, _Head]:
    return _known_in_dacls if place is Place.DACL else _known_in_sacls


def keep_head(text: str, place: Place, ace: Ace) -> None:
    """Keep what an entry's first fields mean, that the next such entry is read here.

    Args:
        text: its first three fields.
        place: the list that it is in.
        ace: the entry.
    """
    kind = type(ace)
    if kind in _KINDS and len(text) <= _LONGEST_HEAD:
        known = _known_in(place)
        if len(known) >= _KEPT_HEADS:
            known.clear()
        known[text] = (kind, ace.mask, int(ace.flags))
