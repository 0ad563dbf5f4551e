"""One other machine, reached with credentials for it alone, until a block is left.

They are a client's for that machine, and its session's own stay as they are: what is
connected here is in pools of the block's own, and no verb of the client's finds it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead.adapters.outbound.passwords import ShownPassword
from stead.authority.explicit_credentials import ExplicitCredentials
from stead.authority.packages import OutboundCredentials
from stead.errors import SteadError, WrongIdentityError
from stead.model.delegation_policy import NetworkTarget, PasswordOrigin
from stead.model.limits import Host
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.ports import Subject
from stead.server.hops import Hops, Reach
from stead.server.network_verbs import NetworkVerbs
from stead.server.second_hop import SecondHop
from stead.server.way_out import Way

if TYPE_CHECKING:
    from stead.adapters.outbound.gss import GssClient


class ExplicitHop(NetworkVerbs, ExplicitCredentials):
    """What a client shows to one other machine, and the verbs that reach it.

    The verbs are those of `ClientContext`. Beside what they raise there:
    `WrongIdentityError` for another machine, recorded; `CredentialsExpiredError` or
    `LogonSessionEndedError` once the block was left.
    """

    __slots__ = ("_hops", "_keep", "_lock", "_reach", "_subject")

    def __init__(
        self,
        credentials: OutboundCredentials,
        target: Host,
        hops: Hops,
        subject: Subject,
        *,
        keep: object,
    ) -> None:
        """Take credentials over; nothing is asked or connected.

        Args:
            credentials: what is shown; theirs from here on.
            target: to whom alone.
            hops: the server's.
            subject: the client.
            keep: the client itself: its session lives as long as what this hands out.
        """
        super().__init__(credentials, target)
        self._hops: Final = hops
        self._subject: Final = subject
        self._keep: Final = keep
        self._lock: Final = threading.Lock()
        self._reach: Reach | None = None

    def gss(self, service: str, *, port: int | None = None) -> GssClient:
        """Return a context of GSS-API in which these credentials are the initiator.

        Args:
            service: `service@host`.
            port: where it listens; the target's port if not given.

        Raises:
            SteadError: as `ClientContext.gss` and this class say.
        """
        return super().gss(service, port=port or self.target.port)

    def way(self) -> Way:
        """Return the way to that machine; raises `CredentialsExpiredError`."""
        self._require_open()
        with self._lock:
            if self._reach is None:
                self._reach = self._hops.reach_within(self._subject.token)
            reach = self._reach
        if self.is_closed:  # meanwhile, and `close` may not have seen it
            self._hops.leave(reach)
        self._require_open()
        return _ExplicitWay(self._hops, self._subject, reach, self._keep, self)

    def close(self) -> None:
        """Wipe them and cut what is connected; waits for nothing, again does nothing.

        It takes no lock: whatever ends the session may be on any thread.
        """
        # First: a connection that the wiping cuts is asked why it was.
        self._leave()
        super().close()
        self._leave()  # what `way` has made meanwhile

    def _leave(self) -> None:
        if self._reach is not None:
            self._hops.leave(self._reach)

    @property
    def _hop(self) -> SecondHop:
        return _ExplicitSecondHop(self._hops, self._subject, keep=self)


class _ExplicitSecondHop(SecondHop):
    """The verbs, by the way of explicit credentials."""

    __slots__ = ("_shown",)

    def __init__(self, hops: Hops, subject: Subject, *, keep: ExplicitHop) -> None:
        super().__init__(hops, subject, keep=keep)
        self._shown: Final = keep

    def way(self) -> Way:
        return self._shown.way()


@dataclass(frozen=True, slots=True, eq=False)
class _ExplicitWay(Way):
    """The way to one machine, with what is for it alone."""

    shown: ExplicitHop

    @property
    def credentials(self) -> Sequence[OutboundCredentials]:
        return (self.shown.require_for(self.shown.target),)

    def _refusal(
        self, target: NetworkTarget, shown: ShownPassword | None
    ) -> SteadError | None:
        try:
            self.shown.require_for(Host(target.host, target.port))
        except WrongIdentityError as error:
            return error
        # With slots there is no bare `super`.
        return Way._refusal(self, target, shown)  # noqa: SLF001

    def _password_origin(self) -> PasswordOrigin:
        return PasswordOrigin.THAT_MACHINE

    def _needed_level(self, token: AccessToken) -> ImpersonationLevel:  # noqa: ARG002
        """Nothing of it was delegated: they were shown to this server."""
        return ImpersonationLevel.IMPERSONATION
