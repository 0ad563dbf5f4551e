"""What is not there, is there already, or has changed since it was read."""

from __future__ import annotations

from stead.errors.stead_error import SteadError

__all__ = [
    "AccountExistsError",
    "AmbiguousNameError",
    "StaleVersionError",
    "UnknownAccountError",
    "UnknownDatabaseError",
    "UnknownObjectError",
    "UnknownSessionError",
]


class UnknownAccountError(SteadError, LookupError):
    """No account or group has this name, SID or uid."""

    status = 1332
    win32_name = "ERROR_NONE_MAPPED"
    public = "logon failure"


class AccountExistsError(SteadError):
    """The name, SID or uid is taken."""

    status = 1316
    win32_name = "ERROR_USER_EXISTS"
    public = "the name is taken"


class AmbiguousNameError(SteadError, LookupError):
    """More than one thing answers to this name."""

    status = 1332
    win32_name = "ERROR_NONE_MAPPED"


class UnknownDatabaseError(SteadError, LookupError):
    """A database server has no database of this name. A client hears no such thing."""

    status = 1065
    win32_name = "ERROR_DATABASE_DOES_NOT_EXIST"
    public = "the server is not available"


class UnknownObjectError(SteadError, LookupError):
    """No protected object has this name. A client hears that access is denied."""

    status = 2
    win32_name = "ERROR_FILE_NOT_FOUND"
    public = "access is denied"


class UnknownSessionError(SteadError, LookupError):
    """No logon session that lives has this number."""

    status = 1312
    win32_name = "ERROR_NO_SUCH_LOGON_SESSION"


class StaleVersionError(SteadError):
    """What was to be changed was changed by somebody else meanwhile: read it again."""

    status = 1306
    win32_name = "ERROR_REVISION_MISMATCH"
    public = "the object was changed meanwhile"
