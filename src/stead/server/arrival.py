"""How a client came to a server's door, and what records say of it before it is in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from stead.errors import SteadError
from stead.model import trace_context
from stead.model.arguments import require_kind, require_text
from stead.model.audit_record import Principal
from stead.model.logon_record import LOGON_FAILURE, LogonType, sub_status
from stead.model.luid import NO_LUID, Luid
from stead.model.quality_of_service import QualityOfService
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.ports import Subject
from stead.monitor.tracing import incoming_trace


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a client came.

    Attributes:
        gate: `pipe`, `http`, `local`.
        peer: what the gate knows of the other end.
        correlation: what ties its records together.
        package: what authenticated it.
        authenticated_by: who vouches for it.
        within: the session of the client that handed its password in, if one did.
        wait: waits for the seconds by which a failure's answer is late; as the server
            does if None.
    """

    gate: str
    peer: str
    correlation: str
    package: str
    authenticated_by: str
    within: Luid = NO_LUID
    wait: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        """Refuse what no record could hold; raises `InvalidRequestError`."""
        for what in ("gate", "peer", "package", "authenticated_by"):
            require_text(what, getattr(self, what))


def quality_at(level: ImpersonationLevel) -> QualityOfService:
    """Return what a client lets be done that has stated a level and no more."""
    return QualityOfService(level, effective_only=False)


def nobody(principal: Principal, arrival: Arrival) -> Subject:
    """Return the subject of records about somebody who is not admitted."""
    return Subject(
        AccessToken(principal.sid, level=ImpersonationLevel.ANONYMOUS),
        principal,
        gate=arrival.gate,
        peer=arrival.peer,
        correlation=arrival.correlation,
        authenticated_by=arrival.authenticated_by,
    )


def failure_detail(
    error: SteadError, logon_type: LogonType, arrival: Arrival
) -> dict[str, str]:
    """Return what records say of somebody who was not let in."""
    return {
        "logon type": logon_type.name.lower(),
        "package": arrival.package,
        "status": f"0x{LOGON_FAILURE:08X}",
        "sub status": f"0x{sub_status(error):08X}",
    }


def new_correlation(given: str | None = None) -> str:
    """Return what ties one client's records together (`stead.model.trace_context`).

    Args:
        given: what the client calls what it does; a request's own `traceparent` is
            taken where a gate has read one (`stead.monitor.tracing`).
    """
    require_kind("correlation", given, (str, type(None)), "it is text")
    return trace_context.new_correlation(given or incoming_trace(), secrets.token_bytes)
