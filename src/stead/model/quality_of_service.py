"""What a client lets a server do with its identity (SECURITY_QUALITY_OF_SERVICE)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stead.model.token import ImpersonationLevel


class Tracking(Enum):
    """Whether the server knows the client as it was, or as it is by now."""

    STATIC = "static"
    DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True)
class QualityOfService:
    """What a server may do with a client's identity; the defaults are Windows's.

    Attributes:
        level: how far it may use it.
        tracking: as it was when the conversation began, or as it is by now.
        effective_only: whether groups and privileges that are disabled stay so.
    """

    level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION
    tracking: Tracking = Tracking.STATIC
    effective_only: bool = True

    def exceeds(self, asked: QualityOfService) -> bool:
        """Tell whether it gives a server more than was asked for."""
        return (
            self.level > asked.level
            or (self.tracking, asked.tracking) == (Tracking.DYNAMIC, Tracking.STATIC)
            or (asked.effective_only and not self.effective_only)
        )
