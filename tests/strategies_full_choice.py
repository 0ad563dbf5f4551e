"""Choosing between strategies by weight, and strategies that print as a name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar, cast

from hypothesis import strategies as st

T = TypeVar("T")
P = ParamSpec("P")


def named(
    make: Callable[P, st.SearchStrategy[T]],
) -> Callable[P, st.SearchStrategy[T]]:
    """Make each strategy once, and have it print as a name.

    Hypothesis prints what strategies are made of, and these are made of one another:
    spelled out, a question's would fill the memory.
    """

    @cache
    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> st.SearchStrategy[T]:
        whole = cache(lambda: make(*args, **kwargs))
        return st.composite(lambda draw: draw(whole()))()

    return cast("Callable[P, st.SearchStrategy[T]]", made)


def either(*choices: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Values of one of these, each as likely as it is often listed.

    `st.one_of` lists equal strategies once, whatever is repeated.
    """
    numbers = st.sampled_from(range(len(choices)))
    return st.composite(lambda draw: draw(choices[draw(numbers)]))()


def mostly_from(
    usual: st.SearchStrategy[T], other: st.SearchStrategy[T], times: int = 7
) -> st.SearchStrategy[T]:
    """Values of the first strategy, and once in `times` + 1 of the second."""
    return either(*(usual for _ in range(times)), other)


def mostly(
    usual: T, other: st.SearchStrategy[T], times: int = 3
) -> st.SearchStrategy[T]:
    """The usual value, and once in `times` + 1 another."""
    return mostly_from(st.just(usual), other, times)
