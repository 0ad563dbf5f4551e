"""Traces and spans: what is read, what is made, and what is no traceparent."""

from __future__ import annotations

import itertools

import pytest

from stead.errors import InvalidRequestError
from stead.model.trace_context import (
    TraceContext,
    child_correlation,
    new_correlation,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


def counting():
    """Give bytes that are another number each time, and zero the first time."""
    numbers = itertools.count()
    return lambda size: next(numbers).to_bytes(size, "big")


def test_a_traceparent_is_read_and_printed():
    assert TraceContext(TRACE, SPAN) == TraceContext.from_string(GIVEN)
    assert GIVEN == str(TraceContext.from_string(GIVEN))
    assert 0 == TraceContext.from_string(f"00-{TRACE}-{SPAN}-fe").flags
    later = f"cc-{TRACE}-{SPAN}-01-what-comes-later"
    assert GIVEN == str(TraceContext.from_string(later))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mine",
        GIVEN.upper(),
        f"{GIVEN}\n",
        f"{GIVEN}-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.more",
    ],
)
def test_anything_else_is_none(text):
    with pytest.raises(InvalidRequestError):
        TraceContext.from_string(text)


def test_what_a_client_gives_as_traceparent_becomes_the_parent():
    made = TraceContext.from_string(new_correlation(GIVEN, counting()))
    assert (TRACE, "0000000000000001") == (made.trace, made.span)


@pytest.mark.parametrize("given", [None, ""])
def test_who_gives_none_gets_a_new_trace(given):
    made = TraceContext.from_string(new_correlation(given, counting()))
    assert (f"{1:032x}", f"{2:016x}") == (made.trace, made.span)


def test_any_other_name_of_the_client_is_kept_beside_a_new_trace():
    entropy = counting()
    kept = new_correlation("job 17", entropy)
    assert "job 17" == kept.partition(" ")[2]
    child = child_correlation(kept, 3, entropy)
    assert kept[:35] == child[:35]
    assert kept[36:52] != child[36:52]
    assert "job 17.3" == child.partition(" ")[2]


def test_requests_are_children_of_the_trace_that_they_came_in():
    children = [child_correlation(GIVEN, n, counting()) for n in (1, 2)]
    assert [f"00-{TRACE}-{1:016x}-01"] * 2 == children
    assert "mine.2" == child_correlation("mine", 2, counting())
