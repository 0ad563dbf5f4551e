"""Processes and workers of a client: not started, too many, lost."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "LauncherUnavailableError",
    "ProcessTimeoutError",
    "QuotaExceededError",
    "WorkerFailedError",
    "WorkerLostError",
]


class LauncherUnavailableError(SteadError):
    """The process that starts clients' processes is gone, or did not answer."""

    status = 1062
    win32_name = "ERROR_SERVICE_NOT_ACTIVE"
    public = "the server is not available"


class QuotaExceededError(SteadError):
    """One client has as many processes or workers as it may have."""

    status = 1816
    win32_name = "ERROR_NOT_ENOUGH_QUOTA"
    public = "the server is too busy with this client"


class ProcessTimeoutError(SteadError, TimeoutError):
    """A client's process or function did not end in time; its tree is ended."""

    status = 1460
    win32_name = "ERROR_TIMEOUT"
    public = "the request took too long"


class WorkerLostError(SteadError):
    """A client's worker ended before it answered; what it did so far is done."""

    status = 1726
    win32_name = "RPC_S_CALL_FAILED"
    public = "the request failed"


class WorkerFailedError(SteadError):
    """A function raised, in a client's worker, what is not one of Python's own errors.

    Attributes:
        type_name: the class of what it raised, as the worker spells it.
        remote_traceback: the traceback, as the worker spells it.
    """

    status = 1359
    win32_name = "ERROR_INTERNAL_ERROR"
    public = "the request failed"

    def __init__(
        self,
        message: str,
        *,
        type_name: str,
        remote_traceback: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.type_name = type_name
        self.remote_traceback = remote_traceback
