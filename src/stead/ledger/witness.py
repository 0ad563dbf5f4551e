"""The witness: it keeps every leaf of a trail, and signs one history only.

It believes nothing that a server says of roots: it is handed leaves, computes the root
itself, and signs only what continues all that it signed before. A server that forgot
some of its trail, or has another one, is refused; whoever asks later is told the same.

What becomes of leaves that are handed over:

1. They must be of the trail that it knows; the first ones say which that is.
2. They begin where it stands, or before: what it has already must be the same.
3. New ones are kept durably.
4. The note that says where this leads is signed and kept durably.
5. Only then is the note handed out.

After a crash the last note that was kept is the truth: leaves behind it were never
signed, and are cut off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from stead.errors import (
    InvalidCheckpointError,
    InvalidProofError,
    InvalidRequestError,
    LedgerCorruptError,
    SteadError,
)
from stead.ledger.checkpoint import (
    Checkpoint,
    Note,
    NoteSigner,
    NoteVerifier,
    is_origin,
)
from stead.ledger.tree import (
    HASH_SIZE,
    CompactRange,
    Node,
    Range,
    consistency_ranges,
    inclusion_ranges,
    roots_of,
    split_hashes,
)
from stead.ledger.witness_wire import (
    MOST_LEAVES,
    Answer,
    Ask,
    Extend,
    Proof,
    ProveConsistency,
    ProveInclusion,
    Question,
    Refusal,
    Standing,
    Why,
)

_PAGE: Final = 4096
_ADVICE: Final = (
    "keep the witness's folder as evidence, and put back its `notes` from where they "
    "were kept too; without them, a new witness needs a new key and a new trail"
)


class WitnessStore(Protocol):
    """Where a witness keeps what it has. Failures are `OSError`."""

    def leaves(self, start: int, stop: int) -> bytes:
        """Return leaves, one after another; fewer if there are fewer."""
        ...

    def count(self) -> int:
        """Return how many leaves there are."""
        ...

    def append_leaves(self, leaves: bytes) -> None:
        """Keep more leaves; durable when this returns."""

    def cut_leaves(self, count: int) -> None:
        """Forget the leaves behind so many."""

    def last_note(self) -> str:
        """Return the note that was kept last; empty if there is none.

        It is read anew, and durable when this returns.
        """
        ...

    def keep_note(self, note: str) -> None:
        """Keep a note; durable when this returns."""

    def keep_edge(self, edge: bytes) -> None:
        """Keep the tree's right edge at the last note, to spare a start some work."""

    def publish(self) -> None:
        """See to it that the last note is kept elsewhere too, if it was not yet."""

    def edge(self) -> bytes:
        """Return the edge that was kept last; it need not be that of the last note."""
        ...


