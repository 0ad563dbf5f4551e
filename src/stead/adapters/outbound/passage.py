"""What an adapter needs to reach a machine as a client, and what it says if it cannot.

`Passage` is made by the server for one client; it judges and records before anything
goes out. The errors here explain the double hop to whoever reads the server's log.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from stead.adapters.outbound.by_password import TicketsByPassword
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.patience import Patience
from stead.authority.packages import OutboundCredentials
from stead.errors import (
    AccessDeniedError,
    CredentialsExpiredError,
    DirectoryUnavailableError,
    NoCredentialsError,
    SteadError,
    UnknownDatabaseError,
    WrongIdentityError,
)
from stead.model.delegation_policy import NetworkTarget
from stead.monitor.ports import Subject

KERBEROS: Final = "kerberos"
"""The mechanism of whatever takes tickets, got by a password or not."""
if TYPE_CHECKING:
    from stead.adapters.outbound.passwords import ShownPassword

WAYS_OUT: Final = (
    "a client that was only authenticated hands over nothing that another machine "
    "takes (the double hop). Ways out: the client delegates (Kerberos: forwardable "
    "ticket, GSS_C_DELEG_FLAG, level DELEGATION); the server logs it on with its own "
    "password (`server.log_on`) or credentials (`NEW_CREDENTIALS`); the domain lets "
    "the server's account delegate to this service (constrained delegation, S4U2Proxy)"
    "; or the server exchanges the client's bearer token (RFC 8693). docs/second-hop.md"
)
"""What a `NoCredentialsError` advises where nothing narrower is known."""
_SEE: Final = "; for the double hop and the ways out see docs/second-hop.md"


class Passage(Protocol):
    """One client's way to other machines."""

    @property
    def line(self) -> Lifeline:
        """What cuts connections when the session ends."""
        ...

    @property
    def subject(self) -> Subject:
        """The client, as it acts here by now."""
        ...

    @property
    def credentials(self) -> Sequence[OutboundCredentials]:
        """What the session has to show; raises `LogonSessionEndedError`."""
        ...

    @property
    def by_password(self) -> TicketsByPassword:
        """The session's tickets, where it has a password to show for them."""
        ...

    @property
    def patience(self) -> Patience:
        """How long a machine is waited for where a library gives nothing up."""
        ...

    def begin(
        self,
        target: NetworkTarget,
        mechanism: str = KERBEROS,
        shown: ShownPassword | None = None,
    ) -> None:
        """Judge, and record durably, that a service is about to be reached.

        Args:
            target: the service.
            mechanism: by what the client is shown there.
            shown: the password whose proof is, where it is one.

        Raises:
            LogonSessionEndedError: the session has ended.
            NoCredentialsError: the client did not let the server go so far, or the
                policy does not name the service.
            AccessDeniedError: the client's token is limited to other machines.
            LedgerUnavailableError: it could not be recorded. In each case nothing
                goes out.
        """
        ...

    def refuse(self, target: NetworkTarget, error: SteadError) -> NoReturn:
        """Record durably why a service is not reached after all, and raise that."""
        ...


_RIGHT_THEN: Final = 60.0  # seconds


class Use:
    """The use of one service by one object, and the records before its connections.

    That the service is about to be reached is recorded when this is made, and stands
    for the connection which is made right then. Each one that is made later, since the
    pool has none or has lost it, has a record of its own before.
    """

    __slots__ = ("_mechanism", "_passage", "_shown", "_target", "_unspent")

    def __init__(
        self,
        passage: Passage,
        target: NetworkTarget,
        mechanism: str = KERBEROS,
        shown: ShownPassword | None = None,
    ) -> None:
        """Judge, and record durably; raises as `Passage.begin`."""
        passage.begin(target, mechanism, shown)
        self._passage: Final = passage
        self._target: Final = target
        self._mechanism: Final = mechanism
        self._shown: Final = shown
        # A list, of which one thread of several takes what is there.
        self._unspent: Final = [time.monotonic()]

    def connecting(self) -> None:
        """Have a connection that is about to be made recorded before.

        Raises:
            SteadError: as `Passage.begin` raises; then it is not made.
        """
        try:
            recorded_at = self._unspent.pop()
        except IndexError:
            recorded_at = -math.inf
        if time.monotonic() - recorded_at > _RIGHT_THEN:
            self._passage.begin(self._target, self._mechanism, self._shown)

    def connected(self) -> None:
        """Know that something was asked by now: what is recorded is of the past."""
        self._unspent.clear()


