"""What the DDE gate asks of whoever stands behind it.

The gate speaks the protocol and knows who is at the other end. Behind it stands a
`DdeHost`: it accepts conversations, and each is a `DdeSide` that answers transactions.
All of it is called on the loop's thread, where nothing may wait but by `await`.

Advised data is asked for, not handed over: the host says that there is news, as often
as it likes, and the gate takes the latest value when the client can be sent one. So
nothing queues for a slow client, and whoever judges does so at the moment of sending.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol, Self

from stead.gates.dde.values import plain_copy
from stead.gates.pipe.peer import PeerEvidence
from stead.model.quality_of_service import QualityOfService

TEXT: Final = "text"
BYTES: Final = "bytes"
JSON: Final = "json"


class AdviseKind(Enum):
    """Whether an advise brings the new values, or only says that there are some."""

    HOT = "hot"
    WARM = "warm"


@dataclass(frozen=True, slots=True)
class DdeData:
    """An item's value, in a format.

    Attributes:
        value: text, bytes, or what JSON holds.
        format: the format's name; both sides know what it means.
    """

    value: Any
    format: str = TEXT

    @classmethod
    def of(cls, value: object, data_format: str | None = None) -> Self:
        """Return a value, copied, in the format that fits it or the one given.

        Raises:
            InvalidRequestError: it is neither text, bytes nor what JSON holds, or
                too large for an item.
        """
        copy = plain_copy(value)
        if data_format is not None:
            return cls(copy, data_format)
        if isinstance(copy, str):
            return cls(copy)
        return cls(copy, BYTES if isinstance(copy, bytes) else JSON)


class DdeSide(Protocol):
    """The server's side of one conversation. Its transactions may overlap.

    Each method raises `SteadError` for what is refused, of which the client hears
    `public_refusal`. `DdeBusyError` asks it to come again later; what says that the
    logon session has ended ends the conversation too.
    """

    @property
    def qos(self) -> QualityOfService:
        """What was granted; never more than what the client set."""
        ...

    async def request(self, item: str) -> DdeData:
        """Return an item's value."""
        ...

    async def poke(self, item: str, data: DdeData) -> None:
        """Take a value for an item."""

    async def execute(self, command: str) -> None:
        """Run a command."""

    async def advise(
        self, item: str, kind: AdviseKind, news: Callable[[], None]
    ) -> None:
        """Begin to tell of an item's new values.

        Args:
            item: its name.
            kind: what is told.
            news: called on the loop's thread whenever there is something to tell, or
                the advise has to end: then `latest` is asked for, when the client can
                be sent it. It returns at once; calls that come together count as one.
        """

    async def latest(self, item: str) -> DdeData | None:
        """Return an advised item's latest value, judged now; None of a warm advise.

        The gate sends it at once, or throws it away and asks again later. One call
        for an item runs at a time, and none once it is unadvised.

        Raises:
            SteadError: the client may have it no more. That advise is over, and
                `unadvise` is not called for it.
        """
        ...

    async def unadvise(self, item: str) -> None:
        """Tell of an item no more, at the client's wish."""

    async def close(self) -> None:
        """End the conversation and what it still advises; called once, at its end.

        Its last transactions have ended; nothing more is sent to the client.
        """


class DdeHost(Protocol):
    """What stands behind the gate."""

    async def connect(
        self,
        evidence: PeerEvidence,
        qos: QualityOfService,
        *,
        service: str,
        topic: str,
        correlation: str | None,
    ) -> DdeSide:
        """Begin a conversation about a topic.

        Args:
            evidence: what the gate saw for itself about the peer.
            qos: what the client has set; fixed for this conversation.
            service: the service's name, as the client spells it.
            topic: the topic's.
            correlation: the client's own name for its visit, unverified.

        Raises:
            SteadError: no conversation is established; its client hears
                `public_refusal`.
        """
        ...
