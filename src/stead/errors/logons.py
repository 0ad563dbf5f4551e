"""Somebody is not admitted. The trail holds the cause; a client hears one text."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "AccountDisabledError",
    "AccountExpiredError",
    "AccountLockedOutError",
    "DirectoryUnavailableError",
    "EvidenceRefusedError",
    "LogonFailureError",
    "LogonHoursError",
    "LogonTypeNotGrantedError",
    "PasswordExpiredError",
    "PasswordMismatchError",
    "PasswordMustChangeError",
    "TooManyGroupsError",
]


class LogonFailureError(SteadError, PermissionError):
    """The client is not admitted. One text for every cause; the ledger has it."""

    status = 1326
    win32_name = "ERROR_LOGON_FAILURE"
    public = "logon failure"

    def __init__(self, *, advice: str = "the audit trail holds the cause") -> None:
        super().__init__("logon failure", advice=advice)


class EvidenceRefusedError(SteadError, PermissionError):
    """What a client shows does not prove who it is: malformed, forged, too old."""

    status = 1326
    win32_name = "ERROR_LOGON_FAILURE"
    public = "logon failure"


class AccountDisabledError(SteadError, PermissionError):
    """The account is disabled. Told to administrators, never to clients."""

    status = 1331
    win32_name = "ERROR_ACCOUNT_DISABLED"
    public = "logon failure"


class AccountLockedOutError(SteadError, PermissionError):
    """Too many logons failed. Told to administrators, never to clients."""

    status = 1909
    win32_name = "ERROR_ACCOUNT_LOCKED_OUT"
    public = "logon failure"


class AccountExpiredError(SteadError, PermissionError):
    """The account's time is over. Told to administrators, never to clients."""

    status = 1793
    win32_name = "ERROR_ACCOUNT_EXPIRED"
    public = "logon failure"


class LogonHoursError(SteadError, PermissionError):
    """The account may not log on at this time. Never told to clients."""

    status = 1328
    win32_name = "ERROR_INVALID_LOGON_HOURS"
    public = "logon failure"


class PasswordMismatchError(SteadError, PermissionError):
    """The password is not the account's, or it has none. Never told to clients."""

    status = 86
    win32_name = "ERROR_INVALID_PASSWORD"
    public = "logon failure"


class PasswordExpiredError(SteadError, PermissionError):
    """The password is right and too old. Never told to clients."""

    status = 1330
    win32_name = "ERROR_PASSWORD_EXPIRED"
    public = "logon failure"


class PasswordMustChangeError(SteadError, PermissionError):
    """The password is right and must be changed first. Never told to clients."""

    status = 1907
    win32_name = "ERROR_PASSWORD_MUST_CHANGE"
    public = "logon failure"


class LogonTypeNotGrantedError(SteadError, PermissionError):
    """The account lacks the right to log on this way, or is denied it."""

    status = 1385
    win32_name = "ERROR_LOGON_TYPE_NOT_GRANTED"
    public = "logon failure"


class TooManyGroupsError(SteadError):
    """Somebody is in more groups than a token may hold: an error, not a cut."""

    status = 1384
    win32_name = "ERROR_TOO_MANY_CONTEXT_IDS"
    public = "logon failure"


class DirectoryUnavailableError(SteadError):
    """A directory that knows who somebody is cannot be asked; nobody is assumed.

    Where somebody logs on, that is a failed logon like others. Who hears of it
    otherwise is logged on: it was asked on the way to another machine, for example.
    """

    status = 1355
    win32_name = "ERROR_NO_SUCH_DOMAIN"
    public = "the server is not available"
