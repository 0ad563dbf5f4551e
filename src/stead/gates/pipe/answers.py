"""The frames of answers, written before they are sent, on whichever thread."""

from __future__ import annotations

import logging

from stead.errors import InvalidMessageError, SteadError
from stead.gates.pipe.frames import write_frame
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import Refusal, Result, result, write_message
from stead.gates.ports import public_refusal

logger = logging.getLogger(__name__)


def result_frame(number: int, value: object, limits: PipeLimits) -> bytes:
    """Return the frame of an operation's answer.

    Raises:
        InvalidMessageError: JSON cannot hold the value, or it does not fit.
    """
    return answer_frame(result(number, value), limits)


def answer_frame(answer: Result | Refusal, limits: PipeLimits) -> bytes:
    """Return the frame of an answer.

    Raises:
        InvalidMessageError: it is not valid, or does not fit.
    """
    return write_frame(write_message(answer, limits), limits.frame)


def refusal_of(number: int, error: Exception) -> Refusal:
    """Return what a client hears of an error.

    Args:
        number: the request's; 0 refuses the client itself.
        error: a refusal, or any failure of the server's own code.
    """
    public = public_refusal(error)
    return Refusal(
        id=number, status=public.status, message=public.message, record=public.record
    )


def log_failure(who: str, error: Exception, act: str) -> None:
    """Log a refusal in a word, a fault of the server's own code in full."""
    if isinstance(error, SteadError) and not isinstance(error, InvalidMessageError):
        logger.debug("`%s` of %s refused", act, who)
    else:
        logger.error("`%s` of %s failed", act, who, exc_info=error)