def credentials_for(
    passage: Passage, target: NetworkTarget, packages: Sequence[str], now: int
) -> OutboundCredentials:
    """Return the credentials to show to a service.

    Args:
        passage: whose.
        target: the service.
        packages: what it takes, the best first.
        now: nanoseconds since the epoch, UTC.

    Raises:
        NoCredentialsError: the session has none of these.
        CredentialsExpiredError: they have ended, or do within a minute; recorded.
    """
    held = passage.credentials
    for package in packages:
        for each in held:
            if each.package == package:
                # Whoever has them knows when they end by asking a library, at length.
                if now >= passage.line.lasting.get(id(each), 0):
                    with recorded(passage, target):
                        passage.line.lasting[id(each)] = _good_until(each, now)
                return each
    has = ", ".join(sorted({each.package for each in held})) or "none"
    why = f"it takes {' or '.join(packages)}, and of the client's the session has {has}"
    return passage.refuse(target, not_taken(target, why))


_SECOND: Final = 10**9
_LOOK_AGAIN: Final = 60 * _SECOND
TIME_LEFT: Final = 60.0
"""Seconds that credentials must last: they end before the work, not within it."""
RENEWED_AT: Final = 180.0
"""Seconds before their end at which they are renewed, if they can be. Samba's KDC takes
no ticket-granting ticket for anything in its last two minutes (CVE-2022-2031)."""


def _good_until(held: OutboundCredentials, now: int) -> int:
    """Return when to look again; have them last for a minute, renewed before.

    Raises:
        CredentialsExpiredError: they do not.
        DirectoryUnavailableError: nobody says whether they could.
    """
    expires = held.expires
    if expires is None:
        return now + _LOOK_AGAIN
    if expires - now >= RENEWED_AT * _SECOND:
        return expires - int(RENEWED_AT * _SECOND)
    try:
        held.renew_for(RENEWED_AT)
    except (CredentialsExpiredError, DirectoryUnavailableError):
        if expires - now < TIME_LEFT * _SECOND:
            raise
        return expires - int(TIME_LEFT * _SECOND)
    # Some last for less than that when they are new.
    left = (held.expires or now) - now
    return now + max(left - int(RENEWED_AT * _SECOND), left // 4)


def not_taken(target: NetworkTarget, why: str, advice: str = "") -> NoCredentialsError:
    """Return that a service does not take what the client has to show.

    Args:
        target: the service, which the message names once.
        why: what was found.
        advice: what helps against just that; the ways out of the double hop if nobody
            knows better. What said these before says them once.
    """
    place = f"`{target}`: "
    shown = advice.removesuffix(_SEE) + _SEE
    return NoCredentialsError(
        f"{place}{why.removeprefix(place)}",
        advice=WAYS_OUT if advice in {"", WAYS_OUT} else shown,
    )


_LONGEST: Final = 200


def as_said(text: str) -> str:
    """Return what another machine says, as a line of a log can hold it."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])


def mistaken(target: NetworkTarget, said: str, meant: str) -> WrongIdentityError:
    """Return that a service takes us for somebody else."""
    return WrongIdentityError(
        f"`{target}` takes us for `{as_said(said)}`, not for `{meant}`",
        advice="look at how that service maps names to its users; nothing was asked "
        "of it, and the connection is closed",
    )


@contextmanager
def recorded(passage: Passage, target: NetworkTarget) -> Iterator[None]:
    """Record why nobody goes out, if that is what is raised here.

    A package knows which ticket is missing, and not what to do about a second hop.
    """
    try:
        yield
    except NoCredentialsError as error:
        passage.refuse(target, not_taken(target, str(error), error.advice))
    except (
        AccessDeniedError,
        CredentialsExpiredError,
        DirectoryUnavailableError,
        UnknownDatabaseError,
        WrongIdentityError,
    ) as error:
        passage.refuse(target, error)