class Witness:
    """One witness of one trail; may be asked on several threads."""

    def __init__(
        self,
        store: WitnessStore,
        signer: NoteSigner,
        verifier: NoteVerifier,
        report: Callable[[str], None],
        *,
        origin: str = "",
    ) -> None:
        """Begin where the last note says.

        Args:
            store: what it has.
            signer: its key.
            verifier: the public half.
            report: told, in one line, of servers that have another history.
            origin: whose trail it is; empty for the first that hands over leaves.

        Raises:
            LedgerCorruptError: what is kept is not what was signed, or not all of it.
            InvalidRequestError: it is the witness of another trail.
        """
        self._store = store
        self._signer = signer
        self._verifier = verifier
        self._report = report
        self._lock = threading.Lock()
        self._note = ""
        self._origin = origin
        self._tree = CompactRange()
        self._is_adrift = False
        self._recover()

    @property
    def size(self) -> int:
        """How many leaves it has signed for."""
        return self._tree.size

    def answer(self, question: Question) -> Answer:
        """Answer one question; a store that fails is a refusal for now.

        After a note that may have been kept, or not, nothing is answered until what
        the store has was read again.
        """
        try:
            with self._lock:
                if self._is_adrift:
                    self._recover()
                refusal = self._refusal_of_origin(question)
                if refusal is not None:
                    return refusal
                if isinstance(question, Extend):
                    return self._extend(question)
                if isinstance(question, Ask):
                    self._store.publish()
                    return Standing(self._tree.size, self._note)
                size = self._tree.size
            # Leaves only ever grow: a long proof holds up nobody.
            return self._prove(question, size)
        except (OSError, SteadError) as error:
            self._report(f"the witness cannot keep or read what it has: {error}")
            why = error.strerror if isinstance(error, OSError) else str(error)
            return self._refused(Why.NOT_NOW, f"the witness cannot: {why}")

    def _refusal_of_origin(self, question: Question) -> Refusal | None:
        if not is_origin(question.origin):
            return self._loud(
                Why.OTHER_ORIGIN, f"{question.origin!a} is not whose trail could be"
            )
        if not self._origin or question.origin == self._origin:
            return None
        return self._loud(
            Why.OTHER_ORIGIN,
            f"this is the witness of {self._origin}, not of {question.origin!a}",
        )

    def _extend(self, question: Extend) -> Answer:
        """Take steps 2 to 5."""
        size = self._tree.size
        if question.start > size:
            return self._loud(
                Why.GAP, f"leaves from {question.start} on do not follow {size}"
            )
        overlap = min(size - question.start, len(question.leaves))
        known = self._store.leaves(question.start, question.start + overlap)
        for at, (one, other) in enumerate(
            zip(split_hashes(known), question.leaves, strict=False)
        ):
            if one != other:
                return self._loud(
                    Why.OTHER_HISTORY,
                    f"record {question.start + at + 1} is another than the one that "
                    "was signed",
                )
        new = question.leaves[overlap:]
        if not new:
            self._store.publish()
            return Standing(size, self._note)
        return self._go_on(question.origin, new)

    def _go_on(self, origin: str, new: tuple[bytes, ...]) -> Standing:
        # What an append left that failed was never signed.
        self._store.cut_leaves(self._tree.size)
        self._store.append_leaves(b"".join(new))
        tree = self._tree.extend(new)
        text = str(Checkpoint(origin, tree.size, tree.root()))
        note = str(Note(text, (self._signer.sign(text),)))
        self._is_adrift = True  # until it is known that this was kept
        self._store.keep_note(note)
        self._origin, self._tree, self._note = origin, tree, note
        self._is_adrift = False
        try:
            self._store.keep_edge(tree.to_bytes())
        except OSError as error:
            self._report(f"the next start takes longer: no edge could be kept: {error}")
        self._store.publish()
        return Standing(tree.size, note)

    def _prove(self, question: ProveInclusion | ProveConsistency, size: int) -> Answer:
        try:
            whole, ranges = _wanted(question)
            if whole > size:
                reason = f"the witness has {size} leaves only"
                return self._refused(Why.NOT_POSSIBLE, reason)
            return Proof(roots_of(ranges, leaf_nodes(self._store.leaves, whole)))
        except InvalidProofError as error:
            return self._refused(Why.NOT_POSSIBLE, str(error))

    def _loud(self, why: Why, reason: str) -> Refusal:
        self._report(f"REFUSED to sign: {reason}")
        return self._refused(why, reason)

    def _refused(self, why: Why, reason: str) -> Refusal:
        return Refusal(why, self._tree.size, reason)

    def _recover(self) -> None:
        """Begin, or go on, where the last note says."""
        note = self._store.last_note()
        origin, tree = self._recovered(note) if note else ("", CompactRange())
        if origin and self._origin and origin != self._origin:
            raise InvalidRequestError(
                f"this is the witness of {origin}, not of {self._origin}",
                advice="each trail has a witness with a folder of its own",
            )
        self._require_nothing_lost(note, tree)
        self._store.cut_leaves(tree.size)
        self._origin, self._tree, self._note = origin or self._origin, tree, note
        self._is_adrift = False

    def _require_nothing_lost(self, note: str, tree: CompactRange) -> None:
        """See that nothing is there but what one unfinished batch could leave."""
        edge = self._store.edge()
        is_more = (
            self._store.count() - tree.size > MOST_LEAVES
            or max(_size_of(edge), self._tree.size) > tree.size
            or (edge and not note)
        )
        if is_more:
            raise LedgerCorruptError(
                f"the witness has more than its last note says, of {tree.size} leaves: "
                "notes are lost",
                sequence=tree.size + 1,
                advice=_ADVICE,
            )

    def _recovered(self, text: str) -> tuple[str, CompactRange]:
        """Return the trail and the tree that a note speaks of."""
        try:
            note = Note.from_string(text)
            checkpoint = Checkpoint.from_string(note.text)
        except InvalidCheckpointError as error:
            raise LedgerCorruptError(
                f"the witness's last note is none: {error}", sequence=1, advice=_ADVICE
            ) from error
        if not self._verifier.is_signed(note):
            raise LedgerCorruptError(
                "the witness's last note is not signed with its key",
                sequence=checkpoint.size,
            )
        if self._store.count() < checkpoint.size:
            raise LedgerCorruptError(
                f"the witness has signed for {checkpoint.size} leaves and has fewer",
                sequence=self._store.count() + 1,
            )
        tree = self._kept_edge(checkpoint)
        if tree is None:
            tree = tree_of(self._store.leaves, checkpoint.size)
        if tree.root() != checkpoint.root:
            raise LedgerCorruptError(
                "the witness's leaves are not those that it has signed",
                sequence=checkpoint.size,
            )
        return checkpoint.origin, tree

    def _kept_edge(self, checkpoint: Checkpoint) -> CompactRange | None:
        """Return the edge that was kept, if it is the one that was signed."""
        try:
            tree = CompactRange.from_bytes(self._store.edge())
        except InvalidProofError:
            return None
        same = (tree.size, tree.root()) == (checkpoint.size, checkpoint.root)
        return tree if same else None


def _size_of(edge: bytes) -> int:
    """Return of how many leaves an edge is; 0 if it is none."""
    try:
        return CompactRange.from_bytes(edge).size
    except InvalidProofError:
        return 0


def _wanted(
    question: ProveInclusion | ProveConsistency,
) -> tuple[int, tuple[Range, ...]]:
    """Return the tree that is asked about, and whose roots prove it."""
    if isinstance(question, ProveInclusion):
        return question.size, inclusion_ranges(question.index, question.size)
    return question.new, consistency_ranges(question.old, question.new)


def leaf_nodes(leaves: Callable[[int, int], bytes], size: int) -> Iterator[Node]:
    """Yield the first leaves of a file of them, a page at a time."""
    for start in range(0, size, _PAGE):
        page = split_hashes(leaves(start, min(start + _PAGE, size)))
        for at, digest in enumerate(page):
            yield Node(start + at, 0, digest)


def tree_of(leaves: Callable[[int, int], bytes], size: int) -> CompactRange:
    """Return the tree over the first leaves of a file of them.

    Raises:
        LedgerCorruptError: there are fewer.
    """
    tree = CompactRange()
    for start in range(0, size, _PAGE):
        page = leaves(start, min(start + _PAGE, size))
        tree = tree.extend(split_hashes(page[: len(page) // HASH_SIZE * HASH_SIZE]))
    if tree.size != size:
        raise LedgerCorruptError(
            f"there are {tree.size} leaves instead of {size}", sequence=tree.size + 1
        )
    return tree
