"""Where the records of TLS end in what a peer sends (RFC 8446 5.1).

    records = Records()
    size = records.span(data, 16)       # of so many records at most
    records.ended                       # how many were whole by then

Each begins with five bytes, the last two of which are its length.
"""

from __future__ import annotations

from typing import Final

_HEADER: Final = 5


class Records:
    """Follows one direction of a connection, whatever the pieces it comes in.

    Attributes:
        ended: how many records were whole by now.
    """

    def __init__(self) -> None:
        """Begin before the first record."""
        self.ended = 0
        self._header = b""
        self._left = 0

    def span(self, data: memoryview, most: int) -> int:
        """Return in how many bytes so many records end, or all of them; go on there.

        Args:
            data: what comes next.
            most: how many records.
        """
        at, last = 0, self.ended + most
        while at < len(data) and self.ended < last:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
            else:
                step = min(_HEADER - len(self._header), len(data) - at)
                self._header += data[at : at + step]
                if len(self._header) < _HEADER:
                    return at + step
                self._left = int.from_bytes(self._header[-2:], "big")
                self._header = b""
            at += step
            self.ended += not self._left
        return at
