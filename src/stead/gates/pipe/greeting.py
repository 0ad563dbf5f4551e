"""How a gate comes to know a client, before anybody is asked to admit it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from stead.errors import RemoteProtocolError
from stead.gates.pipe.peer import Peer, PeerEvidence
from stead.gates.pipe.shares import Share

PeerT_co = TypeVar("PeerT_co", bound=Peer, covariant=True)
EvidenceT_co = TypeVar("EvidenceT_co", covariant=True)


class Dialogue(Protocol):
    """Asks a client what it has to be asked to know who it is."""

    async def ask(self, challenge: bytes) -> bytes:
        """Send a challenge, and return how the client responds to it.

        Raises:
            RemoteProtocolError, TimeoutError, ConnectionError: it does not; there is
                nobody left to be admitted.
        """
        ...

    def conclude(self, blob: bytes) -> None:
        """Have this said with the welcome: the last word of an exchange."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return a block in which the client does nothing but wait.

        It makes room meanwhile for who needs it: the block is cancelled then.
        """
        ...


class Greeting(Protocol[PeerT_co, EvidenceT_co]):
    """What is done for each connection, from accepting it to its evidence."""

    @property
    def peer(self) -> PeerT_co:
        """Who connected, as far as that is seen at once."""
        ...

    async def prepare(self, share: Share) -> None:
        """Agree on the channel, before the first message.

        Args:
            share: the client's; what takes computing is done there.

        Raises:
            ConnectionError: they do not agree.
        """

    def evidence(self, package: str | None, dialogue: Dialogue) -> EvidenceT_co:
        """Return who the client is.

        Args:
            package: by what it asks to be authenticated; None if it does not.
            dialogue: asks it.

        Raises:
            RemoteProtocolError: it may not ask for that here.
        """
        ...

    def fault_of(self, error: Exception) -> str:
        """Return why a client is turned away whose channel failed; empty if it left."""
        ...


@dataclass(frozen=True, slots=True)
class LocalGreeting:
    """A local client is known when it connects: the kernel has said who it is.

    Attributes:
        peer: that.
    """

    peer: PeerEvidence

    async def prepare(self, share: Share) -> None:
        """Do nothing: a local socket needs no protection."""

    def evidence(self, package: str | None, dialogue: Dialogue) -> PeerEvidence:  # noqa: ARG002 - nobody is asked
        """Return what the kernel says; there is nothing else to show here."""
        if package is not None:
            raise RemoteProtocolError("a local client is known to the kernel")
        return self.peer

    def fault_of(self, error: Exception) -> str:  # noqa: ARG002 - it is nobody's fault
        """Return nothing: who is gone is gone."""
        return ""
