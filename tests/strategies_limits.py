"""Random limits, and circumstances that meet them often."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from stead.model.limits import (
    ANY_NAME,
    EVERY_KIND,
    Circumstances,
    KindRights,
    NamePattern,
    TokenLimits,
)
from stead.model.luid import Luid
from stead.model.privilege import Privilege

KINDS: Final = ("Doc", "Mail")
NAMES: Final = ("plan", "plan/q3", "pay")
LATE: Final = 10


def limits() -> st.SearchStrategy[TokenLimits]:
    """One layer, which leaves much as often as little."""
    patterns = st.sampled_from(
        (ANY_NAME, ANY_NAME, *map(NamePattern, NAMES), NamePattern("plan/", True))
    )
    masks = st.sampled_from(
        (0x1F_FFFF, 0x11F_FFFF, 1, 2, 3, 0x2_0000, 1 << 31, 1 << 28)
    )
    entries = st.builds(KindRights, st.sampled_from((EVERY_KIND, *KINDS)), masks)
    return st.builds(
        TokenLimits,
        expires=st.integers(1, LATE),
        rights=st.lists(entries, max_size=3).map(tuple),
        objects=st.lists(patterns, max_size=2).map(tuple),
        privileges=st.frozensets(st.sampled_from(Privilege), max_size=20)
        | st.just(frozenset(Privilege)),
        grant=st.integers(1, 99).map(Luid),
    )


def circumstances() -> st.SearchStrategy[Circumstances]:
    """What is asked about, mostly in time."""
    return st.builds(
        Circumstances,
        st.sampled_from(KINDS),
        st.sampled_from(NAMES),
        st.integers(0, LATE) | st.just(0),
    )
