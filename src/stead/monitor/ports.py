"""What the guard needs from the rest of the house, as Protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stead.errors import SteadError
from stead.model.audit_policy import AuditPolicy
from stead.model.audit_record import AuditRecord, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.model.token import AccessToken


class AuditSink(Protocol):
    """Where records go."""

    def record(self, record: AuditRecord, *, is_reserved: bool = False) -> int:
        """Return its number once the record is durable.

        Args:
            record: what is about to happen.
            is_reserved: whether it may use the room that is kept for administrators.

        Raises:
            LedgerUnavailableError: it could not be made durable; do nothing then.
        """
        ...

    def cover(self, record: AuditRecord) -> None:
        """Take a record of what another, durable one announces; waits for nothing.

        Raises:
            LedgerUnavailableError: it may not become durable; do nothing then.
        """
        ...

    def is_well(self) -> bool:
        """Tell whether `cover` would take a record now, as far as is known."""
        ...

    def queue(self, record: AuditRecord) -> None:
        """Take a record nobody waits for; never blocks, never raises."""

    def count(self, record: AuditRecord, kind: str) -> None:
        """Take a record that is told together with others of its kind, as `queue`."""


class AuditRules(Protocol):
    """Knows what is recorded beyond what always is."""

    def known(self) -> AuditPolicy:
        """Return the policy as it was last read; never waits."""
        ...

    def in_force(self) -> AuditPolicy:
        """Return the policy, read again where it is known for too long.

        What cannot be read again stays in force.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedRules:
    """Rules that nobody changes; as they stand here, everything is recorded."""

    policy: AuditPolicy = field(default_factory=AuditPolicy)

    def known(self) -> AuditPolicy:
        """Return the policy."""
        return self.policy

    in_force = known


class Entered(Protocol):
    """An identity that an `Enforcer` gave to this thread."""

    @property
    def is_kernel(self) -> bool:
        """Whether the kernel now judges this thread as that identity."""
        ...

    @property
    def look(self) -> Callable[[object], None] | None:
        """Raises if opening a path could keep this thread for ever.

        None where the kernel does not judge.
        """
        ...

    @property
    def again(self) -> Callable[[], Entered] | None:
        """Gives the same once more, on this thread while the session is believed.

        None if everything has to be asked again.
        """
        ...

    def leave(self) -> None:
        """Give it back; stop the process if the kernel does not."""


@dataclass(frozen=True, slots=True)
class Given:
    """An identity, by what gives it back; see `Entered`."""

    is_kernel: bool
    leave: Callable[[], None]
    look: Callable[[object], None] | None = None
    again: Callable[[], Entered] | None = None


class Enforcer(Protocol):
    """Makes this thread somebody, as far as this machine and thread allow."""

    def enter(self, token: AccessToken | None) -> Entered:
        """Make this thread the token's user, or (None) the server again.

        Raises:
            ImpersonationRefusedError: the kernel cannot be made to judge as this
                token; the thread is what it was before.
        """
        ...


class Standing(Protocol):
    """How long one session is believed, without asking anybody."""

    def good_at(self) -> int:
        """Return this moment, in nanoseconds that never step; 0 if it must be asked."""
        ...


class SessionLiveness(Protocol):
    """Knows which logon sessions live, and keeps those alive that are acted in."""

    def require_live(self, token: AccessToken) -> None:
        """Return if the token's session lives.

        Raises:
            LogonSessionEndedError: it has ended, or never was.
        """

    def hold(self, token: AccessToken, by: object = None) -> None:
        """Keep the token's session alive until `release` by the same; raises as above.

        Whoever names itself holds it once, however often it says so.
        """

    def retain(self, token: AccessToken, by: object) -> None:
        """Hold as above, on what is known: the store is not asked, nor waited for.

        Whether the session is still fit is asked when it is acted in.
        """

    def standing(self, token: AccessToken) -> Standing | None:
        """Return how the token's session stands; None if more has to be looked at."""
        ...

    def release(self, logon_id: Luid, by: object = None) -> bool:
        """Give up a hold; return whether that ended the session. Waits for nothing.

        Giving up again what has a name does nothing.
        """
        ...


class Names(Protocol):
    """Prints SIDs for people."""

    def __call__(self, sid: Sid, /) -> str:
        """Return the name of a SID, or its text."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """On whose behalf something is asked, and how they came.

    Attributes:
        token: what is judged.
        principal: who, as records print it.
        gate: how they came: `pipe`, `http`, `local`.
        peer: what the gate knows of the other end.
        correlation: what ties the records of one request together, in the form of
            `stead.model.trace_context`.
        authenticated_by: who vouches for them, in words.
        effective_only: whether nothing of the token may be enabled that is not (Win32:
            SECURITY_QUALITY_OF_SERVICE.EffectiveOnly).
        through: in whose blocks, the outermost first, the identity was carried away
            (`stead.monitor.carrying`).
        operation: the operation in which this is asked, if it is in one.
    """

    token: AccessToken
    principal: Principal
    gate: str = ""
    peer: str = ""
    correlation: str = ""
    authenticated_by: str = ""
    effective_only: bool = False
    through: tuple[Principal, ...] = ()
    operation: str = ""

    def __post_init__(self) -> None:
        if self.principal.sid != self.token.user:
            raise SteadError("a subject's name and token are of two users")
