"""What two ends of a conversation hold against one another."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "AdviseTimeoutError",
    "DdeBusyError",
    "DdeNotProcessedError",
    "InvalidMessageError",
    "InvalidRequestError",
    "NoConversationError",
    "OperationFailedError",
    "RemoteError",
    "RemoteProtocolError",
    "RequestTimeoutError",
    "ServerUnavailableError",
    "UnknownOperationError",
    "WrongServerError",
]


class RemoteProtocolError(SteadError):
    """The peer broke the protocol: its mistake, and its conversation ends."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"
    public = "the message is not valid"


class InvalidMessageError(SteadError, ValueError):
    """A message we were about to send breaks the protocol: our mistake."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


class InvalidRequestError(SteadError):
    """A request's arguments do not fit the operation it names."""


class UnknownOperationError(SteadError):
    """No operation has this name."""

    status = 1
    win32_name = "ERROR_INVALID_FUNCTION"
    public = "no such operation"


class OperationFailedError(SteadError):
    """An operation's own code failed; the client hears no more than that."""

    status = 1359
    win32_name = "ERROR_INTERNAL_ERROR"
    public = "the request failed"


class RemoteError(SteadError):
    """What a server answered to its client when it refused.

    Attributes:
        remote_status: the Win32 code that the server sent.
        record: the number of the audit record that holds the reason, or None.
    """

    def __init__(
        self, message: str, *, remote_status: int, record: int | None = None
    ) -> None:
        super().__init__(message)
        self.remote_status = remote_status
        self.record = record


class RequestTimeoutError(SteadError, TimeoutError):
    """The server did not answer in time; the request may have been done."""

    status = 1460
    win32_name = "ERROR_TIMEOUT"
    public = "the server is not available"


class ServerUnavailableError(SteadError, ConnectionError):
    """No server answers, or it went away before it had answered."""

    status = 1722
    win32_name = "RPC_S_SERVER_UNAVAILABLE"
    public = "the server is not available"


class WrongServerError(SteadError, ConnectionError):
    """Whoever listens is not whom the client means; nothing was sent.

    Attributes:
        uid: the uid that listens; None for one on another machine.
    """

    status = 1396
    win32_name = "ERROR_WRONG_TARGET_NAME"
    public = "the server is not available"

    def __init__(
        self, message: str, *, uid: int | None = None, advice: str = ""
    ) -> None:
        super().__init__(message, advice=advice)
        self.uid = uid


class NoConversationError(SteadError):
    """No conversation was established, or it has ended."""

    status = 0x400A
    win32_name = "DMLERR_NO_CONV_ESTABLISHED"
    public = "no conversation was established"


class DdeBusyError(SteadError):
    """The DDE server is too busy for this transaction; ask again later."""

    status = 0x4001
    win32_name = "DMLERR_BUSY"
    public = "the server is busy"


class DdeNotProcessedError(SteadError):
    """The DDE server did not do it: no such item, or none that it offers this way."""

    status = 0x4009
    win32_name = "DMLERR_NOTPROCESSED"
    public = "the transaction is not processed"


class AdviseTimeoutError(SteadError):
    """A DDE client did not acknowledge advised data in time: its advise has ended."""

    status = 0x4000
    win32_name = "DMLERR_ADVACKTIMEOUT"
    public = "the advised data was not acknowledged in time"
