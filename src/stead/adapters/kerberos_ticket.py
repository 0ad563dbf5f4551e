"""A client's side of showing a ticket at a gate of the broker's.

    ticket = KerberosTicket("stead/host.example")
    with PipeClient.connect("/run/stead/notes-tickets", ticket=ticket) as server:
        ...

The ticket is bound to the connection, so that whoever else listens there, or sends it
on, gains nothing by it; and the broker has to prove its own key
(`stead.privileged.ticket_exchange`). Nothing is delegated. Needs the extra `kerberos`.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

from stead.adapters.extras import require_extra

require_extra("kerberos", "gssapi")

import gssapi
from gssapi.raw import ChannelBindings
from gssapi.raw.misc import GSSError

from stead.errors import LogonFailureError, RemoteProtocolError, WrongServerError
from stead.privileged import ticket_exchange as exchange
from stead.privileged.peers import peer_credentials

_FLAGS = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.integrity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What one exchange is about."""

    connected: socket.socket
    deadline: float


@dataclass(frozen=True, slots=True)
class KerberosTicket:
    """A ticket for the broker, shown when a client connects.

    Attributes:
        principal: the broker's, such as `stead/host.example` or with its realm.
        cache: the credential cache to use; the process's own if it is empty. Name it
            where threads act for different people: the variable is everybody's.
        uid: what the broker's user namespace calls this process's uid; its own if None.
    """

    principal: str
    cache: str = ""
    uid: int | None = None

    def show(self, connected: socket.socket, seconds: float | None) -> None:
        """Prove who the client is, and have the broker prove itself.

        Args:
            connected: just connected, and named; nothing was said on it.
            seconds: how long it may take; None for ever.

        Raises:
            LogonFailureError: there is no ticket, or the broker refuses.
            WrongServerError: whoever listens has no key of the broker's.
            TimeoutError: no answer came in time.
            RemoteProtocolError: the other side speaks otherwise.
            OSError: the connection failed.
        """
        deadline = time.monotonic() + (seconds if seconds is not None else 1e9)
        try:
            self._show(_Shown(connected=connected, deadline=deadline))
        except GSSError as error:
            raise LogonFailureError(advice=f"kerberos: {error}") from error

    def _show(self, shown: _Shown) -> None:
        context = self._initiator(shown)
        blob = context.step()
        for _ in range(exchange.MOST_ROUNDS):
            if blob:
                _send(shown, blob)
            if context.complete:
                break
            kind, content = _next(shown)
            if kind != exchange.BLOB:
                raise RemoteProtocolError("the broker says something else")
            blob = context.step(content)
        proved = gssapi.RequirementFlag.mutual_authentication
        if not context.complete or not context.actual_flags & proved:
            raise WrongServerError(
                "whoever listens there proves no key of the broker's",
                uid=peer_credentials(shown.connected)[1],
            )
        if _next(shown)[0] != exchange.ADMITTED:
            raise RemoteProtocolError("the broker says something else")

    def _initiator(self, shown: _Shown) -> gssapi.SecurityContext:
        kind, nonce = _next(shown)
        if kind != exchange.NONCE or len(nonce) != exchange.NONCE_SIZE:
            raise RemoteProtocolError("nobody asks for a ticket there")
        connected = shown.connected
        bound = exchange.binding(
            nonce,
            connected.getpeername(),
            connected.getsockname(),
            os.geteuid() if self.uid is None else self.uid,
        )
        return gssapi.SecurityContext(
            name=gssapi.Name(self.principal, gssapi.NameType.kerberos_principal),
            creds=gssapi.Credentials(
                usage="initiate",
                mechs=[gssapi.MechType.kerberos],
                store=self._store(),
            ),
            # Named, or another mechanism might show somebody else's credentials.
            mech=gssapi.MechType.kerberos,
            flags=_FLAGS,
            usage="initiate",
            channel_bindings=ChannelBindings(application_data=bound),
        )

    def _store(self) -> dict[bytes | str, bytes | str] | None:
        if not self.cache:
            return None
        # Without keys: an empty cache is nobody's.
        return {"ccache": self.cache, "client_keytab": "FILE:/nonexistent"}


def _send(shown: _Shown, blob: bytes) -> None:
    told = exchange.frame(exchange.BLOB, blob)
    exchange.send_frame(shown.connected, told, shown.deadline)


def _next(shown: _Shown) -> tuple[bytes, bytes]:
    kind, content = exchange.read_frame(shown.connected, shown.deadline)
    if kind == exchange.REFUSED:
        raise LogonFailureError
    return kind, content
