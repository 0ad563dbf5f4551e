"""What one text, and all of them, may take of a record.

Much in a record is made up by clients: names, paths, marks of their own. Nobody may
make one so large that it cannot be written, and keep a refusal from the trail.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import islice
from json.encoder import encode_basestring
from typing import Final

from stead.model.audit_record import AuditRecord

WHOLE: Final = frozenset({
    "old", "new", "descriptor", "rights", "objects", "operations", "files", "hosts",
})  # fmt: skip
"""Details that are written whole, in parts, as far as a record can hold them."""

LONGEST_WHOLE: Final = 24_576  # bytes: a record holds two, and the rest
_WIDEST: Final = 8  # bytes of one character: of four in UTF-8, where one is no UTF-8

LONGEST_TEXT: Final = 2048
"""Characters of one text in a record; a path holds 4095 bytes, a flood much more."""

LONGEST_MARK: Final = 256
"""Characters of what is known of a client's way: its gate, peer, correlation."""

_SHORT: Final = 120  # characters of a text where all of a record is too large
_MOST_SHORT: Final = 16  # texts of that length


def in_parts(name: str, text: str, most: int) -> dict[str, str]:
    """Write all of a descriptor, or of what is lent: nobody buries in it what it does.

    What is longer than one text goes on as `name 2`, `name 3`; what takes more than so
    many bytes is named by its digest.
    """
    if _size(text) > most:
        raw = text.encode("utf-8", "surrogatepass")
        return {name: cut(text), f"{name} sha256": sha256(raw).hexdigest()}
    parts = [text[at : at + LONGEST_TEXT] for at in range(0, len(text), LONGEST_TEXT)]
    return {
        name if number == 1 else f"{name} {number}": part
        for number, part in enumerate(parts, 1)
    }


def fitting(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Cut reasons so that all of them fit into a record, whatever letters they hold.

    An entry's own text is in them, and its owner must not keep from the trail who was
    refused by it: one reason for each right, each as long as a text may be, in letters
    of four bytes, is more than a record holds.
    """
    most = LONGEST_TEXT
    fit = tuple(cut(text) for text in reasons)
    if sum(map(len, fit)) * _WIDEST <= LONGEST_WHOLE:
        return fit
    while most and sum(map(_size, fit)) > LONGEST_WHOLE:
        most //= 2
        fit = tuple(cut(text, most) for text in reasons)
    return fit


def shortened(record: AuditRecord) -> AuditRecord:
    """Return a record of a refusal that says the beginning of everything."""
    detail = dict(islice(record.detail.items(), _MOST_SHORT))
    return replace(
        record,
        operation=cut(record.operation, _SHORT),
        object_type=cut(record.object_type, _SHORT),
        object_name=cut(record.object_name, _SHORT),
        reasons=tuple(cut(text, _SHORT) for text in record.reasons[-_MOST_SHORT:]),
        detail={cut(k, _SHORT): cut(v, _SHORT) for k, v in detail.items()},
    )


def _size(text: str) -> int:
    """Return how many bytes a text takes in a record."""
    try:
        return len(encode_basestring(text).encode())
    except UnicodeEncodeError:
        return 2 * len(text.encode("utf-8", "surrogatepass"))


def cut(text: str, most: int = LONGEST_TEXT) -> str:
    """Bound what one text may cost the trail, and say so where it is cut."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... ({len(text)} characters)"
