"""What a refused caller hears: a code, one sentence, and the number of the record."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import grpc

from stead.errors import SteadError
from stead.gates.ports import public_refusal, tell_operator

logger = logging.getLogger(__name__)

# By the Win32 code of what the client may hear (`public_refusal`).
_CODES: Final[Mapping[int, grpc.StatusCode]] = {
    1: grpc.StatusCode.UNIMPLEMENTED,  # ERROR_INVALID_FUNCTION: no such operation
    5: grpc.StatusCode.PERMISSION_DENIED,  # ERROR_ACCESS_DENIED
    50: grpc.StatusCode.UNIMPLEMENTED,  # ERROR_NOT_SUPPORTED
    1115: grpc.StatusCode.UNAVAILABLE,  # ERROR_SHUTDOWN_IN_PROGRESS
    1306: grpc.StatusCode.ABORTED,  # ERROR_REVISION_MISMATCH
    1307: grpc.StatusCode.PERMISSION_DENIED,  # ERROR_INVALID_OWNER
    1312: grpc.StatusCode.UNAUTHENTICATED,  # ERROR_NO_SUCH_LOGON_SESSION
    1314: grpc.StatusCode.PERMISSION_DENIED,  # ERROR_PRIVILEGE_NOT_HELD
    1316: grpc.StatusCode.ALREADY_EXISTS,  # ERROR_USER_EXISTS
    1326: grpc.StatusCode.UNAUTHENTICATED,  # ERROR_LOGON_FAILURE
    1346: grpc.StatusCode.PERMISSION_DENIED,  # ERROR_BAD_IMPERSONATION_LEVEL
    1359: grpc.StatusCode.INTERNAL,  # ERROR_INTERNAL_ERROR
    1722: grpc.StatusCode.UNAVAILABLE,  # RPC_S_SERVER_UNAVAILABLE
}

Answer = tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]
"""A code, a sentence, and trailing metadata."""


def answer_of(error: Exception, method: str) -> Answer:
    """Return what a caller hears of an error; a failure of our own code is logged.

    The library itself would tell the caller the error's own words.
    """
    if isinstance(error, SteadError):
        tell_operator(error, logger)
    else:
        logger.error("`%s` failed", method, exc_info=error)
    refusal = public_refusal(error)
    code = _CODES.get(refusal.status, grpc.StatusCode.INVALID_ARGUMENT)
    more = [("stead-status", str(refusal.status))]
    if refusal.record is not None:
        more.append(("stead-record", str(refusal.record)))
    return code, refusal.message, tuple(more)
