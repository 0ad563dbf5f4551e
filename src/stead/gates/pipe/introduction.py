"""What a client says of itself before its first message: at a broker's gates.

Its level, in the name of its socket, where a broker hears it and no server can change
it (`stead.privileged.stated_level`); and a ticket, where it is asked for one.
"""

from __future__ import annotations

import socket
import sys
from typing import Protocol

from stead.errors import (
    RequestTimeoutError,
    ServerUnavailableError,
    SteadError,
)
from stead.model.arguments import require_kind
from stead.model.token import ImpersonationLevel
from stead.privileged.stated_level import state_level


class ShownTicket(Protocol):
    """What proves who the client is before it says anything else."""

    def show(self, connected: socket.socket, seconds: float | None) -> None:
        """Prove it to the broker that accepts clients there.

        Args:
            connected: just connected, by a socket of `introduced`.
            seconds: how long it may take; None for ever.

        Raises:
            LogonFailureError: it is not admitted.
            TimeoutError: there was no answer in time.
            OSError: the connection failed.
        """


def introduced(
    level: ImpersonationLevel, ticket: ShownTicket | None = None
) -> socket.socket:
    """Return a socket that says by its name how far its client lets a server go.

    Who lets itself be impersonated need not say so. A ticket is bound to the name.

    Args:
        level: that.
        ticket: what will be shown.
    """
    require_kind("level", level, ImpersonationLevel, "such as `.IDENTIFICATION`")
    made = socket.socket(socket.AF_UNIX)
    is_named = level < ImpersonationLevel.IMPERSONATION or ticket is not None
    if is_named and sys.platform == "linux":  # brokers are nowhere else
        try:
            state_level(made, level.name.lower())
        except BaseException:
            made.close()
            raise
    return made


def show(ticket: ShownTicket, connected: socket.socket, seconds: float | None) -> None:
    """Show a ticket.

    Raises:
        LogonFailureError: the broker refuses it.
        RequestTimeoutError: there was no answer in time.
        ServerUnavailableError: the broker closed the connection.
        SteadError: what `ticket` raises.
    """
    try:
        ticket.show(connected, seconds)
    except SteadError:
        raise  # some are OSErrors, too
    except TimeoutError as error:
        raise RequestTimeoutError("the broker did not answer in time") from error
    except OSError as error:
        raise ServerUnavailableError("the broker closed the connection") from error
