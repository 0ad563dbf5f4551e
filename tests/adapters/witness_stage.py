"""A witness of some leaves, for tests of it."""

from __future__ import annotations

from stead.adapters.ed25519 import Ed25519Signer, Ed25519Verifier
from stead.ledger.checkpoint import signed_checkpoint
from stead.ledger.tree import CompactRange, leaf_hash

SIGNER = Ed25519Signer("witness", bytes(range(32)))
VERIFIER = Ed25519Verifier(SIGNER.key)
ORIGIN = "stead/S-1-5-21-1-2-3"
LEAVES = tuple(leaf_hash(b"%d" % number) for number in range(5000))


def root(size):
    return CompactRange().extend(LEAVES[:size]).root()


def is_signed(standing, size):
    checkpoint = signed_checkpoint(standing.note, VERIFIER, ORIGIN)
    return (size, size, root(size)) == (
        standing.size, checkpoint.size, checkpoint.root,
    )  # fmt: skip


def end(witness):
    """End a witness as a kill would: nothing is tidied up."""
    witness.folder.close()
    # The descriptors are gone; closing them again at the end would close others'.
    witness.folder.close = lambda: None
