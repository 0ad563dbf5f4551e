"""What ties a ticket to the TLS channel to a web server (RFC 5929, section 4).

The binding is made of the server's certificate, and a token is made before the request
that carries it is sent. So the certificate is looked at once, on a connection that
serves nothing else, and remembered for a minute. A server that takes a connection and
says nothing is given up soon, and keeps nobody else waiting: the threads that wait for
it are those of every client.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from functools import partial
from typing import Final

from stead.adapters.end_point import server_end_point
from stead.adapters.patience import Patience
from stead.errors import (
    DirectoryUnavailableError,
    InvalidRequestError,
    ServerUnavailableError,
)
from stead.model.delegation_policy import NetworkTarget

_PREFIX: Final = b"tls-server-end-point:"
_FRESH: Final = 60.0
_SECONDS: Final = 30.0
_MOST: Final = 1024


class Bindings:
    """The bindings to web servers that were reached lately."""

    def __init__(
        self, verify: ssl.SSLContext, patience: Patience | None = None
    ) -> None:
        """Know none yet.

        Args:
            verify: which certificates are believed.
            patience: for how long a server is waited for.
        """
        self._verify: Final = verify
        self._patience: Final = patience or Patience()
        self._known: dict[NetworkTarget, tuple[float, bytes | None]] = {}
        self._lock = threading.Lock()

    def __call__(self, target: NetworkTarget) -> bytes | None:
        """Return the application data of a binding; None without TLS. This may wait.

        Raises:
            ServerUnavailableError: the server cannot be reached, or is not believed.
        """
        if target.protocol != "https":
            return None
        now = time.monotonic()
        with self._lock:
            until, known = self._known.get(target, (0.0, None))
        if until > now:
            return known
        try:
            look = partial(self._look, target)
            found = self._patience.ask(str(target), look, _forget)
        except DirectoryUnavailableError:
            raise ServerUnavailableError(
                f"`{target}` does not answer in time",
                advice="see whether it runs, and the network",
            ) from None
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[target] = (now + _FRESH, found)
        return found

    def _look(self, target: NetworkTarget) -> bytes | None:
        try:
            address = (target.host, target.port)
            with (
                socket.create_connection(address, _SECONDS) as plain,
                self._verify.wrap_socket(plain, server_hostname=target.host) as secure,
            ):
                binary = secure.getpeercert(binary_form=True)
        except OSError as error:
            raise ServerUnavailableError(
                f"`{target}` cannot be reached by TLS, or is not believed: {error}",
                advice="see whether it runs, and who issued its certificate: the "
                "machine's authorities count, and `SSL_CERT_FILE` adds one",
            ) from error
        return None if binary is None else end_point_binding(binary)


def _forget(_found: bytes | None) -> None:
    """Drop what nobody waits for."""


def end_point_binding(certificate: bytes) -> bytes | None:
    """Return the application data that a server's certificate makes.

    Args:
        certificate: in DER.

    Returns:
        None for a certificate whose signature has no hash: nothing is defined for it.
    """
    try:
        return _PREFIX + server_end_point(certificate).data
    except InvalidRequestError:
        return None
