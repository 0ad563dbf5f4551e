"""Every bound of the pipe in one place, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from stead.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class PipeLimits:
    """What one peer may cost the other.

    Attributes:
        frame: bytes in one message. 1 MiB holds any request and a fair-sized file;
            larger content belongs in a descriptor or in several calls.
        opening: bytes in one message before the conversation stands. Whoever is not
            admitted yet may not make the server hold more than a page.
        depth: nesting of a value. JSON goes deeper than any reader's stack.
        items: values in one message. A million empty lists fit in a frame of 3 MB
            but take 60 MB once read, and the loop's whole attention.
        in_flight: requests of one client that are not answered yet. When they are
            reached, or their bodies fill a frame, the gate stops reading: the client
            waits, memory does not grow.
        clients: connections to one gate; each takes two of the process's descriptors,
            of which many systems grant 1024.
        clients_per_uid: connections of one uid, so that one cannot use up `clients`.
        hello_seconds: from connecting to a whole Hello; a client sends it at once.
        frame_seconds: from a message's first byte to its last, so that a slow sender
            does not hold its place for ever.
        send_seconds: how long a peer may leave an answer unread.
        idle_seconds: how long a client may stay silent; None is for ever.
    """

    frame: int = 1 << 20
    opening: int = 4096
    depth: int = 32
    items: int = 1 << 16
    in_flight: int = 16
    clients: int = 256
    clients_per_uid: int = 32
    hello_seconds: float = 5.0
    frame_seconds: float = 30.0
    send_seconds: float = 30.0
    idle_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise InvalidRequestError(f"limit `{name}` must be more than nothing")
