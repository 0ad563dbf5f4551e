"""Which request a record belongs to, in the form of W3C Trace Context (level 1).

A trace is everything that came of one thing somebody asked for, on any machine; a span
is one part of it. Who asks over HTTP says both in the header `traceparent`; what was
asked in it is a child: the same trace, a span of its own.

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Self

from stead.errors import InvalidRequestError

_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_SAMPLED: Final = 1
_FORM: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-[\x21-\x7e]*)?",
    re.ASCII,
)

Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of one trace.

    Attributes:
        trace: 32 hexadecimal digits, not all zero.
        span: 16 hexadecimal digits, not all zero.
        flags: 1 if whoever asked says that it keeps the trace.
    """

    trace: str
    span: str
    flags: int = _SAMPLED

    @classmethod
    def new(cls, entropy: Entropy) -> Self:
        """Return the first span of a new trace; `entropy` gives random bytes."""
        return cls(_digits(_TRACE_BYTES, entropy), _digits(_SPAN_BYTES, entropy))

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read a `traceparent`.

        Of a version later than the first, what it shares with the first is read.

        Raises:
            InvalidRequestError: it is none.
        """
        found = _FORM.fullmatch(text)
        is_valid = (
            found is not None
            and found["version"] != "ff"
            and (found["more"] is None or found["version"] != "00")
            and found["trace"].strip("0")
            and found["span"].strip("0")
        )
        if found is None or not is_valid:
            raise InvalidRequestError(f"`{text[:80]}` is no traceparent")
        return cls(found["trace"], found["span"], int(found["flags"], 16) & _SAMPLED)

    def child(self, entropy: Entropy) -> Self:
        """Return another span of the same trace."""
        return replace(self, span=_digits(_SPAN_BYTES, entropy))

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags:02x}"


def _digits(count: int, entropy: Entropy) -> str:
    """Return random digits; all zero, which means nothing, is drawn again."""
    while not any(drawn := entropy(count)):
        pass
    return drawn.hex()


def new_correlation(given: str | None, entropy: Entropy) -> str:
    """Return what ties one client's records together.

    Args:
        given: what the client calls what it is doing, unverified: a `traceparent`, of
            which this becomes a child, or any other name, which is kept beside it.
        entropy: gives random bytes.
    """
    if not given:
        return str(TraceContext.new(entropy))
    try:
        return str(TraceContext.from_string(given).child(entropy))
    except InvalidRequestError:
        return f"{TraceContext.new(entropy)} {given}"


def child_correlation(correlation: str, number: int, entropy: Entropy) -> str:
    """Return what ties the records of one of a client's requests together.

    Args:
        correlation: the client's.
        number: which request; it is told beside the client's own name for all of them.
        entropy: gives random bytes.
    """
    parent, _, name = correlation.partition(" ")
    try:
        span = str(TraceContext.from_string(parent).child(entropy))
    except InvalidRequestError:  # whoever made the subject gave it another mark
        return f"{correlation}.{number}"
    return f"{span} {name}.{number}" if name else span
