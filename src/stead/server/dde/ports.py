"""A conversation, and what it asks of the topic it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stead.gates.dde.ports import DdeData
from stead.model.quality_of_service import QualityOfService
from stead.monitor.recorder import Parts
from stead.monitor.securable_object import SecurableObject
from stead.server.client_context import ClientContext
from stead.server.dde.advises import Advise


@dataclass(frozen=True, slots=True)
class DdeConversation:
    """What a topic's own functions are told about who asks.

    Attributes:
        client: the client, for this one transaction.
        service: the service's name.
        topic: the topic's name.
        quality_of_service: what was granted when the conversation started.
    """

    client: ClientContext
    service: str
    topic: str
    quality_of_service: QualityOfService


class Topic(Protocol):
    """What a conversation is about. Calls are made on handlers' threads."""

    @property
    def name(self) -> str:
        """Its name, as the server spells it."""
        ...

    @property
    def securable(self) -> SecurableObject:
        """The object that guards it."""
        ...

    def read(self, conversation: DdeConversation, item: str) -> DdeData:
        """Return an item's value to a client that may have it.

        Raises:
            AccessDeniedError: it may not, or there is no such item; recorded.
            DdeBusyError: the source has not yielded anything yet.
            DdeNotProcessedError: the topic does not do that, or its source failed.
            OperationFailedError: the server's own code failed.
        """
        ...

    def poke(self, conversation: DdeConversation, item: str, data: DdeData) -> None:
        """Take a value from a client that may give it; raises as `read` does."""

    def execute(self, conversation: DdeConversation, command: str) -> None:
        """Run a command for a client that may; raises as `read` does."""

    def advise(
        self,
        conversation: DdeConversation,
        item: str,
        ring: Callable[[], None],
        *,
        is_hot: bool,
    ) -> Advise:
        """Judge a wish to be told of an item; raises as `read` does."""
        ...


def about(conversation: DdeConversation, topic: Topic) -> Parts:
    """Return what records of a conversation say of it."""
    granted = conversation.quality_of_service
    return {
        "object_type": topic.securable.kind.name,
        "object_name": topic.securable.name,
        "detail": {
            "service": conversation.service,
            "topic": conversation.topic,
            "level": granted.level.name.lower(),
            "tracking": granted.tracking.name.lower(),
            "effective only": "yes" if granted.effective_only else "no",
        },
    }
