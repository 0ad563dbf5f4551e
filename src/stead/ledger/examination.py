"""The whole trail against all that is known of it: which record is wrong first?

The chain alone shows damage that nobody covered up. Whoever can write the store can
make the chain anew; then the witness's signed checkpoints tell between which two
something was changed, and the witness's leaves tell which record it is, and how.

One pass, a record at a time, in these steps:

1. Find where the trail begins: at record 1, or behind what was removed on purpose.
2. Read the checkpoints; keep those that are this trail's, and signed.
3. Believe the witness's leaves only as far as a signed root covers them.
4. Go along the records: number, leaf, chain; the tree's root at every checkpoint and
   seal; and the record that says that what is not there was removed.
5. At the end, see what should have followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

from stead.errors import InvalidCheckpointError, LedgerCorruptError
from stead.ledger.chain import Verification, beginning, follow
from stead.ledger.checkpoint import Checkpoint, NoteVerifier, signed_checkpoint
from stead.ledger.findings import Fault, Report, Wrong
from stead.ledger.ports import Entry, LedgerStore
from stead.ledger.segments import Seal, cleared_until, tells_removal
from stead.ledger.tree import HASH_SIZE, LARGEST, CompactRange, leaf_hash
from stead.ledger.witness import tree_of

_PAGE: Final = 4096


class Leaves(Protocol):
    """A witness's leaves."""

    def read(self, start: int, stop: int) -> bytes:
        """Return leaves, one after another; fewer if there are fewer."""
        ...

    def count(self) -> int:
        """Return how many there are."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a trail is compared with.

    Attributes:
        genesis: the bytes of the store's own SID.
        origin: whose checkpoints count.
        tree: the right edge that the store keeps; None if it keeps none.
        seals: the store's seals.
        notes: signed checkpoints, in any order, from the store and from elsewhere.
        verifier: of the witness's key; None believes checkpoints of anybody, and then
            none of them vouches for anything.
        leaves: the witness's leaves, if they are at hand.
        witness: a count and head that was kept by hand.
        damage: what of this the store has and cannot be read.
    """

    genesis: bytes
    origin: str
    tree: CompactRange | None = None
    seals: tuple[Seal, ...] = ()
    notes: tuple[str, ...] = ()
    verifier: NoteVerifier | None = None
    leaves: Leaves | None = None
    witness: Verification | None = None
    damage: tuple[str, ...] = ()


def examine(entries: Callable[[int], Iterable[Entry]], known: Known) -> Report:
    """Compare a trail with all that is known of it.

    Args:
        entries: given a number, yields the entries behind it, in order.
        known: what it is compared with.

    Returns:
        What came out; a trail that is wrong is a report with a fault, not an error.
    """
    walk = _Walk(known)
    fault = walk.prepare()
    if fault is None:
        rest = iter(entries(walk.removed))
        found = next(filter(None, map(walk.take, rest)), None)
        fault = walk.named_exactly(found, rest) if found else walk.finish()
    return replace(walk.report(), fault=fault or walk.aside)


