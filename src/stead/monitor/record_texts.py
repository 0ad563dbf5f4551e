"""What one text, and all of them, may take of a record.

Much in a record is made up by clients: names, paths, marks of their own. Nobody may
make one so large that it cannot be written, and keep a refusal from the trail.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def written(detail: dict[str, str]) -> dict[str, str]:
    """Write all of a descriptor, or of what is lent: nobody buries in it what it does.

    What is longer than one text goes on as `name 2`, `name 3`; what one record cannot
    hold is named by its digest here, and is in records of its own (`beforehand`). Other
    texts are cut.
    """
    said: dict[str, str] = {}
    too_large = _too_large(detail)
    for name, text in detail.items():
        if name in too_large:
            said |= {name: cut(text), **_digest(name, text)}
        elif name in WHOLE:
            said |= _numbered(name, _slices(text))
        else:
            said[name] = cut(text)
    return said


def beforehand(detail: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield what is recorded before a record that cannot hold all of its detail.

    Each has a part of one text: `part` says which, of how many; together they have the
    digest that the record names.
    """
    for name in _too_large(detail):
        text = detail[name]
        parts = list(_fitting_parts(_slices(text)))
        for number, part in enumerate(parts, 1):
            which = {"part": f"{number} of {len(parts)}"}
            yield _numbered(name, part) | _digest(name, text) | which


def _too_large(detail: dict[str, str]) -> list[str]:
    """Return the names of texts that one record cannot hold whole."""
    long = [n for n, text in detail.items() if n in WHOLE and len(text) > LONGEST_TEXT]
    most = 2 * LONGEST_WHOLE // max(2, len(long))
    return [name for name in long if _size(detail[name]) > most]


def _digest(name: str, text: str) -> dict[str, str]:
    raw = text.encode("utf-8", "surrogatepass")
    return {f"{name} sha256": sha256(raw).hexdigest()}


def _slices(text: str) -> list[str]:
    starts = range(0, len(text) or 1, LONGEST_TEXT)
    return [text[at : at + LONGEST_TEXT] for at in starts]


def _numbered(name: str, slices: list[str]) -> dict[str, str]:
    return {
        name if number == 1 else f"{name} {number}": part
        for number, part in enumerate(slices, 1)
    }


def _fitting_parts(slices: list[str]) -> Iterator[list[str]]:
    """Yield slices together, as many as one record holds."""
    part: list[str] = []
    for one in slices:
        if part and sum(map(_size, (*part, one))) > LONGEST_WHOLE:
            yield part
            part = []
        part.append(one)
    yield part


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
