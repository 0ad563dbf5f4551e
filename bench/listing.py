"""Listing: which of many descriptors grant a client something; and what is kept."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

from bench import ROUNDS, Bench
from judging import DOMAIN, READ, make_token

from stead import AccessToken, Acl, SecurityDescriptor
from stead.decision import many as room
from stead.decision.fast import has_twin, is_granted, pure_is_granted
from stead.decision.many import Shelf
from stead.model.access_mask import FILE_MAPPING
from stead.model.ace import AccessAllowedAce

_ENTRIES = 10
_PEOPLE = 20_000
_random = random.Random(2)


def measure(bench: Bench) -> None:
    """Measure distinct lists of ten entries, of which half grant, by the last one."""
    count = 100_000 if bench.rounds >= ROUNDS else 10_000
    lists = [_make(n) for n in range(count)]
    gc.collect()
    gc.freeze()
    askers = [make_token() for _ in range(2)]
    began = time.perf_counter()
    shelf = Shelf(lists, FILE_MAPPING)
    bench.add(f"shelf of {count:,} lists, made", time.perf_counter() - began)
    doors: list[tuple[str, Callable[..., Any], Any, Any]] = [
        ("pure", pure_is_granted, room.pure_settle, room.pure_answers)
    ]
    if has_twin():
        doors.append(("twin", is_granted, room.settle, room.answers))
    for name, door, settle, answers in doors:
        room.settle, room.answers = settle, answers
        for one in lists:  # the other door keeps something else of them
            object.__setattr__(one, "kept_index", None)
        for asker in askers:
            object.__setattr__(asker, "kept_standing", None)
        _one_by_one(door, askers[0], lists)
        bench.compare(
            f"{count:,} lists at once ({name})",
            lambda: [shelf.granted(asker, READ) for asker in askers],
            to=(
                f"is_granted ({name}), one by one",
                lambda door=door: [_one_by_one(door, one, lists) for one in askers],
            ),
            each=len(askers),
        )
        bench.notes.append(f"kept of a list of ten ({name}): {_kept(door)} bytes")
    gc.unfreeze()


def _one_by_one(
    door: Callable[..., bool], token: AccessToken, lists: Sequence[SecurityDescriptor]
) -> list[bool]:
    return [door(token, one, READ, FILE_MAPPING) for one in lists]


def _make(number: int) -> SecurityDescriptor:
    rids = [10_000 + _random.randrange(_PEOPLE) for _ in range(_ENTRIES - 1)]
    last = 5000 + _random.randrange(30) if number % 2 else 40_000 + number % 1000
    return SecurityDescriptor(
        owner=DOMAIN.with_rid(500),
        group=DOMAIN.with_rid(513),
        dacl=Acl(
            tuple(AccessAllowedAce(DOMAIN.with_rid(rid), READ) for rid in (*rids, last))
        ),
    )


def _kept(door: Callable[..., bool]) -> int:
    """Return how many bytes a descriptor keeps for the judge."""
    lists = [_make(n) for n in range(1000)]
    asker = make_token()
    door(asker, _make(0), READ, FILE_MAPPING)
    gc.collect()
    tracemalloc.start()
    _one_by_one(door, asker, lists)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size // len(lists)
