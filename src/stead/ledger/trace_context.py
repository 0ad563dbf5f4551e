"""The W3C trace context in a correlation mark, where there is one.

A correlation is text, in which a `traceparent` may stand beside marks of our own:
`version-traceid-parentid-flags`, each in small hexadecimal digits (W3C Trace Context,
3.2.2). Ids of zeros are invalid, and so is version `ff`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TRACE_PARENT: Final = re.compile(
    r"(?<![0-9a-z-])(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})"
    r"-([0-9a-f]{2})(?![0-9a-z])"
)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One position in a trace.

    Attributes:
        trace: the trace's id, 32 hexadecimal digits.
        parent: the id of the span that asked, 16 hexadecimal digits.
        flags: whether it is sampled, and more.
    """

    trace: str
    parent: str
    flags: int


def trace_context(correlation: str) -> TraceContext | None:
    """Return the trace context that a correlation names; None if it names none."""
    found = _TRACE_PARENT.search(correlation)
    if found is None:
        return None
    return TraceContext(found[1], found[2], int(found[3], 16))


def trace_id(correlation: str) -> str:
    """Return the trace id that a correlation names; empty if it names none."""
    found = trace_context(correlation)
    return "" if found is None else found.trace
