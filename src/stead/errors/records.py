"""The store and the trail: without them nothing is done."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "IndexDamagedError",
    "LedgerCorruptError",
    "LedgerFullError",
    "LedgerUnavailableError",
    "SinkUnavailableError",
    "StoreFullError",
    "StoreSilentError",
    "StoreUnavailableError",
    "StoreUnflushedError",
    "WitnessDisagreesError",
    "WitnessUnavailableError",
]


class StoreUnavailableError(SteadError):
    """The store cannot be read or written; nothing was changed."""

    status = 1117
    win32_name = "ERROR_IO_DEVICE"
    public = "the server is not available"


class StoreFullError(StoreUnavailableError):
    """The disk that the store lies on is full; nothing was changed."""

    status = 112
    win32_name = "ERROR_DISK_FULL"


class StoreSilentError(StoreUnavailableError):
    """The store does not answer in time; nor would its trail."""


class IndexDamagedError(StoreUnavailableError):
    """What is derived from the store holds what was never written; it is made anew."""


class StoreUnflushedError(StoreUnavailableError):
    """The disk took what was written and could not flush it."""


class LedgerUnavailableError(SteadError):
    """The trail cannot be written, so nothing is done."""

    status = 1502
    win32_name = "ERROR_LOG_FILE_FULL"
    public = "the server is not available"


class LedgerFullError(LedgerUnavailableError):
    """The disk that the trail lies on has no room but what administrators may use."""


class SinkUnavailableError(SteadError):
    """Where records are sent does not take them now; they wait in the trail."""

    status = 1232
    win32_name = "ERROR_HOST_UNREACHABLE"


class LedgerCorruptError(SteadError):
    """The trail does not verify.

    Attributes:
        sequence: the first record that is changed, missing or out of order.
    """

    status = 1392
    win32_name = "ERROR_FILE_CORRUPT"
    public = "the server is not available"

    def __init__(
        self,
        message: str,
        *,
        sequence: int,
        advice: str = "keep this store as evidence and restore a copy",
    ) -> None:
        super().__init__(message, advice=advice)
        self.sequence = sequence


class WitnessUnavailableError(SteadError, ConnectionError):
    """The witness does not answer, or not in time."""

    status = 1722
    win32_name = "RPC_S_SERVER_UNAVAILABLE"
    public = "the server is not available"


class WitnessDisagreesError(SteadError):
    """The witness knows another history than this trail's: a fork, or an old copy."""

    status = 1392
    win32_name = "ERROR_FILE_CORRUPT"
    public = "the server is not available"
