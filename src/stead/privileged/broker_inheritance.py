"""What the broker hands the monitor that it forks for one server."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import mmap
    import socket

    from stead.privileged.broker_config import BrokerConfig, Service

PULSE: Final = struct.Struct("d")
"""What a monitor says of its life, and where: a moment in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the broker hands its monitor.

    Attributes:
        control: the server's connection.
        service: whose it is.
        config: what the broker was told.
        gates: the listening sockets of the service's gates, in the order of its gates.
        passwords: a pipe with one byte for each password that may be tried now.
        broker: a pipe that ends with the broker.
        pulse: memory that the broker looks into: when the monitor was last alive.
    """

    control: socket.socket
    service: Service
    config: BrokerConfig
    gates: tuple[socket.socket, ...]
    passwords: int
    broker: int
    pulse: mmap.mmap

    def beat(self) -> None:
        """Say that the monitor is alive."""
        self.pulse[:] = PULSE.pack(time.monotonic())
