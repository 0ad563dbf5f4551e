"""A proof that a record is in a signed trail, as text (C2SP tlog-proof).

Whoever holds it and the witness's public key can verify it alone, without the store::

    c2sp.org/tlog-proof@v1
    extra <base64 of the record's canonical bytes>
    index 73893
    <base64 of a hash>
    ...

    stead/S-1-5-21-1-2-3
    109482
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    <dash> witness hI2DJw...

The index is the record's number less one: leaves are counted from zero.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

from stead.errors import InvalidProofError
from stead.ledger.checkpoint import (
    Checkpoint,
    Note,
    NoteVerifier,
    signed_checkpoint,
)
from stead.ledger.tree import HASH_SIZE, leaf_hash, require_inclusion

LONGEST_PROOF: Final = 262_144
"""Characters of a proof's text: what is longer is none."""

_HEAD: Final = "c2sp.org/tlog-proof@v1"
_MOST_HASHES: Final = 63
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """A record, where it stands, and why that is in a checkpoint.

    Attributes:
        body: the record's canonical bytes.
        index: its number less one.
        hashes: the proof.
        note: the signed checkpoint, as text.
    """

    body: bytes
    index: int
    hashes: tuple[bytes, ...]
    note: str

    def __str__(self) -> str:
        lines = [
            _HEAD,
            f"extra {base64.b64encode(self.body).decode()}",
            f"index {self.index}",
            *(base64.b64encode(digest).decode() for digest in self.hashes),
        ]
        return "\n".join(lines) + f"\n\n{self.note}"

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read what `str` gives; raises `InvalidProofError`."""
        head, mark, note = text.partition("\n\n")
        lines = iter(head.split("\n"))
        if len(text) > LONGEST_PROOF or not mark or next(lines) != _HEAD:
            raise InvalidProofError("the text is no proof")
        name, _, body = next(lines, "").partition(" ")
        index = _INDEX.fullmatch(next(lines, ""))
        if name != "extra" or index is None:
            raise InvalidProofError("the proof does not bring its record and number")
        hashes = tuple(_unbase64(line) for line in islice(lines, _MOST_HASHES + 1))
        if len(hashes) > _MOST_HASHES or any(len(h) != HASH_SIZE for h in hashes):
            raise InvalidProofError("the proof holds what is no hash")
        return cls(_unbase64(body), int(index[1]), hashes, note)

    def verify(self, verifier: NoteVerifier, origin: str | None = None) -> Checkpoint:
        """Verify it against the key of a witness; return the checkpoint it leads to.

        Args:
            verifier: of the witness's key.
            origin: whose trail it must be of; None for whichever it says.

        Raises:
            InvalidCheckpointError: the checkpoint is none, or not signed by the key.
            InvalidProofError: the record is not in it, at least not there.
        """
        said = Checkpoint.from_string(Note.from_string(self.note).text).origin
        found = signed_checkpoint(self.note, verifier, origin or said)
        leaf = leaf_hash(self.body)
        require_inclusion(leaf, self.index, found.size, self.hashes, found.root)
        return found


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidProofError("the text is no base64") from error
