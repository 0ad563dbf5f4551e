"""What a request must be like before anybody does anything about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stead.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stead.privileged.broker_wire import Request


class Phase(enum.Flag):
    """How far a connection has come."""

    NEW = enum.auto()
    """Nothing was said."""
    GREETED = enum.auto()
    """The hello was answered."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When and how something may be asked.

    Attributes:
        phase: in which phase.
        fields: what a request says, and no more but `optional`.
        fewest: the least number of descriptors that come with it.
        most: the greatest.
        act: what the service must be allowed to do; empty for nothing.
        handle: does it.
        optional: what it may say beside.
    """

    phase: Phase
    fields: Mapping[str, type]
    fewest: int
    most: int
    act: str
    handle: Callable[[Any, Request], None]
    optional: Mapping[str, type] = field(default_factory=dict)

    def require(self, request: Request, phase: Phase, may: frozenset[str]) -> None:
        """Refuse a request that is not as it must be.

        Raises:
            RemoteProtocolError: it is not.
        """
        if not phase & self.phase:
            raise RemoteProtocolError(f"`{request.name}` is out of phase")
        if self.act and self.act not in may:
            raise RemoteProtocolError(f"the service may not `{request.name}`")
        if not self.fewest <= len(request.descriptors) <= self.most:
            raise RemoteProtocolError(f"`{request.name}` brings other descriptors")
        kinds = {name: type(value) for name, value in request.fields.items()}
        said = {name: kind for name, kind in self.optional.items() if name in kinds}
        if kinds != {**self.fields, **said}:
            raise RemoteProtocolError(f"`{request.name}` says something else")
