"""Somebody whom a package or a password has authenticated, before a session opens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from stead.authority.asserted import identify_asserted
from stead.authority.errands import Errand, at_once
from stead.authority.identity import HostIdentity, Identity, identify_account
from stead.authority.issuers import Issuers
from stead.authority.packages import Authenticated, OutboundCredentials
from stead.authority.ports import AccountStore
from stead.errors import EvidenceRefusedError
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.token import ImpersonationLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """Who comes, and what a session of its own would begin with.

    Attributes:
        identity: who it is here.
        package: what authenticated it, if that was not how it arrived.
        issuer: who says so, likewise.
        level: how far it lets the server go at most.
        expires: nanoseconds since the epoch, UTC, at which its session ends; or None.
        credentials: what it gave, to reach other machines.
        actors: through whom its identity came, the nearest first.
        details: what records say beside.
    """

    identity: Identity
    package: str = ""
    issuer: str = ""
    level: ImpersonationLevel = ImpersonationLevel.DELEGATION
    expires: int | None = None
    credentials: tuple[OutboundCredentials, ...] = field(default=(), repr=False)
    actors: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()

    @property
    def has_shown_password(self) -> bool:
        """Whether a package says that it knows its password of the store's."""
        return bool(self.package) and not self.issuer

    def require_time_left(self, now: int) -> None:
        """Return if what it showed has not ended; raises `EvidenceRefusedError`."""
        if self.expires is not None and self.expires <= now:
            raise EvidenceRefusedError("what the client shows has expired")

    def told(self) -> dict[str, str]:
        """Return what records say of how it came, beside what they say of all."""
        said = dict(self.details)
        return said | {"issuer": self.issuer} if self.issuer else said

    def close(self) -> None:
        """Wipe what it gave: it is not admitted."""
        for held in self.credentials:
            held.close()


OnHost = Callable[[PosixIdentity, LogonType], Identity]
"""Tells who a user of this host is, as the host knows it."""


def _unheard(_posix: PosixIdentity, _logon_type: LogonType) -> Identity:
    raise EvidenceRefusedError("only a password authority speaks for the host")


def newcomer_of(
    store: AccountStore,
    client: Authenticated,
    issuers: Issuers,
    *,
    host: HostIdentity,
    logon_type: LogonType,
    on_host: OnHost = _unheard,
    errand: Errand = at_once,
) -> Newcomer:
    """Return who an authenticated client is here, with what it brought.

    What it handed over is wiped if it is nobody here.

    Args:
        store: where accounts live.
        client: what a package says of it.
        issuers: who is believed.
        host: what this host knows of a uid.
        logon_type: how it comes.
        on_host: tells who a user of this host is; without it this host's own word does
            not count, who the client is to it.
        errand: has several questions asked of the store at once.

    Raises:
        EvidenceRefusedError: that word comes from somebody who may not give it.
        SteadError: as `stead.authority.asserted.identify_asserted`.
    """
    try:
        if client.host is not None:
            identity = on_host(client.host, logon_type)
        elif client.issuer:
            identity = identify_asserted(
                store, client, issuers, host=host, logon_type=logon_type
            )
        else:
            identity = identify_account(
                store, client.name, host=host, logon_type=logon_type, errand=errand
            )
    except BaseException:
        client.close()
        raise
    return Newcomer(
        identity=identity,
        package=client.package,
        issuer=client.issuer,
        level=client.level,
        expires=client.expires,
        credentials=() if client.credentials is None else (client.credentials,),
        actors=client.actors,
        details=client.details,
    )
