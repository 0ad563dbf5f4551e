"""What a server without root knows of its clients by way of the broker.

The broker accepts the clients of this server's gates and knows each by a ticket. It is
bound to the logon session that the client gets here; whatever is done as the client on
the machine needs it. A client that somebody else vouched for has none: the server's
word is no evidence to the broker.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from stead.adapters.host import host_account
from stead.authority.sessions import Sessions
from stead.errors import (
    ImpersonationRefusedError,
    LogonFailureError,
    SteadError,
)
from stead.gates.ports import Ticket
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.secret import Secret
from stead.model.token import AccessToken
from stead.privileged.broker_link import BrokerLink
from stead.privileged.brokered_client import BrokeredClient, BrokeredIdentity
from stead.server.acting.deadlines import Deadlines
from stead.server.acting.errands import Errands
from stead.server.enforcement import ThreadEnforcer

_log: Final = logging.getLogger("stead.server")

_THREADS: Final = 2
_RENEWALS: Final = 3  # in one lease, so that one may come late


@dataclass(frozen=True, slots=True, eq=False)
class WayToBroker:
    """The way to the broker, and threads that may wait for it.

    Attributes:
        link: the way.
        leases: renews them, and lets go of clients, at their time.
        errands: asks, as the server, while somebody waits.
    """

    link: BrokerLink
    leases: Deadlines
    errands: Errands

    @classmethod
    def open(
        cls, name: str, path: str | os.PathLike[str], undo: ExitStack
    ) -> WayToBroker:
        """Start the threads and connect.

        Args:
            name: the server's.
            path: the broker's socket.
            undo: closes all of it.

        Raises:
            LauncherUnavailableError: no broker answers, or knows no such service.
        """
        leases = Deadlines(f"{name}-leases")
        undo.callback(leases.close)
        errands = Errands(f"{name}-broker", _THREADS)
        undo.callback(errands.close)
        link = BrokerLink(path, defer=leases.soon)
        undo.callback(link.close)
        link.open()
        return cls(link, leases, errands)


class Tickets:
    """Which session belongs to whom the broker knows."""

    def __init__(self, way: WayToBroker, sessions: Sessions) -> None:
        """Begin with nobody.

        Args:
            way: to the broker.
            sessions: tell when one has ended.
        """
        self.link: Final = way.link
        self._errands = way.errands
        self._sessions = sessions
        self._leases = way.leases
        # Without a lock: a finalizer may be what ends a session, on any thread.
        self._known: dict[Luid, BrokeredClient] = {}

    def bind(self, logon_id: Luid, ticket: Ticket | None) -> None:
        """Remember by what the broker knows a session's client, while it lasts.

        A client that came by a password is gone there when its session has ended here.
        """
        if not isinstance(ticket, BrokeredClient):
            return
        self._known[logon_id] = ticket
        self._sessions.on_end(logon_id, partial(self._forget, logon_id))
        self._renew_later(logon_id, ticket)

    def lend(self, logon_id: Luid, via: Luid, posix: PosixIdentity | None) -> None:
        """Let a session that this server asserts have what another one's client showed.

        Only if that is the same account: the evidence is the connected client's, and
        says nothing of anybody else. The session's end ends nothing of it.

        Args:
            logon_id: the session.
            via: the connected client's session, or one within it.
            posix: what the kernel calls the session's client.
        """
        ticket = self.of(self._sessions.outermost(via))
        if ticket is None or posix is None:
            return
        seen = ticket.identity
        if (seen.uid, seen.gid) == (posix.uid, posix.gid):
            self._known[logon_id] = ticket
            self._sessions.on_end(logon_id, partial(self._known.pop, logon_id, None))

    def of(self, logon_id: Luid) -> BrokeredClient | None:
        """Return by what the broker knows a session's client; None if it does not."""
        return self._known.get(logon_id)

    def vouch(self, posix: PosixIdentity | None, secret: Secret) -> Ticket | None:
        """Have the broker look at a password that was right here; None if it says no.

        The session stands either way: without a ticket nothing is done as its client
        on the machine.
        """
        account = None if posix is None else host_account(posix.uid)
        if account is None:
            return None
        try:
            with secret.revealed() as word:
                # A handler is nobody, and may not speak to anybody by itself.
                ask = partial(self.link.log_on, account.name, word)
                return self._errands.run(ask)
        except LogonFailureError:
            _log.warning("the broker did not take the password of an account")
        except SteadError as error:
            _log.warning("the broker looks at no password: %s", error)
        return None

    def _renew_later(self, logon_id: Luid, ticket: BrokeredClient) -> None:
        if ticket.lease is not None:
            renew = partial(self._renew, logon_id, ticket)
            self._leases.after(ticket.lease / _RENEWALS, renew)

    def _renew(self, logon_id: Luid, ticket: BrokeredClient) -> None:
        """Renew a session's lease at the broker, as long as the session lasts."""
        if self._known.get(logon_id) is not ticket:
            return
        try:
            ticket.renew()
        except SteadError as error:
            _log.warning("a lease cannot be renewed: %s", error)
            return
        self._renew_later(logon_id, ticket)

    def _forget(self, logon_id: Luid) -> None:
        ticket = self._known.pop(logon_id, None)
        # A connected client is its gate's to close; several sessions may be its own.
        if ticket is not None and ticket.lease is not None:
            ticket.close()


