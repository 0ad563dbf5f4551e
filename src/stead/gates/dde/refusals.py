"""What the gate makes of a host's failures: words for the log, and for the client."""

from __future__ import annotations

import logging

from stead.errors import InvalidMessageError, OperationFailedError, SteadError
from stead.gates.dde.messages import Value, value_of
from stead.gates.dde.ports import DdeData


def value_from_host(data: DdeData) -> Value:
    """Return what a host gives as a part of a message.

    Raises:
        OperationFailedError: it is none that an item can have: the host's mistake.
    """
    try:
        return value_of(data)
    except InvalidMessageError as error:
        raise OperationFailedError("the host gives what no item can be") from error


def log_failure(logger: logging.Logger, error: Exception, act: str) -> None:
    """Log a refusal in a word, a fault of the server's own code in full."""
    if isinstance(error, SteadError) and not isinstance(error, OperationFailedError):
        logger.debug("`%s` refused: %s", act, error)
    else:
        logger.error("`%s` failed", act, exc_info=error)
