"""The Merkle tree over the trail (RFC 6962 2.1, RFC 9162 2.1).

Leaf N is record N + 1: SHA-256 over 0x00 and the record's canonical bytes. An inner
node is SHA-256 over 0x01 and its two halves, of which the left one is the largest power
of two that leaves something for the right.

Nothing here keeps a tree. A `CompactRange` is its right edge: the roots of the full
subtrees that a size is made of, at most 63 hashes, which is all that is needed to go on
and to name the root. A proof is named by the ranges of leaves whose roots it consists
of; `roots_of` gathers them from one pass over the leaves.

Example::

    tree = CompactRange().extend(leaf_hash(body) for body in bodies)
    tree.root()

The twin in C (`_sealing.c`), where it can run, goes on with a right edge; what proves
and verifies is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from stead.errors import InvalidProofError
from stead.ledger.twins import SEALING

HASH_SIZE: Final = 32
"""Bytes of a hash."""

LARGEST: Final = (1 << 63) - 1
"""The largest tree: the largest number that a record can have."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves."""

_LEAF: Final = b"\0"
_NODE: Final = b"\1"
_SIZE_BYTES: Final = 8


def leaf_hash(body: bytes) -> bytes:
    """Return the hash of a leaf that holds these bytes."""
    return sha256(_LEAF + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over two others."""
    return sha256(_NODE + left + right).digest()


@dataclass(frozen=True, slots=True)
class CompactRange:
    """The right edge of a tree, with which it can be gone on.

    Attributes:
        size: how many leaves there are.
        peaks: the roots of its full subtrees, the largest first: one for each bit that
            is set in `size`.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no right edge.

        Raises:
            InvalidProofError: the number or length of hashes does not go with the size.
        """
        if not 0 <= self.size <= LARGEST:
            raise InvalidProofError(f"a tree has no size `{self.size}`")
        if len(self.peaks) != self.size.bit_count():
            raise InvalidProofError(
                f"a tree of {self.size} leaves has {self.size.bit_count()} peaks, "
                f"not {len(self.peaks)}"
            )
        _require_hashes(self.peaks)

    def extend(self, leaves: Iterable[bytes]) -> Self:
        """Return the tree with more leaves, given by their hashes."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, rest = leaf, size
            while rest & 1:
                node = sha256(_NODE + peaks.pop() + node).digest()
                rest >>= 1
            peaks.append(node)
            size += 1
        # What follows from a right edge is one: it is not looked at again, since this
        # is done for each batch of records.
        grown = object.__new__(type(self))
        object.__setattr__(grown, "size", size)
        object.__setattr__(grown, "peaks", tuple(peaks))
        return grown

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self.peaks:
            return EMPTY_ROOT
        *rest, root = self.peaks
        for peak in reversed(rest):
            root = node_hash(peak, root)
        return root

    def to_bytes(self) -> bytes:
        """Return the size in eight bytes, big-endian, and then the peaks."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote; raises `InvalidProofError`."""
        if len(data) < _SIZE_BYTES or (len(data) - _SIZE_BYTES) % HASH_SIZE:
            raise InvalidProofError("the bytes are no right edge of a tree")
        size = int.from_bytes(data[:_SIZE_BYTES], "big")
        return cls(size, split_hashes(data[_SIZE_BYTES:]))


def pure_grown(edge: bytes, bodies: list[bytes]) -> bytes:
    """Return a right edge with a leaf for each of these records, by Python alone.

    Args:
        edge: as `CompactRange.to_bytes` gives it; so is what is returned.
        bodies: the records that follow.
    """
    return CompactRange.from_bytes(edge).extend(map(leaf_hash, bodies)).to_bytes()


grown: Final[Callable[[bytes, list[bytes]], bytes]] = getattr(
    SEALING, "grown", pure_grown
)
"""Does what `pure_grown` does, on the path on which every request waits."""


@dataclass(frozen=True, slots=True)
class Node:
    """The root of a full subtree: `1 << height` leaves from `start` on."""

    start: int
    height: int
    digest: bytes


def nodes_of(tree: CompactRange) -> tuple[Node, ...]:
    """Return the full subtrees of a right edge, from the left."""
    found, start = [], 0
    for peak in tree.peaks:
        height = (tree.size - start).bit_length() - 1
        found.append(Node(start, height, peak))
        start += 1 << height
    return tuple(found)


def split_hashes(data: bytes) -> tuple[bytes, ...]:
    """Return the hashes that stand one after another."""
    return tuple(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))


# --- which subtrees prove what --------------------------------------------------------


Range = tuple[int, int]
"""Leaves from the first number to the one before the second."""


def inclusion_ranges(index: int, size: int) -> tuple[Range, ...]:
    """Return whose roots prove that leaf `index` is in a tree (RFC 9162 2.1.3.1).

    Raises:
        InvalidProofError: the tree has no such leaf.
    """
    if not 0 <= index < size <= LARGEST:
        raise InvalidProofError(f"a tree of {size} leaves has no leaf {index}")
    found: list[Range] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _left_half(stop - start)
        if index < middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start = middle
    return tuple(reversed(found))


