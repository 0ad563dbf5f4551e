"""Tickets by a session's own password, for services that take tickets.

A realm's password is shown to its KDC and to nobody else; one without a realm is
`stead.adapters.outbound.passwords`'. A KDC that is not the realm's
gives tickets that no service takes: each has to show its own key.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.patience import Patience
from stead.authority.packages import OutboundCredentials
from stead.errors import DirectoryUnavailableError, NoCredentialsError, SteadError

if TYPE_CHECKING:
    from stead.adapters.kerberos.credentials import KerberosCredentials


class PasswordLike(OutboundCredentials, Protocol):
    """A name and a password."""

    def revealed(self) -> AbstractContextManager[bytes]:
        """Yield the password, for whoever sends it."""
        ...


class TicketsByPassword:
    """The tickets that one session got by its passwords; they end with it."""

    def __init__(self, line: Lifeline, patience: Patience) -> None:
        self._patience: Final = patience
        self._line: Final = line
        self._known: dict[str, KerberosCredentials] = {}
        # When others are asked for, in seconds since the epoch.
        self._due: dict[str, float] = {}
        self._wrong: dict[str, SteadError] = {}
        self._asking: Final = threading.Lock()
        self._is_closed = False
        # Never held while a KDC is asked: whoever closes waits for none.
        self._lock: Final = threading.Lock()
        line.at_end(self._close)

    def of(
        self, held: PasswordLike, least: float, renewed_at: float
    ) -> KerberosCredentials:
        """Return tickets that last; it may wait for a KDC.

        Args:
            held: the password.
            least: seconds that they last.
            renewed_at: seconds before their end at which others are asked for; later,
                where a realm gives none that last for so long.

        Raises:
            NoCredentialsError: the name has no realm, or the realm refuses. A wrong
                password is shown once: a realm locks the account after some times, and
                each request would be one.
            DirectoryUnavailableError: no KDC answers.
            LogonSessionEndedError: the session has ended meanwhile.
        """
        with self._asking:
            self._line.require_not_over()
            with self._lock:
                known = self._known.get(held.principal)
            if known is None or time.time() > self._due[held.principal]:
                try:
                    known = self._got(held, renewed_at)
                except DirectoryUnavailableError:
                    if known is None or not _lasts(known, least):
                        raise
            return known

    def _got(self, held: PasswordLike, renewed_at: float) -> KerberosCredentials:
        """Ask for tickets, and keep them; raises as `of` does."""
        if (wrong := self._wrong.get(held.principal)) is not None:
            raise NoCredentialsError(str(wrong), advice=wrong.advice)
        realm = held.principal.rpartition("@")[2]
        try:
            made = self._patience.ask(realm, partial(_asked, held), _drop)
        except NoCredentialsError as error:
            if isinstance(error, _WrongPasswordError):
                self._wrong[held.principal] = error
            raise
        self._due[held.principal] = _due(_ends(made), renewed_at)
        self._keep(held.principal, made)
        return made

    def _keep(self, principal: str, tickets: KerberosCredentials) -> None:
        with self._lock:
            if not self._is_closed:
                self._known[principal] = tickets
                return
        tickets.close()
        self._line.require_not_over()

    def _close(self) -> None:
        with self._lock:
            self._is_closed = True
            known, self._known = self._known, {}
        for tickets in known.values():
            tickets.close()


class _WrongPasswordError(NoCredentialsError):
    """The realm says that the password is not the principal's."""


def _drop(tickets: KerberosCredentials) -> None:
    tickets.close()


def _ends(tickets: KerberosCredentials) -> float:
    return (tickets.expires or 0) / 1e9


def _lasts(tickets: KerberosCredentials, seconds: float) -> bool:
    return _ends(tickets) - time.time() >= seconds


def _due(ends: float, renewed_at: float) -> float:
    """Return when new tickets are asked for; half of a short life is used.

    Otherwise each request would show the password to the realm's KDC.
    """
    return ends - min(renewed_at, (ends - time.time()) / 2)


def _asked(held: PasswordLike) -> KerberosCredentials:
    import gssapi  # noqa: PLC0415 - an extra's, as is what follows
    from gssapi.raw import acquire_cred_with_password  # noqa: PLC0415
    from gssapi.raw.misc import GSSError  # noqa: PLC0415

    from stead.adapters.kerberos.causes import (  # noqa: PLC0415
        is_wrong_password,
        refused_outbound,
    )
    from stead.adapters.kerberos.credentials import (  # noqa: PLC0415
        KerberosCredentials,
    )

    name, _, realm = held.principal.rpartition("@")
    if not name or not realm:
        raise NoCredentialsError(
            f"`{held.principal}` is no principal, so nobody gives tickets for it",
            advice="name the credentials `alice@EXAMPLE.COM`, with the realm",
        )
    kerberos = gssapi.MechType.kerberos
    who = gssapi.Name(held.principal, gssapi.NameType.kerberos_principal)
    try:
        with held.revealed() as password:
            shown = acquire_cred_with_password(
                who, password, mechs=[kerberos], usage="initiate"
            ).creds
        return KerberosCredentials.keep(gssapi.Credentials(shown))
    except GSSError as error:
        if is_wrong_password(error):
            raise _WrongPasswordError(
                f"`{held.principal}` logs on: the password is wrong",
                advice="hand the right one in anew: this one is not shown again",
            ) from error
        raise refused_outbound(error, f"`{held.principal}` logs on") from error
