"""Through whom a client's identity came, by its ticket ([MS-PAC] 2.9).

>>> DelegationInfo("HTTP/back", ("HTTP/front@R", "HTTP/middle@R")).nearest_first()
('HTTP/middle@R', 'HTTP/front@R')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.errors import InvalidPacError

_MOST_SERVICES: Final = 8
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class DelegationInfo:
    """Whom the client's identity came through (S4U_DELEGATION_INFO, [MS-PAC] 2.9).

    Attributes:
        target: the service that the ticket was delegated to.
        transited: the services it came through, first to last.
    """

    target: str
    transited: tuple[str, ...] = ()

    def nearest_first(self) -> tuple[str, ...]:
        """Return the services as records name them, the last one on the way first.

        Raises:
            InvalidPacError: they are none, or too many, or cannot be written down: a
                way that is not told whole is not told.
        """
        count = len(self.transited)
        if not 1 <= count <= _MOST_SERVICES:
            raise InvalidPacError(
                f"an identity came through {count} services, and not through 1 to "
                f"{_MOST_SERVICES}",
                advice="have fewer services hand the client's identity on",
            )
        if not all(map(_is_name, self.transited)):
            raise InvalidPacError("a service on the way has no name to write down")
        return self.transited[::-1]


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= _LONGEST_NAME and text.isprintable()
