"""Documents over HTTPS, within limits: discovery, keys, and what token endpoints say.

No proxy and no netrc of the environment's, no redirect, no cookie, no compression, so
many bytes and so many seconds at most. Extra `oidc` (httpx).
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from stead.adapters.tls_terms import verifying
from stead.errors import DirectoryUnavailableError, UnsafeConfigurationError
from stead.model.arguments import require_kind, require_seconds
from stead.monitor import context as ambient

_OK: Final = 200
_CONNECTED: Final = frozenset({
    "connection.connect_tcp.complete", "connection.start_tls.complete",
})  # fmt: skip
_LARGEST: Final = 262_144
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """What was fetched.

    Attributes:
        status: of HTTP.
        body: the bytes.
        max_age: seconds for which whoever sent it says it is good, or None.
    """

    status: int
    body: bytes = field(repr=False)
    max_age: int | None = None


def require_https(url: str) -> str:
    """Return an address that is HTTPS and names a host, and holds no secret.

    Raises:
        UnsafeConfigurationError: it is none.
    """
    try:
        parts = urlsplit(url)
        is_right = parts.scheme == "https" and bool(parts.hostname)
        is_right = is_right and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        is_right = False
    if not is_right or "#" in url or not url.isprintable() or " " in url:
        raise UnsafeConfigurationError(
            f"`{url[:200]}` is no HTTPS address", advice="write `https://host/path`"
        )
    return url


class Fetcher:
    """Asks servers over HTTPS; made once and used by any thread."""

    def __init__(
        self,
        *,
        context: ssl.SSLContext | None = None,
        seconds: float = 5.0,
        largest: int = _LARGEST,
    ) -> None:
        """Set the limits; nothing is asked yet.

        Args:
            context: whom it trusts, and what certificate it shows; the system's
                authorities if not given.
            seconds: how long connecting may take, and the whole until the answer's
                body has come, however it drips.
            largest: how many bytes it may have.

        Raises:
            InvalidRequestError: one of these is of another kind.
        """
        require_kind(
            "context", context, (ssl.SSLContext, type(None)), "an `ssl.SSLContext`"
        )
        require_seconds("seconds", seconds)
        self._context = context or verifying()
        self._seconds = seconds
        self._largest = largest

    def get(self, url: str) -> Document:
        """Return a document.

        Raises:
            DirectoryUnavailableError: it cannot be had, or not within the limits.
            UnsafeConfigurationError: the address is not HTTPS.
        """
        return self._ask("GET", url, None, {})

    def post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Document:
        """Send a form and return what was answered, whatever its status.

        Raises:
            DirectoryUnavailableError, UnsafeConfigurationError: as in `get`.
        """
        return self._ask("POST", url, form, headers)

    def _ask(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str],
    ) -> Document:
        require_https(url)
        said = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        limit = _Limit(self._seconds)
        try:
            with (
                limit,
                httpx.Client(
                    verify=self._context,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=self._seconds,
                ) as client,
                client.stream(
                    method, url, data=form, headers=said,
                    extensions={"trace": limit.note},
                ) as answer,
            ):  # fmt: skip
                if method == "GET" and answer.status_code != _OK:
                    raise _unavailable(url, f"it answers {answer.status_code}")
                body = self._read(url, answer, limit)
                return Document(answer.status_code, body, _max_age(answer))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            why = self._too_long if limit.is_over else _why(error)
            # From nothing: the request of an error of httpx holds what was sent.
            raise _unavailable(url, why) from None
        except RuntimeError as error:
            raise _unavailable(url, f"nobody here can ask: {error}") from None

    @property
    def _too_long(self) -> str:
        return f"it takes over {self._seconds} s"

    def _read(self, url: str, answer: httpx.Response, limit: _Limit) -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise _unavailable(url, "it compresses, which it was asked not to")
        found = bytearray()
        for part in answer.iter_raw():
            found += part
            if len(found) > self._largest:
                raise _unavailable(url, f"it sends over {self._largest} bytes")
            if limit.is_over:
                break
        if limit.is_over:  # what was cut may look like all of it
            raise _unavailable(url, self._too_long)
        return bytes(found)


class _Limit:
    """Cuts one connection when its time is up; a library's limits are for each byte."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._connected: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.name, self._timer.daemon = "stead-fetching", True

    @property
    def is_over(self) -> bool:
        """Whether its time is up."""
        return time.monotonic() >= self._ends

    def note(self, name: str, info: dict[str, Any]) -> None:
        """Hear of a connection, before TLS and with it; it is a trace of httpcore's."""
        if name in _CONNECTED:
            self._connected = info["return_value"].get_extra_info("socket")
            if self.is_over:
                self._cut()

    def _cut(self) -> None:
        if (connected := self._connected) is not None:
            with suppress(OSError):  # it is closed already
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        # In a client's block a thread that is made would be the client, too.
        if ambient.client_frame() is None:
            self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()


def _max_age(answer: httpx.Response) -> int | None:
    found = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    return int(found[1]) if found else None


def _why(error: BaseException) -> str:
    """Return what keeps a server from being asked; nothing of what was sent."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not believed: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _unavailable(url: str, why: str) -> DirectoryUnavailableError:
    return DirectoryUnavailableError(
        f"`{url[:200]}` cannot be had: {why}",
        advice="see whether the issuer is up, and its certificate is trusted here",
    )
