"""What strangers may put before whoever reads a trail's evidence.

Targets as those of `targets.py`: nothing may escape but an error of Stead's own.
"""

from __future__ import annotations

from tests.fuzz.targets import Target, text_of

from stead.errors import RemoteProtocolError
from stead.ledger.archives import archive_lines, read_archive
from stead.ledger.chain import beginning, seal
from stead.ledger.checkpoint import Checkpoint, Note, Signature, VerifierKey, notes_in
from stead.ledger.proof_text import InclusionProof
from stead.ledger.segments import Before, Seal
from stead.ledger.tree import CompactRange, leaf_hash
from stead.ledger.witness_wire import (
    Ask,
    Extend,
    Frames,
    Proof,
    ProveConsistency,
    ProveInclusion,
    Refusal,
    Standing,
    Why,
    read_answer,
    read_question,
    write_frame,
)

ORIGIN = "stead/S-1-5-21-1-2-3"
POINT = Checkpoint(ORIGIN, 8, bytes(range(32)))
NOTE = Note(str(POINT), (Signature("witness", b"abcd", bytes(64)),))
KEY = VerifierKey("witness", bytes(range(32)))
BODIES = [b'{"a":1}', b"two", b"three"]


def read_note(data: bytes) -> None:
    """Read a note; what is accepted is that text, and found among others."""
    text = text_of(data)
    found = Note.from_string(text)
    assert text == str(found)
    assert found == Note.from_string(notes_in(str(NOTE) + text)[-1])
    point = Checkpoint.from_string(found.text)
    assert found.text == str(point)


def read_key(data: bytes) -> None:
    """Read a public key; what is accepted is that text."""
    text = text_of(data)
    assert text == str(VerifierKey.from_string(text))


def read_proof(data: bytes) -> None:
    """Read a proof; what is accepted is read again as the same."""
    found = InclusionProof.from_string(text_of(data))
    assert found == InclusionProof.from_string(str(found))


def read_frames(data: bytes) -> None:
    """Read a stream of frames; at once and byte by byte give the same."""
    whole = gathered([data])
    assert whole == gathered([data[at : at + 1] for at in range(len(data))])
    for frame in whole:
        for read in (read_question, read_answer):
            try:
                message = read(frame)
            except RemoteProtocolError:
                continue
            assert frame == write_frame(message)[4:]


def gathered(parts: list[bytes]) -> list[bytes]:
    """Return the frames of a stream, up to where it is none any more."""
    frames, found = Frames(), []
    for part in parts:
        try:
            found.extend(frames.feed(part))
        except RemoteProtocolError:
            return found
    return found


def read_edge(data: bytes) -> None:
    """Read a tree's right edge; what is accepted is those bytes."""
    assert data == CompactRange.from_bytes(data).to_bytes()


def read_whole_archive(data: bytes) -> None:
    """Read an archive; what is accepted is the one that was written."""
    head, found = read_archive(text_of(data).splitlines())
    assert found.tree.size == found.last
    assert head.before.tree.size < found.last


def archive() -> bytes:
    """Return an archive of three records."""
    entries = seal(None, BODIES, b"genesis")
    tree = CompactRange().extend(map(leaf_hash, BODIES))
    end = Seal(1, 1, 3, entries[-1].digest, tree, 7, str(NOTE))
    before = Before(beginning(b"genesis").head, CompactRange())
    return "".join(archive_lines(ORIGIN, before, end, entries)).encode()


def trail_targets() -> list[Target]:
    """Return every reader of a trail's evidence with its seeds."""
    messages = (
        Ask(ORIGIN),
        Extend(ORIGIN, 3, (bytes(32), bytes(range(32)))),
        ProveInclusion(ORIGIN, 1, 2),
        ProveConsistency(ORIGIN, 1, 2),
        Standing(8, str(NOTE)),
        Proof((bytes(32),)),
        Refusal(Why.GAP, 3, "no"),
    )
    proof = InclusionProof(b"body", 3, (bytes(32), bytes(range(32))), str(NOTE))
    tree = CompactRange().extend(map(leaf_hash, BODIES))
    return [
        Target("note", (str(NOTE).encode(),), read_note),
        Target("witness-key", (str(KEY).encode(),), read_key),
        Target("proof", (str(proof).encode(),), read_proof),
        Target("witness-frames", tuple(map(write_frame, messages)), read_frames),
        Target("tree-edge", (tree.to_bytes(), CompactRange().to_bytes()), read_edge),
        Target("archive", (archive(),), read_whole_archive),
    ]