@dataclass(frozen=True, slots=True)
class BrokerIdentities:
    """Says what the kernel calls a token's client, and by what the broker knows it.

    Attributes:
        threads: knows what the kernel calls it.
        tickets: know the rest.
    """

    threads: ThreadEnforcer
    tickets: Tickets

    def __call__(self, token: AccessToken) -> PosixIdentity:
        """Return it.

        A grant's is that of the client who lent itself: the broker knows no limits of
        ours, and the client's process keeps them.

        Raises:
            ImpersonationRefusedError: the broker knows no such client, or another one;
                or as `ThreadEnforcer.identity` raises.
            LogonSessionEndedError: the session has ended.
        """
        posix = self.threads.identity(token)
        outermost = self.threads.sessions.outermost(token.logon_id)
        ticket = self.tickets.of(outermost)
        if ticket is None:
            raise ImpersonationRefusedError(
                "the broker has seen no evidence of this client, and takes nobody's "
                "word for it",
                advice="let it connect to one of the broker's gates, and name it in "
                "`client_for(..., via=client)`; a client that was asserted alone, or "
                "logged on here alone, has Stead's own objects only",
            )
        if ticket.why:
            raise ImpersonationRefusedError(
                f"the broker does nothing as this client: {ticket.why}"
            )
        mapped = tuple({*posix.groups} - {*ticket.identity.groups})
        _require_same(posix, ticket, mapped)
        return BrokeredIdentity(posix.uid, posix.gid, posix.groups, ticket, mapped)


def _require_same(
    posix: PosixIdentity, ticket: BrokeredClient, mapped: tuple[int, ...]
) -> None:
    """Refuse to act as somebody else than the broker would.

    Raises:
        ImpersonationRefusedError: the client is somebody else, or has other groups.
    """
    seen = ticket.identity
    if (seen.uid, seen.gid) != (posix.uid, posix.gid):
        raise ImpersonationRefusedError(
            f"the broker has seen uid {seen.uid}, and not uid {posix.uid}"
        )
    is_whole = {*seen.groups} <= {*posix.groups}
    if not is_whole or not {*mapped} <= ticket.mappable:
        raise ImpersonationRefusedError(
            "the account has groups in the store that the kernel did not see on "
            "the client, so the broker cannot judge as this server would",
            advice="take the mapped groups from the account, give them to the uid on "
            "this host, or name them in the service's `mapped_groups` in the broker's "
            "file",
        )
