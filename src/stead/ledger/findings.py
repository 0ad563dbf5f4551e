"""What comes of examining a trail: what is wrong first, and how far it holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stead.ledger.checkpoint import Checkpoint


class Wrong(Enum):
    """What is wrong with the trail."""

    CHANGED = "changed"
    MISSING = "missing"
    DOUBLED = "doubled"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    REMOVAL = "removal not recorded"
    CHECKPOINT = "checkpoint changed"
    TREE = "tree changed"
    WITNESS = "witness contradicts itself"


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong.

    Attributes:
        wrong: what it is.
        first: the record that is wrong, or the first that may be.
        last: the last record that may be the first wrong one.
        text: a sentence about it.
    """

    wrong: Wrong
    first: int
    last: int
    text: str

    @property
    def is_exact(self) -> bool:
        """Whether the record is known, and not only a range that it is in."""
        return self.first == self.last


@dataclass(frozen=True, slots=True)
class Report:
    """What came out.

    Attributes:
        removed: the last record that was removed on purpose; 0 if none was.
        count: the last record that was read and follows all before it.
        head: its digest.
        root: the tree's root there.
        vouched: the last signed checkpoint that the records agree with.
        checkpoints: how many checkpoints they agree with.
        fault: what is wrong first; None if nothing is.
    """

    removed: int
    count: int
    head: bytes
    root: bytes
    vouched: Checkpoint | None = None
    checkpoints: int = 0
    fault: Fault | None = None
