"""A server's own token at its issuer, by which it is an actor (RFC 6749 4.4).

own = OwnToken("https://idp.example/token", Fetcher(), ClientKey("front", key))
TokenExchange(actor_token=own, ...)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from stead.adapters.oidc.client_authentication import ClientAuthentication
from stead.adapters.oidc.fetching import Fetcher, require_https
from stead.adapters.oidc.token_answer import read_answer
from stead.errors import DirectoryUnavailableError
from stead.model.secret import Secret

_MARGIN: Final = 30.0


class OwnToken:
    """Asks for it, keeps it, and asks again before it ends; used by any thread."""

    def __init__(
        self,
        endpoint: str,
        fetcher: Fetcher,
        authentication: ClientAuthentication,
        *,
        audience: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe it; nothing is asked yet.

        Args:
            endpoint: the issuer's token endpoint.
            fetcher: asks it.
            authentication: shows it who asks.
            audience: whom the token is for, where the issuer wants that said.
            monotonic: a clock that nobody sets, in seconds.

        Raises:
            UnsafeConfigurationError: the endpoint is not HTTPS.
        """
        self._endpoint = require_https(endpoint)
        self._fetcher = fetcher
        self._authentication = authentication
        self._audience = audience
        self._monotonic = monotonic
        self._lock = Lock()
        self._token: Secret | None = None
        self._until = 0.0
        self._failure: DirectoryUnavailableError | None = None
        self._failed_at = 0.0

    def __call__(self) -> str:
        """Return it, good for some time; waits.

        Raises:
            NoCredentialsError, WrongIdentityError, DirectoryUnavailableError: the
                issuer gives none.
        """
        came = self._monotonic()
        with self._lock:
            if self._token is None or self._monotonic() >= self._until:
                self._require_no_failure_since(came)
                self._token = self._tried()
            with self._token.revealed() as letters:
                return letters.decode()

    def _require_no_failure_since(self, came: float) -> None:
        """Fail with whom one waited for: asking anew in turn would be a queue."""
        if self._failure is not None and self._failed_at >= came:
            raise DirectoryUnavailableError(
                str(self._failure), advice=self._failure.advice
            )

    def _tried(self) -> Secret:
        try:
            return self._asked()
        except DirectoryUnavailableError as error:
            self._failure, self._failed_at = error, self._monotonic()
            raise

    def _asked(self) -> Secret:
        shown = self._authentication.present(self._endpoint)
        asked = {"grant_type": "client_credentials", **shown.form}
        if self._audience:
            asked["audience"] = self._audience
        begins = self._monotonic()
        answer = self._fetcher.post(self._endpoint, asked, shown.headers)
        text, life = read_answer(
            answer, self._endpoint, "this server", is_exchange=False
        )
        # One that lives for less than the margin is used once.
        self._until = begins + max(0.0, life - _MARGIN)
        return Secret(text)
