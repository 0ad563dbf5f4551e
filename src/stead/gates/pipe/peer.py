"""Who is at the other end of a local socket, as the kernel vouches for it.

All of it is a snapshot of the moment of connecting: whoever writes to the socket later
(a set-uid program that inherited it, say) does not become the peer. That is why the
credentials that ride on single messages (SCM_CREDENTIALS) are never asked for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol

from stead.gates.ports import Ticket
from stead.privileged.peers import peer_credentials, peer_groups, peer_pidfd


class Peer(Protocol):
    """Whoever is at the other end, as its gate counts and names it."""

    @property
    def origin(self) -> Hashable:
        """Whose connections are counted together."""
        ...

    def describe(self) -> str:
        """Return the peer in words, for logs and the trail."""
        ...

    def close(self) -> None:
        """Let go of what is held of it; the gate calls this, once."""


@dataclass(frozen=True, slots=True)
class PeerEvidence:
    """What the gate saw for itself about a peer.

    Attributes:
        uid: its effective uid when it connected.
        gid: its effective gid then.
        groups: its supplementary groups then.
        pid: its process number then; numbers come again, so it is for people to read.
        pidfd: a descriptor of that very process, or None where the kernel gives none.
            It belongs to the gate, which closes it when the connection has ended;
            whoever needs it longer duplicates it.
        gate: the gate that saw it.
        ticket: by what a broker knows the client, if it came through one; the gate's,
            too, to be closed with the evidence.
        principal: whose Kerberos ticket the broker has seen: then uid, gid and groups
            are that account's, whoever it was that connected. Empty without one.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    pid: int
    pidfd: int | None = None
    gate: str = "pipe"
    ticket: Ticket | None = field(default=None, compare=False)
    principal: str = ""

    @property
    def origin(self) -> int:
        """Whose connections are counted together: one uid's."""
        return self.uid

    def describe(self) -> str:
        """Return the peer in words, for logs and the trail."""
        who = f"uid {self.uid} pid {self.pid}"
        return f"{self.principal}, {who}" if self.principal else who

    def close(self) -> None:
        """Close pidfd and ticket; the gate calls this, once."""
        if self.pidfd is not None:
            os.close(self.pidfd)
        if self.ticket is not None:
            self.ticket.close()


def peer_evidence(
    connected: socket.socket, ticket: Ticket | None = None
) -> PeerEvidence:
    """Ask the kernel who connected.

    Args:
        connected: an accepted socket.
        ticket: what a broker gave with it; the evidence's from now on.

    Raises:
        RemoteProtocolError: the socket has no peer whom the kernel knows.
        OSError: the kernel has no memory or descriptor left for the answer.
    """
    pid, uid, gid = peer_credentials(connected)
    groups, principal = peer_groups(connected), ""
    if ticket is not None and ticket.principal:
        who, principal = ticket.identity, ticket.principal
        uid, gid, groups = who.uid, who.gid, who.groups
    pidfd = peer_pidfd(connected)
    return PeerEvidence(
        uid, gid, groups, pid, pidfd, ticket=ticket, principal=principal
    )
