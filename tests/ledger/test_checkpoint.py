"""Checkpoints, notes and keys: the published example, and text that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.adapters.ed25519 import Ed25519Signer, Ed25519Verifier
from stead.errors import InvalidCheckpointError, InvalidProofError
from stead.ledger.checkpoint import (
    LONGEST_NOTE,
    Checkpoint,
    Note,
    VerifierKey,
    notes_in,
    signed_checkpoint,
    thinned_out,
    write_private_key,
)
from stead.ledger.proof_text import InclusionProof
from stead.ledger.tree import (
    CompactRange,
    Node,
    inclusion_ranges,
    leaf_hash,
    roots_of,
)

# The example of the specification's own reference implementation.
PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PRIVATE = (
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
)
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    f"{TEXT}\n\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIu"
    "GUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ORIGIN = "stead/S-1-5-21-1-2-3"
POINT = Checkpoint(ORIGIN, 8, bytes(range(32)))


def _signed(signer, point=POINT):
    return str(Note(str(point), (signer.sign(str(point)),)))


@pytest.fixture
def signer():
    return Ed25519Signer("witness", bytes(range(32)))


@pytest.fixture
def verifier(signer):
    return Ed25519Verifier(signer.key)


def test_the_published_note_is_verified_and_signed_the_same():
    signer = Ed25519Signer.from_string(PRIVATE)
    verifier = Ed25519Verifier.from_string(PUBLIC)
    note = Note.from_string(NOTE)
    assert verifier.is_signed(note)
    assert PUBLIC == str(signer.key)
    assert NOTE == str(Note(TEXT, (signer.sign(TEXT),)))


def test_a_changed_text_or_signature_is_not_signed():
    verifier = Ed25519Verifier.from_string(PUBLIC)
    for bent in (NOTE.replace("answer", "Answer"), NOTE.replace("BwJn", "BwJm")):
        assert not verifier.is_signed(Note.from_string(bent))


def test_every_part_of_a_public_key_counts():
    for start in range(len(PUBLIC)):
        for bent in (PUBLIC[:start], PUBLIC[start + 1 :]):
            with pytest.raises(InvalidCheckpointError):
                VerifierKey.from_string(bent)


def test_a_checkpoint_is_the_text_of_its_specification():
    root = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert f"{ORIGIN}\n8\n{root}\n" == str(POINT)
    assert POINT == Checkpoint.from_string(str(POINT))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        str(POINT)[:-1],
        str(POINT) + "\n",
        str(POINT) + "extension\n",
        str(POINT).replace("\n8\n", "\n08\n"),
        str(POINT).replace("\n8\n", "\n-8\n"),
        str(POINT).replace("\n8\n", "\n\N{ARABIC-INDIC DIGIT EIGHT}\n"),
        str(POINT).replace("\n8\n", f"\n{1 << 63}\n"),
        str(POINT).replace("\n8\n", "\n\n"),
        str(POINT).replace("Hh8=", "Hh9="),
        str(POINT).replace("Hh8=", "Hh8"),
        str(POINT).replace("AAEC", "AAE "),
        "\n" + str(POINT),
    ],
)
def test_text_that_is_no_checkpoint_is_refused(text):
    with pytest.raises(InvalidCheckpointError):
        Checkpoint.from_string(text)


@pytest.mark.parametrize(
    "bend",
    [
        lambda note: note[:-1],
        lambda note: note + "x",
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.replace("\N{EM DASH}", "-"),
        lambda note: note.replace(" witness ", " wit+ness "),
        lambda note: note.replace(" witness ", "  "),
        lambda note: note.replace("\n8\n", "\n8\r\n"),
        lambda note: note.replace("stead", "\udcff"),
        lambda note: note[: note.rindex(" ")] + " AAAA\n",
        lambda note: note + note[note.index("\N{EM DASH}") :] * 16,
        lambda note: "x" * LONGEST_NOTE + note,
    ],
)
def test_text_that_is_no_note_is_refused(signer, bend):
    with pytest.raises(InvalidCheckpointError):
        Note.from_string(bend(_signed(signer)))


def test_a_checkpoint_of_another_trail_or_key_is_refused(signer, verifier):
    stranger = Ed25519Signer("witness", bytes(32))
    assert POINT == signed_checkpoint(_signed(signer), verifier, ORIGIN)
    assert POINT == signed_checkpoint(_signed(stranger), None, ORIGIN)
    with pytest.raises(InvalidCheckpointError, match="not signed by witness"):
        signed_checkpoint(_signed(stranger), verifier, ORIGIN)
    with pytest.raises(InvalidCheckpointError, match="is of `stead/S-1-5-21-1-2-3`"):
        signed_checkpoint(_signed(signer), verifier, "stead/S-1-5-21-9-9-9")


def test_a_signature_of_somebody_else_does_not_disturb(signer, verifier):
    stranger = Ed25519Signer("witness", bytes(32))
    both = Note(str(POINT), (stranger.sign(str(POINT)), signer.sign(str(POINT))))
    assert POINT == signed_checkpoint(str(both), verifier, ORIGIN)


def test_notes_are_found_one_after_another_and_a_torn_one_left_out(signer):
    first, second = _signed(signer), _signed(signer, Checkpoint(ORIGIN, 9, bytes(32)))
    assert [first, second] == notes_in(first + second)
    for cut in range(1, len(second)):
        assert [first] == notes_in(first + second[:-cut])
    assert [] == notes_in("")


def test_of_very_many_notes_some_are_kept_evenly_and_the_last():
    notes = [str(number) for number in range(1000)]
    assert notes == thinned_out(notes, 1000)
    assert [*notes[::128], "999"] == thinned_out(notes, 10)
    assert [] == thinned_out([], 10)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "x" * 201, "\udcff"])
def test_what_can_be_no_name_of_a_key_is_refused(name):
    with pytest.raises(InvalidCheckpointError):
        Ed25519Signer(name, bytes(32))


def test_a_private_key_that_is_damaged_is_refused(signer):
    line = write_private_key(signer.key, bytes(range(32)))
    assert signer.key == Ed25519Signer.from_string(line).key
    for bent in (line[12:], line.replace("+A", "+B"), line[:-4], "PRIVATE+KEY+a+b"):
        with pytest.raises(InvalidCheckpointError):
            Ed25519Signer.from_string(bent)


# --- proofs as text -------------------------------------------------------------------

BODIES = [b"%d" % number for number in range(11)]


def _proof(signer, index):
    nodes = [Node(at, 0, leaf_hash(body)) for at, body in enumerate(BODIES)]
    tree = CompactRange().extend(map(leaf_hash, BODIES))
    note = _signed(signer, Checkpoint(ORIGIN, len(BODIES), tree.root()))
    hashes = roots_of(inclusion_ranges(index, len(BODIES)), nodes)
    return InclusionProof(BODIES[index], index, hashes, note)


@given(st.integers(0, 10))
def test_a_proof_is_read_back_and_proves_its_record(index):
    signer = Ed25519Signer("witness", bytes(range(32)))
    proof = InclusionProof.from_string(str(_proof(signer, index)))
    assert _proof(signer, index) == proof
    found = proof.verify(Ed25519Verifier(signer.key), ORIGIN)
    assert len(BODIES) == found.size


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("index 5", "index 4", InvalidProofError),
        ("index 5", "index 11", InvalidProofError),
        ("index 5", "index 05", InvalidProofError),
        ("extra NQ==", "extra NA==", InvalidProofError),
        ("extra NQ==", "extra N", InvalidProofError),
        ("extra NQ==\n", "", InvalidProofError),
        ("tlog-proof@v1", "tlog-proof@v2", InvalidProofError),
        ("\n11\n", "\n12\n", InvalidCheckpointError),
        ("\n\n", "\n", InvalidProofError),
        ("\n\nstead", "\nAAAA\n\nstead", InvalidProofError),
    ],
)
def test_a_bent_proof_proves_nothing(signer, verifier, old, new, error):
    text = str(_proof(signer, 5))
    assert old in text
    with pytest.raises(error):
        InclusionProof.from_string(text.replace(old, new, 1)).verify(verifier)


def test_a_proof_of_another_store_is_refused(signer, verifier):
    with pytest.raises(InvalidCheckpointError):
        _proof(signer, 5).verify(verifier, "stead/S-1-5-21-9-9-9")
