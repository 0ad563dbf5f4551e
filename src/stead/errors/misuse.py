"""Stead is used out of order: our caller's mistake, never a client's."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "HandleClosedError",
    "LateImportError",
    "LoopThreadError",
    "NoProcessTokenError",
    "NoThreadTokenError",
    "RevertOrderError",
    "SecretUsedError",
    "ServerClosedError",
    "StrangerIdentityError",
]


class NoThreadTokenError(SteadError):
    """This thread impersonates nobody."""

    status = 1008
    win32_name = "ERROR_NO_TOKEN"
    public = "the request failed"


class NoProcessTokenError(SteadError):
    """No server is open in this process, so it has no primary token."""

    status = 1008
    win32_name = "ERROR_NO_TOKEN"
    public = "the request failed"


class StrangerIdentityError(SteadError):
    """A thread or task found an identity that another one entered."""

    status = 1008
    win32_name = "ERROR_NO_TOKEN"
    public = "the request failed"


class LoopThreadError(SteadError):
    """Impersonation was to be entered on an event loop's own thread."""

    status = 1008
    win32_name = "ERROR_NO_TOKEN"
    public = "the request failed"


class RevertOrderError(SteadError):
    """A block was left out of order, twice, or where it was not entered."""

    public = "the request failed"


class LateImportError(SteadError, RuntimeError):
    """A module was to be imported for the first time while the thread is a client."""

    public = "the request failed"


class SecretUsedError(SteadError):
    """A secret was wiped after its use, and is asked for again."""

    status = 6
    win32_name = "ERROR_INVALID_HANDLE"


class HandleClosedError(SteadError):
    """The handle is closed."""

    status = 6
    win32_name = "ERROR_INVALID_HANDLE"
    public = "the request failed"


class ServerClosedError(SteadError):
    """The server is closed, or is closing."""

    status = 1115
    win32_name = "ERROR_SHUTDOWN_IN_PROGRESS"
    public = "the server is shutting down"
