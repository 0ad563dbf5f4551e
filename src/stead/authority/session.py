"""One logon session of this process ([MS-LSAD], LSA logon sessions)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from stead.authority.identity import Identity
from stead.authority.packages import OutboundCredentials
from stead.errors import LogonSessionEndedError
from stead.model.logon_record import LogonRecord
from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken

LEASE: Final = 1_000_000_000
"""Nanoseconds for which a session is believed without asking the store again."""


Ending = Callable[[], object]
"""What is called, once, when a session has ended."""


@dataclass(slots=True, eq=False)
class Session:
    """One logon session of this process.

    Attributes:
        record: what is known of it.
        token: the token it was opened with.
        posix: what the kernel calls its client, or None.
        identity: who its client was when it was opened; None for the server's own and
            for a client that came as nobody, who can lose nothing.
        generation: the store's when the account was looked at last.
        same_at: the store's when the account was last seen to have gained nothing.
        lease_ends: monotonic nanoseconds.
        epoch: how often leases had been expired when this one was given.
        outer: the session that it lies within: that of whoever's token was limited.
        over: monotonic nanoseconds at which it ends by itself; None for never.
        ends_at: the same moment in nanoseconds since the epoch, UTC.
        credentials: what it has to show to other machines; closed when it ends.
        lends_out: whether what lies within it shows its credentials, or those of the
            session that it lies within itself.
        is_own: whether it is the server's, which lives as long as that does.
        holds: how many hold it.
        holders: who else holds it, each once however often it says so.
        endings: what is to be called when it ends, by what stands for each.
    """

    record: LogonRecord
    token: AccessToken
    posix: PosixIdentity | None
    identity: Identity | None
    generation: int
    lease_ends: int
    epoch: int
    same_at: int
    outer: Session | None = None
    over: int | None = None
    ends_at: int | None = None
    credentials: tuple[OutboundCredentials, ...] = field(default=(), repr=False)
    lends_out: bool = True
    is_own: bool = False
    holds: int = 1
    holders: set[object] = field(default_factory=set, repr=False)
    endings: dict[object, Ending] = field(default_factory=dict, repr=False)

    def at_end(self, ending: Ending) -> object:
        """Have something called when it ends; return what stands for it."""
        key = object()
        self.endings[key] = ending
        return key

    def outwards(self, *, to_credentials: bool = False) -> Iterator[Session]:
        """Yield it, and what it lies within, outwards.

        Args:
            to_credentials: no further than the one whose credentials it shows.
        """
        session: Session | None = self
        while session is not None:
            yield session
            is_last = to_credentials and session.lends_out
            session = None if is_last else session.outer

    @property
    def identified_at(self) -> int:
        """The store's generation before its client was identified."""
        *_, session = self.outwards()
        return 0 if session.identity is None else session.identity.generation

    def is_over(self, now: int, monotonic: int) -> bool:
        """Tell whether it has had its time, by either clock: one can be set back."""
        by_clock = self.ends_at is not None and now >= self.ends_at
        return by_clock or (self.over is not None and monotonic >= self.over)


def ended(token: AccessToken) -> LogonSessionEndedError:
    """Return what says that a token's session does not live here."""
    return LogonSessionEndedError(
        f"logon session {token.logon_id} of `{token.user}` does not live here",
        advice="log the client on again; tokens made by hand have no session",
    )


def expired(token: AccessToken) -> LogonSessionEndedError:
    """Return what says that a token's session has had its time."""
    if token.limits is not None:
        return LogonSessionEndedError(
            f"grant {token.limits} has expired", advice="limit the client's token anew"
        )
    return LogonSessionEndedError(
        f"what `{token.user}` was authenticated by has expired, or the account may "
        "be logged on no more at this time",
        advice="have the client log on again",
    )


def unfit(name: str) -> LogonSessionEndedError:
    """Return what says that a session's account is not what it was."""
    return LogonSessionEndedError(
        f"account `{name}` was changed or disabled, or its session ended by somebody, "
        "which ended its sessions",
        advice="log the client on again",
    )
