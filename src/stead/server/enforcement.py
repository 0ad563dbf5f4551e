"""How far the kernel follows when this server impersonates, chosen at start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import Final

from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.errors import EnforcementUnavailableError, ImpersonationRefusedError
from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken
from stead.monitor.ports import Entered, Given
from stead.privileged.hardened_thread import (
    KernelBlock,
    current_hardened_thread,
    is_hardened,
)
from stead.privileged.opening import look
from stead.privileged.probe import KernelSupport
from stead.privileged.system_uids import refuse_system_uid


class Enforcement(Enum):
    """Who judges what the client does to the machine itself.

    Stead's own objects are judged the same either way.
    """

    KERNEL = "kernel"
    """Linux judges as the client: hardened threads of a server that is root, and the
    client's own processes. Elsewhere raw acts are refused; with a broker, and without
    root, that is on every thread.
    """
    TOKEN = "token"  # noqa: S105 - a mode's name
    """Nothing but tokens: every raw act inside a block is refused."""


def choose(
    wanted: Enforcement | None, support: KernelSupport, *, has_broker: bool = False
) -> Enforcement:
    """Return the enforcement to use; the best this machine has, if none is named.

    Args:
        wanted: what is asked for by name.
        support: what the machine gives this process.
        has_broker: whether a broker starts clients' processes for it.

    Raises:
        EnforcementUnavailableError: the kernel was asked for by name and cannot.
    """
    if wanted is not None and wanted is not Enforcement.KERNEL:
        return wanted
    if support.is_available or has_broker:
        return Enforcement.KERNEL
    if wanted is Enforcement.KERNEL:
        raise EnforcementUnavailableError(
            "the kernel cannot enforce here: " + "; ".join(support.reasons),
            advice="`stead doctor` says what is missing",
        )
    return Enforcement.TOKEN


@dataclass(frozen=True, slots=True)
class TokenEnforcer:
    """Changes nothing in the kernel; the tripwire refuses what it would misjudge."""

    def enter(self, token: AccessToken | None) -> Entered:  # noqa: ARG002 - as promised
        """Return an identity that only Stead knows."""
        return _IN_TOKENS_ALONE


class Stay(KernelBlock):
    """A stay as a client whom the kernel was found able to follow."""

    __slots__ = ()

    @property
    def is_kernel(self) -> bool:
        """Whether the kernel judges this thread as the client; it does."""
        return True

    @staticmethod
    def look(path: object) -> None:
        """Refuse a FIFO, socket or device before code of a block opens it."""
        if isinstance(path, str | bytes | os.PathLike):
            look(path)


@dataclass(frozen=True, slots=True)
class ThreadEnforcer:
    """Makes hardened threads the client; leaves others to the tripwire.

    Attributes:
        sessions: knows what the kernel calls a token's client.
        guard_uid: the reserved real uid of impersonating threads.
        allowed_uids: system uids that the policy names.
    """

    sessions: Sessions
    guard_uid: int
    allowed_uids: frozenset[int]

    def enter(self, token: AccessToken | None) -> Entered:
        """Make this thread the token's client, if it is a hardened one.

        Entering the server on a thread that is the server opens nothing.

        Raises:
            ImpersonationRefusedError: the client has no uid, a system's, or the kernel
                cannot express the token.
            LogonSessionEndedError: the session has ended.
        """
        if not is_hardened():
            return _IN_TOKENS_ALONE
        if token is None and not current_hardened_thread().has_blocks:
            return _IN_TOKENS_ALONE
        if token is not None and token.limits is not None:
            raise ImpersonationRefusedError(
                f"the kernel knows nothing of grant {token.limits} on a thread",
                advice="use `client.open`, `client.run` or `client.start`: there the "
                "kernel confines it",
            )
        if token is None:
            return Given(is_kernel=False, leave=KernelBlock(None).enter().leave)
        return Stay(self.identity(token)).enter()

    def identity(self, token: AccessToken) -> PosixIdentity:
        """Return what the kernel calls the token's client.

        Raises:
            ImpersonationRefusedError: as in `enter`.
            LogonSessionEndedError: the session has ended.
        """
        session = self.sessions.of(token)
        _require_expressible(token, session)
        if session.posix is None:
            raise ImpersonationRefusedError(
                f"account `{session.record.name}` has no uid, so the kernel cannot "
                "judge as it",
                advice="give the account a uid, or ask only for Stead's own objects",
            )
        refuse_system_uid(
            session.posix, guard=self.guard_uid, allowed=self.allowed_uids
        )
        return session.posix


def _require_expressible(token: AccessToken, session: Session) -> None:
    """Refuse a token that says less than uid and groups would say to the kernel.

    A group that is disabled or deny-only cannot be left out: without it a file closed
    to the group and open to others would open. So the token must hold exactly the SIDs
    its session began with. The kernel knows neither restricting SIDs nor packages.
    """
    begun = session.token
    same = (
        token.groups == begun.groups
        and token.integrity == begun.integrity
        and not token.user_is_deny_only
        and not token.restricting_sids
        and token.package is None
    )
    if not same:
        raise ImpersonationRefusedError(
            "the kernel cannot express a token with other groups or integrity than "
            "its logon session's"
        )


def _nothing() -> None:
    """Leave what changed nothing."""


def _in_tokens_alone() -> Entered:
    return _IN_TOKENS_ALONE


_IN_TOKENS_ALONE: Final[Entered] = Given(
    is_kernel=False, leave=_nothing, again=_in_tokens_alone
)
