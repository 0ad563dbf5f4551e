"""A session's way to other servers by its client's token: one token for each of them.

They are the session's and nobody else's: kept by audience, exchanged when somebody goes
there, renewed before they end, wiped with the session.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Final

from stead.adapters.oidc.act_chain import Actor
from stead.adapters.oidc.bearer import PACKAGE, BearerToken
from stead.adapters.oidc.silence import Silence
from stead.adapters.oidc.token_exchange import ExchangedToken, TokenExchange
from stead.errors import (
    CredentialsExpiredError,
    LogonSessionEndedError,
    SecretUsedError,
)
from stead.model.secret import Secret
from stead.monitor.ports import Subject

MARGIN: Final = 30.0
"""Seconds that a token must still be good for when work begins."""
_NANOSECONDS: Final = 1_000_000_000
_MOST_KEPT: Final = 256

_Key = tuple[str, tuple[str, ...]]


@dataclass(slots=True, eq=False)
class _Place:
    """One audience's token; whoever needs it first gets it for all.

    It is got, shown and given up under its lock; `close` alone waits for nobody.
    """

    lock: Lock = field(default_factory=Lock)
    token: ExchangedToken | None = None

    def wipe(self) -> None:
        """Give the token up, if there is one."""
        token, self.token = self.token, None
        if token is not None:
            token.secret.wipe()


class BearerCredentials:
    """What reaches other servers in one client's stead (`OutboundCredentials`)."""

    def __init__(
        self,
        exchange: TokenExchange,
        token: str,
        read: BearerToken,
        *,
        margin: float = MARGIN,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take a client's token: kept until `close`, and shown to its issuer only.

        Args:
            exchange: where it is exchanged.
            token: as it was sent.
            read: what it says, believed.
            margin: seconds that a token must still be good for when work begins.
            clock: nanoseconds since the epoch, UTC.
        """
        self._exchange = exchange
        self._token = Secret(token)
        self._read = read
        self._margin = int(margin * _NANOSECONDS)
        self._clock = clock
        self._silence = Silence()
        self._places: dict[_Key, _Place] = {}
        self._process = os.getpid()
        self._is_closed = False

    @property
    def package(self) -> str:
        """What takes them."""
        return PACKAGE

    @property
    def principal(self) -> str:
        """Whom they authenticate, as records print it."""
        return f"{self._read.name} ({self._read.issuer})"

    @property
    def expires(self) -> int | None:
        """Nanoseconds since the epoch, UTC, of the client's token's own end."""
        return int(self._read.claims["exp"] * _NANOSECONDS)

    def renew_for(self, seconds: float) -> None:
        """Have them last for so long: the client's token is renewed by its client.

        Tokens for other servers are got anew, as long as the client's is good.

        Raises:
            CredentialsExpiredError: it ends sooner, or they are closed.
        """
        left = (self.expires or 0) - self._clock()
        if self._is_closed or left < seconds * _NANOSECONDS:
            raise CredentialsExpiredError(
                f"the token of `{self.principal}` ends before the work would",
                advice="have the client come with a new token",
            )

    @property
    def actors(self) -> tuple[Actor, ...]:
        """Through whom the client's identity came here, the nearest first."""
        return self._read.actors

    def bearer(self, place: str, subject: Subject | None = None) -> str:
        """Return a token for one server; it may wait for the issuer.

        Args:
            place: the server, such as `https://files.example`.
            subject: the client as it acts here by now, if its identity was carried on.

        Raises:
            NoCredentialsError: this server may not go on to that one, or not for this
                client.
            CredentialsExpiredError: the client's token, or the new one, ends too soon
                for any work.
            WrongIdentityError: the issuer gives a token that is not the client's.
            DirectoryUnavailableError: the issuer does not answer, or did not just now.
            LogonSessionEndedError: the session has ended.
        """
        audience = self._exchange.audience_of(place)
        key = (audience, _names(subject))
        while True:
            kept_at = self._place_of(key)
            with kept_at.lock:
                if self._places.get(key) is not kept_at:
                    continue  # it was given up since, for the room of another one
                kept = kept_at.token
                if kept is None or not self._is_good(kept.expires):
                    kept = kept_at.token = self._renewed(audience, subject)
                return self._revealed(kept)

    def _place_of(self, key: _Key) -> _Place:
        self._require_open()
        if key not in self._places:
            self._make_room()
        return self._places.setdefault(key, _Place())

    def _make_room(self) -> None:
        """Give up what was got longest ago, of what nobody is about to show."""
        for key, oldest in list(self._places.items()):
            if len(self._places) < _MOST_KEPT:
                return
            if not oldest.lock.acquire(blocking=False):
                continue
            try:
                if self._places.get(key) is oldest:
                    del self._places[key]
                    oldest.wipe()
            finally:
                oldest.lock.release()

    def _renewed(self, audience: str, subject: Subject | None) -> ExchangedToken:
        self._require_open()
        if not self._is_good(self.expires or 0):
            raise _too_soon(self.principal, "the client's token")
        token, read, exchange = self._token, self._read, self._exchange.exchange
        try:
            made = self._silence.ask(partial(exchange, token, read, audience, subject))
        except SecretUsedError:
            raise _ended() from None
        if not self._is_good(made.expires):
            made.secret.wipe()
            raise _too_soon(self.principal, "the token that its issuer gives")
        return made

    def _is_good(self, expires: int) -> bool:
        return expires - self._clock() >= self._margin

    def _revealed(self, kept: ExchangedToken) -> str:
        # `close` waits for nobody: what it came before of is wiped here.
        if self._is_closed:
            kept.secret.wipe()
        try:
            with kept.secret.revealed() as letters:
                return letters.decode()
        except SecretUsedError:
            raise _ended() from None

    def _require_open(self) -> None:
        # A process that was forked off has no part in them.
        if self._is_closed or os.getpid() != self._process:
            raise _ended()

    def close(self) -> None:
        """Wipe them; again does nothing. Waits for nothing and never raises."""
        self._is_closed = True
        self._token.wipe()
        places, self._places = self._places, {}
        for place in list(places.values()):
            place.wipe()

    def __repr__(self) -> str:
        return f"BearerCredentials({self.principal!r})"


def _names(subject: Subject | None) -> tuple[str, ...]:
    """Return through whom a client acts here: each chain has tokens of its own."""
    if subject is None:
        return ()
    return tuple(str(principal.sid) for principal in subject.through)


def _too_soon(principal: str, what: str) -> CredentialsExpiredError:
    return CredentialsExpiredError(
        f"{what} ends too soon to reach anybody as `{principal}`",
        advice="have the client come back with a new token",
    )


def _ended() -> LogonSessionEndedError:
    return LogonSessionEndedError(
        "the session has ended, and with it what reaches others as its client",
        advice="log the client on again",
    )
