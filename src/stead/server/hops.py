"""What a server's sessions have open to other machines, and how that ends with them.

Connections and pools are each one session's. They are cut when it ends, whoever ends
it; and while any are open, the session is looked at as often as its lease ends, since
nobody else may ask.
"""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from stead.adapters.outbound.by_password import TicketsByPassword
from stead.adapters.outbound.lifeline import SESSION, Lifeline
from stead.adapters.patience import Patience
from stead.adapters.tls_terms import verifying
from stead.authority.session import LEASE
from stead.authority.sessions import Sessions
from stead.errors import LogonSessionEndedError, SteadError
from stead.model.delegation_policy import DelegationPolicy
from stead.model.logon_record import LogonType
from stead.model.token import AccessToken
from stead.monitor.guard import Guard
from stead.server.service_thread import ServiceThread
from stead.server.workers.housekeeper import Housekeeper

if TYPE_CHECKING:
    import httpx

    from stead.adapters.outbound.postgres import Pool
    from stead.adapters.outbound.smb_pool import SmbPool
    from stead.adapters.outbound.tls_binding import Bindings

_log: Final = logging.getLogger("stead.server")
_LEASE_SECONDS: Final = LEASE / 1e9


@dataclass(slots=True, eq=False)
class Reach:
    """What one session has open to other machines, or one block in it.

    Attributes:
        token: the session's.
        key: by what it is known.
        line: cuts it.
        by_password: its tickets, where it has a password to show for them.
    """

    token: AccessToken
    key: object
    line: Lifeline
    by_password: TicketsByPassword
    _http: httpx.HTTPTransport | None = field(default=None)
    _postgres: Pool | None = field(default=None)
    _smb: SmbPool | None = field(default=None)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def http_pool(self, verify: ssl.SSLContext) -> httpx.HTTPTransport:
        """Return the session's connections to web servers."""
        from stead.adapters.outbound.http import new_pool  # noqa: PLC0415 - an extra's

        with self._lock:
            if self._http is None:
                self._http = new_pool(verify)
                self.line.at_end(self._http.close)
            return self._http

    def postgres_pool(self) -> Pool:
        """Return the session's connections to databases."""
        from stead.adapters.outbound.postgres import Pool  # noqa: PLC0415 - as above

        with self._lock:
            if self._postgres is None:
                self._postgres = Pool(self.line)
            return self._postgres

    def smb_pool(self) -> SmbPool:
        """Return the session's connections to file servers."""
        from stead.adapters.outbound.smb_pool import SmbPool  # noqa: PLC0415 - as above

        with self._lock:
            if self._smb is None:
                self._smb = SmbPool(self.line)
            return self._smb


class Hops:
    """What one server's sessions have open to other machines."""

    def __init__(
        self,
        guard: Guard,
        sessions: Sessions,
        policy: DelegationPolicy,
        service: ServiceThread,
    ) -> None:
        """Put it together; nothing is started.

        Args:
            guard: records.
            sessions: knows which live, and their credentials.
            policy: which services may be reached.
            service: starts what looks after connections, as the server.
        """
        self.guard: Final = guard
        self.sessions: Final = sessions
        self.policy: Final = policy
        self._service = service
        self.patience: Final = Patience()
        self._lock = threading.Lock()
        self._reaches: dict[object, Reach] = {}
        self._watch: Housekeeper | None = None
        self._is_closed = False

    @cached_property
    def verify(self) -> ssl.SSLContext:
        """Which certificates of web servers are believed: those of this machine."""
        return verifying()

    @cached_property
    def binding(self) -> Bindings:
        """What ties tickets to TLS."""
        from stead.adapters.outbound.tls_binding import (  # noqa: PLC0415 - an extra's
            Bindings,
        )

        return Bindings(self.verify)

    def is_handed_over(self, token: AccessToken) -> bool:
        """Tell whether a session's credentials are what its client delegated.

        A session that was opened with credentials shown to this server has its own.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: it does not live.
        """
        return self.shown_by(token) is LogonType.NETWORK

    def shown_by(self, token: AccessToken) -> LogonType:
        """Return how the session was opened whose credentials a token's session shows.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: it does not live.
        """
        session = self.sessions.of(token)
        while session.outer is not None and not session.credentials:
            session = session.outer
        return session.record.logon_type

    def reach_of(self, token: AccessToken) -> Reach:
        """Return what a session has open, and have it cut when the session ends.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: it does not live.
        """
        self.sessions.require_live(token)
        logon_id = token.logon_id
        with self._lock:
            found = self._reaches.get(logon_id)
            if found is not None:
                return found
            found, watch = self._made(logon_id, token, SESSION)
        self.sessions.on_end(logon_id, partial(self.leave, found))
        watch.look()
        return found

    def reach_within(self, token: AccessToken) -> Reach:
        """Return what a block in a session has open, apart from the session's own.

        Whoever asks for it has it cut (`leave`), at the session's end too.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: the session does not live.
        """
        self.sessions.require_live(token)
        with self._lock:
            found, watch = self._made(object(), token, "the block")
        watch.look()
        return found

    def _made(
        self, key: object, token: AccessToken, what: str
    ) -> tuple[Reach, Housekeeper]:
        watch = self._watching()
        line = Lifeline(partial(self.sessions.require_live, token), what)
        tickets = TicketsByPassword(line, self.patience)
        made = self._reaches[key] = Reach(token, key, line, tickets)
        return made, watch

    def _watching(self) -> Housekeeper:
        if self._watch is None:
            if self._is_closed:
                raise LogonSessionEndedError("the server is closed")
            self._watch = self._service.run(
                partial(Housekeeper, "stead-second-hop", self._look)
            )
        return self._watch

    def leave(self, reach: Reach) -> None:
        """Cut connections now; what may wait is left to the watch. Takes no lock."""
        reach.line.end()
        if (watch := self._watch) is not None:  # else `close` has cleaned
            watch.do(partial(self._forget, reach))

    def _forget(self, reach: Reach) -> None:
        with self._lock:
            if self._reaches.get(reach.key) is reach:
                del self._reaches[reach.key]
        reach.line.clean()

    def _look(self) -> float | None:
        """See that sessions with open connections still live: nobody else may ask."""
        with self._lock:
            reaches = list(self._reaches.values())
        for reach in reaches:
            if reach.line.is_over:
                continue
            try:
                self.sessions.require_live(reach.token)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody says yes
                # It has ended, or nobody can say that it lives: no lease, no access.
                if not isinstance(error, SteadError):
                    _log.exception("whether a session lives cannot be looked at")
                reach.line.end()
                self._forget(reach)
        return _LEASE_SECONDS if reaches else None

    def close(self) -> None:
        """Cut everything, and end what looks after it."""
        with self._lock:
            self._is_closed = True
            reaches, self._reaches = list(self._reaches.values()), {}
            watch, self._watch = self._watch, None
        for reach in reaches:
            reach.line.end()
            reach.line.clean()
        if watch is not None:
            watch.close()