class _Walk:
    """One pass along the trail."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._seen = beginning(known.genesis)
        self._folded = CompactRange()
        self._leaves: list[bytes] = []
        self._start: Seal | None = cleared_until(known.seals)
        self.removed = 0 if self._start is None else self._start.last
        self._expected: dict[int, Checkpoint] = {}
        self._seals = {seal.last: seal for seal in known.seals}
        self._sizes: set[int] = set()
        self._believed = 0
        self._page: tuple[int, bytes] = (0, b"")
        self._vouched: Checkpoint | None = None
        self._checkpoints = 0
        self._wrong_leaf = b""
        # What is wrong with no record. It must not hide one that is.
        self.aside: Fault | None = None
        for text in known.damage:
            self.aside = Fault(Wrong.TREE, 0, 0, text)

    def prepare(self) -> Fault | None:
        """Take steps 1 to 3."""
        if self._start is not None:
            self._seen = Verification(self._start.last, self._start.digest)
            self._folded = self._start.tree
        fault = self._bad_seal() or self._read_checkpoints() or self._believe_leaves()
        known = self._known
        self._sizes = {*self._expected, *self._seals, self.removed}
        self._sizes |= {part.size for part in (known.tree,) if part is not None}
        self._sizes |= {part.count for part in (known.witness,) if part is not None}
        return fault or self._at_size() or self._told_within(LARGEST)

    def take(self, entry: Entry) -> Fault | None:
        """Take step 4 with one record."""
        number = self._seen.count + 1
        if entry.sequence == number:
            leaf = leaf_hash(entry.body)
            if not self._is_known_leaf(number, leaf):
                self._wrong_leaf = leaf
                return _exact(Wrong.CHANGED, number, "is another than the witness's")
        else:
            leaf = b""
        try:
            self._seen = follow(self._seen, entry)
        except LedgerCorruptError as error:
            return self._broken_link(entry, number, error)
        self._leaves.append(leaf)
        return self._at_size() or self._recorded_removal(entry)

    def finish(self) -> Fault | None:
        """Take step 5."""
        count, known = self._seen.count, self._known
        ends = [
            (max(self._expected, default=0), "a checkpoint was signed at"),
            (self._believed, "the witness has leaves up to"),
            (0 if known.witness is None else known.witness.count, "a witness knows"),
            (0 if known.tree is None else known.tree.size, "the store's tree has"),
            (known.seals[-1].last if known.seals else 0, "a segment was sealed at"),
        ]
        end, why = max(ends, key=lambda pair: pair[0])
        if end > count:
            low = max(self._certain(), min(self._believed, count), self.removed)
            text = f"record {count + 1} is missing: {why} {end}"
            return Fault(Wrong.TRUNCATED, low + 1, count + 1, text)
        return self._told_within(count)

    def report(self) -> Report:
        """Return what came out so far."""
        return Report(
            self.removed,
            self._seen.count,
            self._seen.head,
            self._tree.root(),
            self._vouched,
            self._checkpoints,
        )

    @property
    def _tree(self) -> CompactRange:
        """The tree over the records so far."""
        self._folded = self._folded.extend(self._leaves)
        self._leaves.clear()
        return self._folded

    # --- before the first record ------------------------------------------------------

    def _bad_seal(self) -> Fault | None:
        end = 0
        for number, seal in enumerate(self._known.seals, start=1):
            is_next = (seal.number, seal.first) == (number, end + 1)
            if not is_next or seal.tree.size != seal.last or seal.last <= end:
                text = f"seal {seal.number} does not follow the one before it"
                return Fault(Wrong.TREE, end + 1, max(seal.last, end + 1), text)
            end = seal.last
        return None

    def _read_checkpoints(self) -> Fault | None:
        known = self._known
        notes = [*known.notes, *(seal.note for seal in known.seals if seal.note)]
        for note in dict.fromkeys(notes):
            try:
                found = signed_checkpoint(note, known.verifier, known.origin)
            except InvalidCheckpointError as error:
                text = f"a kept checkpoint is wrong: {error}"
                self.aside = self.aside or Fault(Wrong.CHECKPOINT, 0, 0, text)
                continue
            other = self._expected.setdefault(found.size, found)
            if other.root != found.root:
                text = f"there are two checkpoints of {found.size} records"
                return Fault(Wrong.WITNESS, found.size, found.size, text)
        return None

    def _believe_leaves(self) -> Fault | None:
        """Believe leaves as far as they have a root that was signed."""
        leaves, count = self._known.leaves, 0
        if leaves is None:
            return None
        count = leaves.count()
        if self._known.verifier is None:
            self._believed = count
        else:
            within = (size for size in self._expected if size <= count)
            self._believed = max(within, default=0)
            tree = tree_of(leaves.read, self._believed)
            if self._believed and tree.root() != self._expected[self._believed].root:
                text = "the witness's leaves are not those that it has signed"
                return Fault(Wrong.WITNESS, 1, self._believed, text)
        kept = min(self.removed, self._believed)
        if kept and kept == self.removed:
            return self._other_start(tree_of(leaves.read, kept))
        return None

    def _other_start(self, tree: CompactRange) -> Fault | None:
        if tree == self._tree:
            return None
        text = f"the seal at {self.removed} is not what the witness knows"
        return Fault(Wrong.TREE, 1, self.removed, text)

    # --- along the records ------------------------------------------------------------

    def _is_known_leaf(self, number: int, leaf: bytes) -> bool:
        if number > self._believed:
            return True
        return self._leaf(number) == leaf

    def _leaf(self, number: int) -> bytes:
        """Return the leaf of a record, of a page that is kept."""
        assert self._known.leaves is not None  # noqa: S101 - for the types
        start, page = self._page
        at = (number - 1 - start) * HASH_SIZE
        if not 0 <= at < len(page):
            page = self._known.leaves.read(number - 1, number - 1 + _PAGE)
            self._page, at = (number - 1, page), 0
        return page[at : at + HASH_SIZE]

    def _broken_link(
        self, entry: Entry, number: int, error: LedgerCorruptError
    ) -> Fault:
        if entry.sequence > number:
            return _exact(Wrong.MISSING, number, "is missing")
        if entry.sequence < number:
            return _exact(Wrong.DOUBLED, entry.sequence, "is doubled or out of order")
        # Whoever changes a record and makes its own digest anew breaks the next link.
        low = number - 1
        if low <= max(self._believed, self._certain(), self.removed):
            low = number
        return Fault(Wrong.CHANGED, low, number, str(error))

    def _certain(self) -> int:
        return 0 if self._vouched is None else self._vouched.size

    def _at_size(self) -> Fault | None:
        """Compare chain and tree with what is known of just this size."""
        count = self._seen.count
        if count not in self._sizes and len(self._leaves) < _PAGE:
            return None  # the tree itself is worked out where it matters
        root = self._tree.root()
        expected = self._expected.get(count)
        if expected is not None:
            if expected.root != root:
                return self._since_last("the checkpoint", count)
            self._checkpoints += 1
            if self._known.verifier is not None:
                self._vouched = expected
        witness = self._known.witness
        if witness is not None and count == witness.count and witness != self._seen:
            text = f"record {count} is not the one that the witness knows"
            low = max(self._certain(), min(self._believed, count), self.removed)
            return Fault(Wrong.CHANGED, min(low + 1, count), count, text)
        seal = self._seals.get(count)
        if seal is not None and (seal.digest, seal.tree) != (
            self._seen.head,
            self._tree,
        ):
            return self._since_last("the seal", count)
        tree = self._known.tree
        if tree is not None and tree.size == count and tree != self._tree:
            return self._since_last("the tree that the store keeps", count)
        return None

    def _since_last(self, what: str, count: int) -> Fault:
        low = max(self._certain(), min(self._believed, count), self.removed)
        if low >= count:
            # The witness has signed all of it: what differs is not a record.
            return Fault(Wrong.TREE, count, count, f"{what} at {count} is changed")
        text = f"the records do not lead to {what} at {count}"
        return Fault(Wrong.CHANGED, low + 1, count, text)

    def _recorded_removal(self, entry: Entry) -> Fault | None:
        """See that the record of the removal says what was removed."""
        if self._start is None or entry.sequence != self._start.cleared_by:
            return None
        return None if tells_removal(entry.body, self._start) else self._unrecorded()

    def _told_within(self, count: int) -> Fault | None:
        """See that the record of the removal is one that the walk comes to.

        One among what is not there, or behind the end, is never looked at.
        """
        start = self._start
        if start is not None and not self.removed < start.cleared_by <= count:
            return self._unrecorded()
        return None

    def _unrecorded(self) -> Fault:
        text = f"nothing says that the records up to {self.removed} were removed"
        return Fault(Wrong.REMOVAL, 1, self.removed, text)

    # --- which one, and how -----------------------------------------------------------

    def named_exactly(self, fault: Fault, rest: Iterator[Entry]) -> Fault:
        """Say what became of a record whose leaf the witness has."""
        if not self._wrong_leaf:
            return fault
        number = fault.first
        wanted = self._leaf(number)
        at = self._find(self._wrong_leaf, number)
        if 0 < at < number:
            return _exact(Wrong.DOUBLED, number, f"repeats record {at}")
        is_later = any(leaf_hash(entry.body) == wanted for entry in rest)
        if at:
            what = Wrong.REORDERED if is_later else Wrong.MISSING
            text = f"is not there; record {at} stands in its place"
            return _exact(what, number, text)
        if is_later:
            return _exact(Wrong.INSERTED, number, "was put in: the witness has none")
        return fault

    def _find(self, leaf: bytes, near: int) -> int:
        """Return the number of the record with this leaf; 0 if there is none.

        Of several the first one after `near`: two records may say the same.
        """
        earlier = 0
        for number in range(1, self._believed + 1):
            if self._leaf(number) == leaf:
                if number > near:
                    return number
                earlier = earlier or number
        return earlier


def require_told(seal: Seal, store: LedgerStore) -> None:
    """See that a record that stays says what was removed.

    Args:
        seal: of the last segment that was removed.
        store: where the records are.

    Raises:
        LedgerCorruptError: none does.
    """
    if seal.last < seal.cleared_by:
        told = store.picked((seal.cleared_by,))
        if any(tells_removal(entry.body, seal) for entry in told):
            return
    raise LedgerCorruptError(
        f"nothing says that the records up to {seal.last} were removed", sequence=1
    )


def _exact(wrong: Wrong, number: int, text: str) -> Fault:
    return Fault(wrong, number, number, f"record {number} {text}")
