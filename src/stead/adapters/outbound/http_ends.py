"""Where a response ends, and nothing may follow.

The library reads as much as there is. What comes after a response stays in its buffer,
and is read as the answer to the next request of that connection, before that is even
sent: whoever has a server write two answers for one (response splitting) chooses what
the session is told next. The library's own look at an idle connection sees what the
kernel holds, and not what was read already. So a connection is kept only where nothing
was.

No interface shows that. The buffer is found where the library has it; where that is
not, no connection is kept.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any, Final

import httpx

_WAY: Final = ("_httpcore_stream", "_stream", "_connection", "_h11_state")
_BEYOND: Final = "trailing_data"
_NETWORK: Final = "network_stream"


class End:
    """The end of one response."""

    def __init__(self, response: httpx.Response) -> None:
        """Find the conversation that it is of.

        Args:
            response: as the library's own transport returned it.
        """
        self._network: Any = response.extensions.get(_NETWORK)
        found: Any = response.stream
        for name in _WAY:
            found = getattr(found, name, None)
        self._spoken = found if hasattr(found, _BEYOND) else None

    def require_last(self) -> None:
        """Have the connection closed, not kept, if anything was read beyond the end.

        To be called before the response is closed.
        """
        if self._spoken is None:
            self._cut()
        elif getattr(self._spoken, _BEYOND)[0] or self._is_deciphered():
            self._spoken.send_failed()  # what has failed is not used again

    def _cut(self) -> None:
        connected = self._network and self._network.get_extra_info("socket")
        if connected:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _is_deciphered(self) -> bool:
        """Whether TLS has read what follows; what is taken here is nobody's."""
        tls = self._network and self._network.get_extra_info("ssl_object")
        if not isinstance(tls, ssl.SSLObject):
            return False  # none, or one that reads no more than it is asked for
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            pass  # it was ended
        return True