def consistency_ranges(old: int, new: int) -> tuple[Range, ...]:
    """Return whose roots prove that a tree begins with another (RFC 9162 2.1.4.1).

    Raises:
        InvalidProofError: the other is empty, or larger.
    """
    if not 0 < old <= new <= LARGEST:
        raise InvalidProofError(f"a tree of {new} leaves is not proved to hold {old}")
    found: list[Range] = []
    start, stop, is_whole = 0, new, True
    while old != stop:
        middle = start + _left_half(stop - start)
        if old <= middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start, is_whole = middle, False
    if not is_whole:  # else it is the old root, which the other side has
        found.append((start, stop))
    return tuple(reversed(found))


def roots_of(ranges: Sequence[Range], nodes: Iterable[Node]) -> tuple[bytes, ...]:
    """Gather the roots of ranges from one pass over a tree.

    Args:
        ranges: as `inclusion_ranges` and `consistency_ranges` give them.
        nodes: the tree from the left: its leaves, or full subtrees for those at the
            left that are not at hand one by one (`nodes_of`).

    Raises:
        InvalidProofError: the nodes do not make up the ranges.
    """
    wanted = sorted(ranges)
    found: dict[Range, bytes] = {}
    stack: list[Node] = []
    for node in nodes:
        if len(found) == len(wanted):
            break
        first, last = wanted[len(found)]
        if node.start < first:
            continue
        _push(stack, node)
        if node.start + (1 << node.height) == last:
            if stack[0].start != first:
                break
            found[first, last] = _folded(stack)
            stack = []
    if len(found) != len(wanted):
        raise InvalidProofError(
            "the proof needs records that are not there any more, or not yet"
        )
    return tuple(found[one] for one in ranges)


def _push(stack: list[Node], node: Node) -> None:
    while stack and stack[-1].height == node.height:
        left = stack.pop()
        digest = node_hash(left.digest, node.digest)
        node = Node(left.start, left.height + 1, digest)
    stack.append(node)


def _folded(stack: Sequence[Node]) -> bytes:
    *rest, last = (node.digest for node in stack)
    for digest in reversed(rest):
        last = node_hash(digest, last)
    return last


# --- what a proof proves --------------------------------------------------------------


def root_of_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes]
) -> bytes:
    """Return the root of a tree that has this leaf there (RFC 9162 2.1.3.2).

    Raises:
        InvalidProofError: the proof does not go with the numbers.
    """
    ranges = inclusion_ranges(index, size)
    if len(proof) != len(ranges):
        raise InvalidProofError(
            f"the proof has {len(proof)} hashes instead of {len(ranges)}"
        )
    _require_hashes((leaf, *proof))
    root = leaf
    for (start, _), sibling in zip(ranges, proof, strict=True):
        is_left = start <= index
        root = node_hash(sibling, root) if is_left else node_hash(root, sibling)
    return root


def require_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Return if the tree with this root has this leaf; raises `InvalidProofError`."""
    if root_of_inclusion(leaf, index, size, proof) != root:
        raise InvalidProofError("the proof leads to another root")


def require_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the new tree begins with the old one (RFC 9162 2.1.4.2).

    Every tree begins with the empty one, and with itself; that takes no proof.

    Raises:
        InvalidProofError: it does not, or the proof does not go with the numbers.
    """
    _require_hashes((old_root, new_root, *proof))
    if old == 0 and new >= 0:
        ranges: tuple[Range, ...] = ()
        is_proved = old_root == EMPTY_ROOT
    else:
        ranges = consistency_ranges(old, new)
        is_proved = len(proof) == len(ranges) and (old_root, new_root) == _both_roots(
            old, old_root, ranges, proof
        )
    if len(proof) != len(ranges) or not is_proved:
        raise InvalidProofError("the proof does not lead from one root to the other")


def _both_roots(
    old: int, old_root: bytes, ranges: Sequence[Range], proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Fold a proof up, once over what the old tree has and once over all."""
    pairs = list(zip(ranges, proof, strict=True))
    # The first range is the old tree's last full subtree, unless that is all of it.
    seed = old_root
    if pairs and pairs[0][0][1] == old:
        seed = pairs.pop(0)[1]
    first = second = seed
    for (start, _), digest in pairs:
        if start >= old:
            second = node_hash(second, digest)
        else:
            first = node_hash(digest, first)
            second = node_hash(digest, second)
    return first, second


def _left_half(size: int) -> int:
    """Return the largest power of two below a size of two or more."""
    return 1 << ((size - 1).bit_length() - 1)


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if not {HASH_SIZE}.issuperset(map(len, hashes)):
        raise InvalidProofError(f"a hash has {HASH_SIZE} bytes")
