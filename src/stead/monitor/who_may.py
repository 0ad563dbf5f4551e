"""Whether one server may act as a client: asked at every door, before it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stead.decision.impersonation import (
    Approach,
    Verdict,
    judge_impersonation,
    way_to_impersonate,
)
from stead.errors import (
    BadImpersonationLevelError,
    ImpersonationRefusedError,
    PrivilegeNotHeldError,
)
from stead.model.impersonation_policy import Act, ImpersonationPolicy
from stead.model.privilege import Privilege
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.ports import Subject

_NO_WAY: Final = (
    "this server only identifies clients that it did not log on itself: give it "
    "SeImpersonatePrivilege, `ProtectedServer(name, privileges=...)`"
)


@dataclass(frozen=True, slots=True, eq=False)
class WhoMay:
    """What lets a server act as a client, or does not.

    Attributes:
        process_token: the server's own token.
        server: the server's name, for rules.
        policy: the rules.
        require_live: raises unless a token's session lives.
    """

    process_token: AccessToken
    server: str
    policy: ImpersonationPolicy
    require_live: Callable[[AccessToken], None]

    def require_ready(self, subject: Subject, act: Act) -> None:
        """Return if the server may do this as the client now.

        1. The client's session lives.
        2. Windows lets this server act as this client (`way_to_impersonate`).
        3. The policy does.

        Raises:
            LogonSessionEndedError, PrivilegeNotHeldError, ImpersonationRefusedError:
                1, 2 or 3 is not so.
        """
        self.require_live(subject.token)
        self.require_allowed(subject, act)

    def require_allowed(self, subject: Subject, act: Act) -> None:
        """Take steps 2 and 3 of `require_ready`, of a session that is known to live.

        Raises:
            PrivilegeNotHeldError, ImpersonationRefusedError: 2 or 3 is not so.
        """
        if not self._has_way(subject.token):
            raise PrivilegeNotHeldError((Privilege.IMPERSONATE,), advice=_NO_WAY)
        self.require_policy(subject, act)

    def require_policy(self, subject: Subject, act: Act) -> None:
        """Return if the policy lets this server do this as the client.

        Raises:
            ImpersonationRefusedError: a rule forbids it, or none allows it; says which.
        """
        approach = Approach(
            self.server, subject.token, act, subject.gate, subject.authenticated_by
        )
        verdict = judge_impersonation(self.policy, approach)
        if not verdict:
            raise ImpersonationRefusedError(
                _said(verdict, f"{act.value} as `{subject.principal.name}`"),
                advice="the server's administrator keeps the rules of who may be acted "
                "as",
            )

    def level_error(
        self, token: AccessToken, needed: ImpersonationLevel, *, act: str
    ) -> BadImpersonationLevelError:
        """Make the error of a token whose level does not suffice; it says whose it is.

        Args:
            token: the client's.
            needed: the level that it lacks.
            act: what for, in words.
        """
        if self._has_way(token):
            return BadImpersonationLevelError(token.level, needed, act=act)
        return BadImpersonationLevelError(token.level, needed, act=act, advice=_NO_WAY)

    def _has_way(self, token: AccessToken) -> bool:
        way = way_to_impersonate(
            self.process_token, user=token.user, origin=token.origin
        )
        return way is not None


def _said(verdict: Verdict, what: str) -> str:
    if verdict.rule is None:
        return f"no rule allows this server to {what}"
    return f"rule `{verdict.rule.name}` forbids this server to {what}"
