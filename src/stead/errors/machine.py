"""What the machine, its folders or its libraries do not give: no start."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "EnforcementUnavailableError",
    "MissingExtraError",
    "PipeBusyError",
    "UnsafeConfigurationError",
    "UnsafePipeError",
    "UnsafeStoreError",
]


class EnforcementUnavailableError(SteadError):
    """The kernel cannot enforce here what was asked for; nothing degrades silently."""

    status = 50
    win32_name = "ERROR_NOT_SUPPORTED"
    public = "the request is not supported"


class MissingExtraError(EnforcementUnavailableError, ModuleNotFoundError):
    """A library that an extra brings is not installed; `advice` names the extra."""


class UnsafeConfigurationError(SteadError):
    """Somebody but root may write what root is told by, or it says nonsense."""

    status = 5
    win32_name = "ERROR_ACCESS_DENIED"
    public = "the server is not available"


class UnsafeStoreError(SteadError):
    """Somebody else may write the store or its folder: a refusal to start."""

    status = 5
    win32_name = "ERROR_ACCESS_DENIED"
    public = "the server is not available"


class UnsafePipeError(SteadError):
    """Somebody else may write the pipe's folder or holds its name: no start."""

    status = 5
    win32_name = "ERROR_ACCESS_DENIED"
    public = "the server is not available"


class PipeBusyError(SteadError):
    """Another server answers at this pipe."""

    status = 231
    win32_name = "ERROR_PIPE_BUSY"
    public = "the server is not available"
