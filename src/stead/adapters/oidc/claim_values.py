"""Values of claims: each is of one type, or the token is refused (RFC 7519 4.1)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from stead.errors import EvidenceRefusedError

LONGEST_NAME: Final = 255  # OpenID Connect Core 2
_LATEST: Final = 1 << 33  # seconds: the year 2242
_MOST_TEXTS: Final = 1_024


def require_name(value: object, what: str) -> str:
    """Return a name that is written in one way only.

    Whoever looks it up may fold letters that are compatible (NFKC), such as wide ones:
    such a name would be taken for another's. Letters of other scripts that only look
    alike are never folded, and name somebody else.

    Raises:
        EvidenceRefusedError: it is none.
    """
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= LONGEST_NAME
        or not value.isprintable()
        or value != value.strip()
        or value != unicodedata.normalize("NFKC", value)
    ):
        raise EvidenceRefusedError(f"the token has no name as {what}")
    return value


def require_time(claims: Mapping[str, Any], name: str) -> float:
    """Return seconds since the epoch (NumericDate).

    Raises:
        EvidenceRefusedError: the claim is missing or none.
    """
    value = claims.get(name)
    # A bool is an int to Python, and no time to anybody.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EvidenceRefusedError(f"the token has no time as `{name}`")
    if not 0 <= value <= _LATEST:
        raise EvidenceRefusedError(f"the token's `{name}` is out of range")
    return float(value)


def optional_time(claims: Mapping[str, Any], name: str) -> float | None:
    """Return the same, or None if there is none."""
    return require_time(claims, name) if name in claims else None


def require_texts(value: object, what: str) -> tuple[str, ...]:
    """Return a list of texts; a text alone is a list of one.

    Raises:
        EvidenceRefusedError: it is none.
    """
    found = [value] if isinstance(value, str) else value
    if (
        not isinstance(found, list)
        or len(found) > _MOST_TEXTS
        or not all(isinstance(text, str) and text for text in found)
    ):
        raise EvidenceRefusedError(f"the token has no list of texts as `{what}`")
    return tuple(found)


def optional_text(claims: Mapping[str, Any], name: str) -> str:
    """Return a text, or an empty one if there is none.

    Raises:
        EvidenceRefusedError: it is something else.
    """
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise EvidenceRefusedError(f"the token has no text as `{name}`")
    return value


def read_scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return what `scope` says (RFC 6749 3.3): words with single spaces between.

    Raises:
        EvidenceRefusedError: it is something else.
    """
    return frozenset(optional_text(claims, "scope").split(" ")) - {""}
