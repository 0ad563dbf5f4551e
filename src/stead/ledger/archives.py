"""Archives of sealed segments: files of JSON lines that can be verified alone.

::

    {"format":"stead archive 1","origin":"stead/S-1-5-21-1-2-3","segment":2, ...}
    {"sequence":101,"digest":"<hex>","body":"<the record's canonical text>"}
    ...
    {"seal":{"last":200,"digest":"<hex>","edge":"<hex>","root":"<hex>", ...}}

The first line has what came before (`before`), as the last one has the seal: archives
of neighbors verify together, since one begins with what the other ended with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from stead.errors import InvalidRequestError, LedgerCorruptError, SteadError
from stead.ledger.chain import Verification, follow
from stead.ledger.ports import Entry
from stead.ledger.segments import Before, Seal
from stead.ledger.tree import CompactRange, leaf_hash

FORMAT: Final = "stead archive 1"

_MISFITS: Final = (
    SteadError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class ArchiveHead:
    """The first line of an archive."""

    origin: str
    segment: int
    before: Before


def archive_lines(
    origin: str, before: Before, seal: Seal, entries: Iterable[Entry]
) -> Iterator[str]:
    """Yield an archive's lines; verified while they are made.

    Raises:
        LedgerCorruptError: the entries do not lead to the seal. The lines so far are
            no archive.
    """
    yield _line(
        {
            "format": FORMAT,
            "origin": origin,
            "segment": seal.number,
            "before": _edge(before.digest, before.tree),
        }
    )
    walk = _Walk(before)
    for entry in entries:
        walk.follow(entry)
        yield _line(
            {
                "sequence": entry.sequence,
                "digest": entry.digest.hex(),
                "body": entry.body.decode("utf-8", "surrogateescape"),
            }
        )
    walk.require(seal)
    yield _line(
        {
            "seal": {
                "first": seal.first,
                "last": seal.last,
                "root": seal.tree.root().hex(),
                "sealed_at": seal.sealed_at,
                "note": seal.note,
                **_edge(seal.digest, seal.tree),
            }
        }
    )


def read_archive(
    lines: Iterable[str], each: Callable[[Entry], None] | None = None
) -> tuple[ArchiveHead, Seal]:
    """Read an archive and verify all of it.

    Args:
        lines: its lines.
        each: told every record that was verified so far; all of them stand only when
            this returns.

    Returns:
        What it begins with, and its seal.

    Raises:
        LedgerCorruptError: names the first record that is wrong.
        InvalidRequestError: it is no archive.
    """
    rest = iter(lines)
    try:
        head = _read_head(json.loads(next(rest)))
    except (*_MISFITS, StopIteration) as error:
        raise InvalidRequestError(f"the file is no archive: {error}") from error
    walk = _Walk(head.before)
    for text in rest:
        try:
            fields = json.loads(text)
            if "seal" in fields:
                seal = _read_seal(head.segment, fields["seal"])
                break
            entry = _read_entry(fields)
        except _MISFITS as error:
            raise LedgerCorruptError(
                f"record {walk.count + 1} cannot be read: {error}",
                sequence=walk.count + 1,
            ) from error
        walk.follow(entry)
        if each is not None:
            each(entry)
    else:
        raise LedgerCorruptError(
            f"record {walk.count + 1} is missing: the archive has no seal",
            sequence=walk.count + 1,
        )
    walk.require(seal)
    if next(rest, None) is not None:
        raise LedgerCorruptError("something follows the seal", sequence=walk.count + 1)
    return head, seal


class _Walk:
    """Goes along a segment: chain and tree at once."""

    def __init__(self, before: Before) -> None:
        self._seen = Verification(before.tree.size, before.digest)
        self._tree = before.tree

    @property
    def count(self) -> int:
        return self._seen.count

    def follow(self, entry: Entry) -> None:
        self._seen = follow(self._seen, entry)
        self._tree = self._tree.extend((leaf_hash(entry.body),))

    def require(self, seal: Seal) -> None:
        found = (self._seen.count, self._seen.head, self._tree)
        if found != (seal.last, seal.digest, seal.tree):
            raise LedgerCorruptError(
                f"the records up to {self._seen.count} do not lead to the seal at "
                f"{seal.last}",
                sequence=min(self._seen.count + 1, seal.last),
            )


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":")) + "\n"


def _edge(digest: bytes, tree: CompactRange) -> dict[str, str]:
    return {"digest": digest.hex(), "edge": tree.to_bytes().hex()}


def _read_head(fields: dict[str, Any]) -> ArchiveHead:
    if fields["format"] != FORMAT:
        raise InvalidRequestError(f"format `{fields['format']}` is not known")
    before = fields["before"]
    return ArchiveHead(
        str(fields["origin"]),
        _whole(fields["segment"]),
        Before(bytes.fromhex(before["digest"]), _read_edge(before)),
    )


def _read_entry(fields: dict[str, Any]) -> Entry:
    body = fields["body"].encode("utf-8", "surrogateescape")
    return Entry(_whole(fields["sequence"]), body, bytes.fromhex(fields["digest"]))


def _read_seal(number: int, fields: dict[str, Any]) -> Seal:
    seal = Seal(
        number,
        _whole(fields["first"]),
        _whole(fields["last"]),
        bytes.fromhex(fields["digest"]),
        _read_edge(fields),
        _whole(fields["sealed_at"]),
        str(fields["note"]),
    )
    if seal.tree.root().hex() != fields["root"]:
        raise InvalidRequestError("the seal's root is not that of its edge")
    return seal


def _whole(value: object) -> int:
    """Return a number that is one: a record's is no fraction, and JSON has 1e999."""
    if type(value) is not int:
        raise TypeError("a number is not whole")
    return value


def _read_edge(fields: dict[str, Any]) -> CompactRange:
    return CompactRange.from_bytes(bytes.fromhex(fields["edge"]))
