"""JSON from strangers, read one way only (RFC 8259, I-JSON: RFC 7493).

Two readers that read one text as two things are how a token says one name to whoever
checks it and another to whoever uses it: so no name stands twice in an object, no
number is NaN, and every text can be written down again. Depth is counted before
anything is built.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from stead.errors import EvidenceRefusedError

MOST_DEPTH: Final = 16
"""How deep values nest; claims that anybody uses need five."""
_MOST_DIGITS: Final = 19
# A text without an end goes to the end: looked for again from each quote within it, it
# would cost the square of its length.
_MARKS: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[][{}]', re.DOTALL)


def read_object(data: bytes, *, largest: int, what: str) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        data: its text in UTF-8.
        largest: how many bytes it may have.
        what: what it is, for the error.

    Raises:
        EvidenceRefusedError: it is none, or could be read in two ways.
    """
    if len(data) > largest:
        raise EvidenceRefusedError(f"{what} has over {largest} bytes")
    try:
        text = data.decode()
        _require_shallow(text)
        found = _DECODER.decode(text)
        # A lone surrogate is no text, and would fail wherever it is written down.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        # From nothing: errors of decoding quote what they could not decode.
        raise EvidenceRefusedError(
            f"{what} is no JSON to be believed: {_cause(error)}"
        ) from None
    if not isinstance(found, dict):
        raise EvidenceRefusedError(f"{what} is no JSON object")
    return found


def _cause(error: Exception) -> str:
    return str(error) if isinstance(error, _StrictError) else type(error).__name__


class _StrictError(ValueError):
    """A rule of this module's is broken; it quotes nothing."""


def _require_shallow(text: str) -> None:
    depth = 0
    for mark in _MARKS.finditer(text):
        if mark[0] in "[{":
            depth += 1
            if depth > MOST_DEPTH:
                raise _StrictError(f"it nests deeper than {MOST_DEPTH}")
        elif mark[0] in "]}":
            depth -= 1


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _StrictError("a name stands twice in an object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _StrictError("a number is too long")
    return int(digits)


def _number(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise _StrictError("a number is out of range")
    return found


def _no_constant(name: str) -> float:  # noqa: ARG001 - json hands it over
    raise _StrictError("it holds what is no number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_pairs,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_no_constant,
)
