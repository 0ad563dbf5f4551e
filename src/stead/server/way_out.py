"""Whether a client's way to another machine is open, and the record before it is gone.

1. The session lives, and has credentials: the client's own, or what it delegated.
2. The client lets the server go so far, and its token is limited to nothing else.
3. The server's policy names the service.
4. That it is about to be reached is recorded durably; so is a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from stead.adapters.outbound.by_password import TicketsByPassword
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.passage import KERBEROS, not_taken
from stead.adapters.outbound.passwords import ShownPassword
from stead.adapters.patience import Patience
from stead.authority.packages import OutboundCredentials
from stead.errors import AccessDeniedError, NoCredentialsError, SteadError
from stead.model.delegation_policy import NetworkTarget, PasswordOrigin
from stead.model.logon_record import LogonType
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.ports import Subject
from stead.server.hops import Hops, Reach
from stead.server.shown_password import judge_password, record_password


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One client's way to other machines (`stead.adapters.outbound.passage`)."""

    hops: Hops
    subject: Subject
    reach: Reach
    keep: object

    @property
    def line(self) -> Lifeline:
        """What cuts its connections."""
        return self.reach.line

    @property
    def credentials(self) -> Sequence[OutboundCredentials]:
        """What the session has to show."""
        return self.hops.sessions.credentials_of(self.subject.token)

    @property
    def by_password(self) -> TicketsByPassword:
        """The session's tickets, where it has a password to show for them."""
        return self.reach.by_password

    @property
    def patience(self) -> Patience:
        """How long a machine is waited for where a library gives nothing up."""
        return self.hops.patience

    def begin(
        self,
        target: NetworkTarget,
        mechanism: str = KERBEROS,
        shown: ShownPassword | None = None,
    ) -> None:
        """Judge, and record durably; see `Passage.begin`."""
        self.line.require_live()
        error = self._refusal(target, shown)
        if error is not None:
            self.refuse(target, error)
        if shown is not None:
            record_password(self.hops.guard, self.subject, target, shown)
        self.hops.guard.own.delegating(
            self.subject, str(target), protocol=target.protocol, mechanism=mechanism
        )

    def refuse(self, target: NetworkTarget, error: SteadError) -> NoReturn:
        """Record why a service is not reached, and raise that."""
        error.record = self.hops.guard.own.delegating(
            self.subject, str(target), protocol=target.protocol, error=error
        )
        raise error

    def _refusal(
        self, target: NetworkTarget, shown: ShownPassword | None
    ) -> SteadError | None:
        token = self.subject.token
        if not self.credentials:
            name = self.subject.principal.name
            return not_taken(target, f"the session of `{name}` has no credentials")
        needed = self._needed_level(token)
        if token.level < needed:
            return not_taken(
                target,
                f"the client's level is {token.level.name.lower()}, and "
                f"{needed.name.lower()} is needed",
            )
        if token.limits is not None:
            machine = target.machine
            if machine is None or not token.limits.may_reach(machine):
                return AccessDeniedError(
                    object_name=str(target),
                    advice="the client's token is limited to other machines: name "
                    "`Host(name, port)` among its `targets`",
                )
        if shown is not None:
            origin = self._password_origin()
            return judge_password(self.hops.policy, target, shown, origin)
        if not self.hops.policy.allows(target):
            return NoCredentialsError(
                f"this server may not reach `{target}` as a client",
                advice=f"it may reach {self.hops.policy} (`delegation=`)",
            )
        return None

    def _password_origin(self) -> PasswordOrigin:
        """Return what the session's password was handed to this server for."""
        if self.hops.shown_by(self.subject.token) is LogonType.NEW_CREDENTIALS:
            return PasswordOrigin.OTHER_MACHINES
        return PasswordOrigin.THIS_SERVER

    def _needed_level(self, token: AccessToken) -> ImpersonationLevel:
        """Return how far the client must let the server go.

        What it delegated is used at level Delegation. Where the domain lets the server
        go in the client's name, and nowhere else, the client has delegated nothing.
        """
        if self.hops.is_handed_over(token):
            for held in self.credentials:
                if not getattr(held, "is_constrained", False):
                    return ImpersonationLevel.DELEGATION
        return ImpersonationLevel.IMPERSONATION
