"""The realms that a ticket's client came through, as the ticket has them.

DOMAIN-X500-COMPRESS, RFC 4120 3.3.3.2: names with commas between, each shortened by
what it has in common with the one before. What leaves realms out is refused: it stands
for all those between two, and which these are, somebody's configuration says.

>>> read_transited(b"EDU,MIT.,ATHENA.")
('EDU', 'MIT.EDU', 'ATHENA.MIT.EDU')
"""

from __future__ import annotations

from typing import Final

from stead.errors import EvidenceRefusedError

_LONGEST: Final = 4096
_QUOTES: Final = "\\"


def read_transited(contents: bytes) -> tuple[str, ...]:
    """Return the realms between a client's and a service's, the client's nearest first.

    Args:
        contents: of the field `transited`; empty where the two know each other.

    Raises:
        EvidenceRefusedError: they are not told, each by its name.
    """
    text = _text(contents.removesuffix(b"\0"))
    realms: list[str] = []
    for part in text.split(",") if text else ():
        realms.append(_joined(part, realms[-1] if realms else ""))
    return tuple(realms)


def _text(contents: bytes) -> str:
    try:
        text = contents.decode("ascii")
    except UnicodeDecodeError:
        text = _QUOTES
    if _QUOTES in text or not text.isprintable() or len(text) > _LONGEST:
        raise EvidenceRefusedError("the realms on the client's way cannot be read")
    return text


def _joined(part: str, before: str) -> str:
    """Return a realm's name, by what is left of it and the one before."""
    if part.startswith(" "):  # it stands for itself
        return part[1:]
    if not part or (part.endswith(".") and not before):
        raise EvidenceRefusedError("the realms on the client's way are not all told")
    if part.startswith("/"):
        return before + part
    return part + before if part.endswith(".") else part
