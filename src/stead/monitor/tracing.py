"""The trace that a request came in, from the gate that read it to whoever admits it.

A gate that hears `traceparent` (W3C Trace Context) says so around its question who the
client is; whoever admits the client there makes its records a part of that trace. It
names nobody and grants nothing: a lost one only begins another trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from stead.errors import InvalidRequestError
from stead.model.trace_context import TraceContext

_INCOMING: Final[ContextVar[str | None]] = ContextVar("stead incoming", default=None)


def incoming_trace() -> str | None:
    """Return the `traceparent` of the request that is at the door here, if any."""
    return _INCOMING.get()


@contextmanager
def arriving(traceparent: str | None) -> Iterator[None]:
    """Say in which trace what arrives here belongs; one that is none is left out."""
    if traceparent is not None and not _is_one(traceparent):
        traceparent = None
    before = _INCOMING.set(traceparent)
    try:
        yield
    finally:
        _INCOMING.reset(before)


def _is_one(text: str) -> bool:
    try:
        TraceContext.from_string(text)
    except InvalidRequestError:
        return False
    return True
