"""The server's side of a witness: new leaves are handed over, what it signs is kept.

This never holds up a record: it reads entries that are durable already, in pages, over
connections of its own. What the witness has not signed yet when somebody changes the
store is not vouched for: that is at most what came in one interval, and what came while
the witness was down.

A witness that does not answer is tried again. One that knows another history than the
store is never argued with: `WitnessDisagreesError` is for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from stead.errors import (
    InvalidCheckpointError,
    InvalidProofError,
    WitnessDisagreesError,
    WitnessUnavailableError,
)
from stead.ledger.checkpoint import Checkpoint, NoteVerifier, signed_checkpoint
from stead.ledger.ports import EvidenceStore, KeptCheckpoint, LedgerStore
from stead.ledger.segments import cleared_until
from stead.ledger.tree import CompactRange, leaf_hash
from stead.ledger.witness_wire import (
    MOST_LEAVES,
    Answer,
    Ask,
    Extend,
    Question,
    Refusal,
    Standing,
    Why,
)

_PAGE: Final = 4096
_ADVICE: Final = (
    "keep the store as evidence; `stead audit verify` with the witness's key and "
    "leaves says where it differs"
)


class WitnessLink(Protocol):
    """The way to a witness."""

    def ask(self, question: Question) -> Answer:
        """Ask and wait, within bounds.

        Raises:
            WitnessUnavailableError: there is no answer.
        """
        ...

    def close(self) -> None:
        """Hang up."""


class Witnessing:
    """Hands one store's trail to one witness. For one thread at a time."""

    def __init__(
        self,
        link: WitnessLink,
        verifier: NoteVerifier,
        origin: str,
        entries: LedgerStore,
        evidence: EvidenceStore,
    ) -> None:
        """Take what is needed; nothing is asked yet.

        Args:
            link: the way to the witness.
            verifier: of its key.
            origin: whose trail it is.
            entries: the trail.
            evidence: where checkpoints are kept.
        """
        self._link = link
        self._verifier = verifier
        self._origin = origin
        self._entries = entries
        self._evidence = evidence
        self._edge: CompactRange | None = None

    @property
    def witnessed(self) -> int:
        """Up to which record the witness has signed, as far as is known here."""
        return 0 if self._edge is None else self._edge.size

    def step(self) -> None:
        """Hand over what is new, and keep what is signed.

        Raises:
            WitnessUnavailableError: it does not answer; to be tried again.
            WitnessDisagreesError: it has signed another history than the store's.
            LedgerUnavailableError: the store cannot be read or written.
        """
        try:
            if self._edge is None:
                self._edge = self._begin()
            while (tree := self._evidence.tree()).size > self._edge.size:
                self._edge = self._hand_over(self._edge, tree.size)
            _require_not_cut(self._edge, tree)
        except WitnessUnavailableError:
            # What it has by then is asked anew: an answer may have been lost.
            self._edge = None
            raise
        except (InvalidProofError, InvalidCheckpointError) as error:
            raise _disagrees(str(error)) from error

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    def _begin(self) -> CompactRange:
        """Ask how far the witness is, and see that it means the same history."""
        kept = self._evidence.last_checkpoint()
        standing = self._ask(Ask(self._origin))
        edge = CompactRange()
        if kept is not None:
            # Believed for its signature alone: the store may have been changed.
            signed = signed_checkpoint(kept.note, self._verifier, self._origin)
            _require_same(kept.tree, signed)
            edge = kept.tree
            if standing.size < edge.size:
                raise _disagrees(
                    f"it signed {edge.size} records, and knows of {standing.size} now"
                )
        elif standing.size and (seal := cleared_until(self._evidence.seals())):
            edge = seal.tree
        if not standing.size:
            return CompactRange()
        return self._accept(edge, standing)

    def _hand_over(self, edge: CompactRange, end: int) -> CompactRange:
        most = min(end - edge.size, MOST_LEAVES)
        leaves = tuple(self._leaves(edge.size, edge.size + most))
        standing = self._ask(Extend(self._origin, edge.size, leaves))
        if standing.size < edge.size + most:
            raise _disagrees(f"it was handed {edge.size + most} records and kept fewer")
        return self._accept(edge, standing)

    def _accept(self, edge: CompactRange, standing: Standing) -> CompactRange:
        """Keep what was signed, if the store's own records lead there."""
        signed = signed_checkpoint(standing.note, self._verifier, self._origin)
        if signed.size != standing.size:
            raise _disagrees("its note is of another size than it says")
        # Another process of this server may have handed over more than this one.
        tree = edge.extend(self._leaves(edge.size, signed.size))
        _require_same(tree, signed)
        if signed.size > edge.size or self._evidence.last_checkpoint() is None:
            self._evidence.keep_checkpoint(KeptCheckpoint(standing.note, tree))
        return tree

    def _leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the leaves of records; raises if the store has not all of them."""
        number = start
        while number < stop:
            count = min(_PAGE, stop - number)
            for entry in self._entries.entries(number, count):
                number += 1
                if entry.sequence != number:
                    raise _disagrees(f"record {number} is missing in the store")
                yield leaf_hash(entry.body)
                count -= 1
            if count:
                raise _disagrees(
                    f"it has signed {stop} records, and the store ends with {number}"
                )

    def _ask(self, question: Question) -> Standing:
        answer = self._link.ask(question)
        if isinstance(answer, Standing):
            return answer
        if isinstance(answer, Refusal) and answer.why is Why.NOT_NOW:
            raise WitnessUnavailableError(f"the witness cannot now: {answer.reason}")
        if isinstance(answer, Refusal):
            raise _disagrees(answer.reason)
        raise WitnessUnavailableError("the witness answers something else")


def _require_same(tree: CompactRange, signed: Checkpoint) -> None:
    if (tree.size, tree.root()) != (signed.size, signed.root):
        raise _disagrees(
            f"the store's first {signed.size} records are not those that it signed"
        )


def _require_not_cut(signed: CompactRange, tree: CompactRange) -> None:
    if tree.size < signed.size:
        raise _disagrees(
            f"it has signed {signed.size} records, and the store has {tree.size}"
        )
    if tree != signed:
        raise _disagrees("the store's tree is not that of its records")


def _disagrees(why: str) -> WitnessDisagreesError:
    return WitnessDisagreesError(f"the witness disagrees: {why}", advice=_ADVICE)
