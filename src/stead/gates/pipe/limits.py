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
        exchange: the same while a client is authenticated that asked for it: a ticket
            with all of somebody's groups takes that much.
        rounds: challenges in such an exchange; none that is known has more than four.
        depth: nesting of a value. JSON goes deeper than any reader's stack.
        items: values in one message. Half a million empty lists fit in a frame, but
            take 30 MB once read, and everybody's time; longer answers come in pages.
        large: bytes above which a message is read and written by a worker, one at a
            time for each uid, so that the loop serves the others meanwhile.
        in_flight: requests of one client that are not answered yet. When they are
            reached, or their bodies fill a frame, the gate stops reading: the client
            waits, memory does not grow.
        bytes_per_uid: what the requests of one uid may hold, over all its connections:
            each its body and, until its answer is read, room for the largest answer
            or what the answer has turned out to be. Some thirty requests run at once.
        clients: connections to one gate; each takes two of the process's descriptors,
            of which many systems grant 1024.
        clients_per_uid: connections of one uid, so that one cannot use up `clients`;
            over the network, of one address.
        pending: connections whose clients have not said Hello, or have not answered a
            challenge; one of them makes room for who comes, the longest silent of the
            uid, or address, that has most. None for as many as there are places.
        reserve: connections beyond `clients`, for root and the server's own uid alone:
            whoever administers the server gets in when it is full. Also how many that
            had to make room may still be leaving.
        hello_seconds: from connecting to a whole Hello; a client sends it at once. As
            long again for each response to a challenge.
        frame_seconds: from a message's first byte to its last, so that a slow sender
            does not hold its place for ever.
        send_seconds: how long a peer may leave an answer unread.
        idle_seconds: how long a client may stay silent; None is for ever. Whoever is
            forgotten for a quarter of an hour can connect again.
        report_seconds: how often, at most, it is reported that clients are turned away.
    """

    frame: int = 1 << 20
    opening: int = 4096
    exchange: int = 1 << 17
    rounds: int = 8
    depth: int = 32
    items: int = 1 << 12
    large: int = 1 << 16
    in_flight: int = 16
    bytes_per_uid: int = 1 << 25
    clients: int = 256
    clients_per_uid: int = 32
    pending: int | None = None
    reserve: int = 8
    hello_seconds: float = 5.0
    frame_seconds: float = 30.0
    send_seconds: float = 30.0
    idle_seconds: float | None = 900.0
    report_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise InvalidRequestError(f"limit `{name}` must be more than nothing")
