"""The judge, the policy or the kernel says no to a client who is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stead.errors.stead_error import SteadError

if TYPE_CHECKING:
    from stead.model.decision import AccessDecision
    from stead.model.privilege import Privilege
    from stead.model.sid import Sid
    from stead.model.token import ImpersonationLevel

__all__ = [
    "AccessDeniedError",
    "BadImpersonationLevelError",
    "BadTokenTypeError",
    "CannotOpenAnonymousError",
    "CredentialsExpiredError",
    "GroupNotAdjustableError",
    "ImpersonationRefusedError",
    "InvalidOwnerError",
    "KernelRefusedError",
    "LogonSessionEndedError",
    "NoCredentialsError",
    "NotARegularFileError",
    "PrivilegeNotHeldError",
    "WrongIdentityError",
]


class AccessDeniedError(SteadError, PermissionError):
    """The judge said no.

    Attributes:
        decision: the decision, whose reasons ``stead.decision.explain`` spells out;
            None where no descriptor was judged.
        object_name: the object, as the server names it.
    """

    status = 5
    win32_name = "ERROR_ACCESS_DENIED"
    public = "access is denied"

    def __init__(
        self,
        message: str = "access is denied",
        *,
        decision: AccessDecision | None = None,
        object_name: str = "",
        record: int | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.decision = decision
        self.object_name = object_name
        self.record = record


class KernelRefusedError(AccessDeniedError):
    """The kernel, judging as the client, refused; `errno` holds its number."""

    def __init__(self, message: str, *, errno: int, object_name: str) -> None:
        super().__init__(message, object_name=object_name)
        self.errno = errno


class NotARegularFileError(AccessDeniedError):
    """The path names a FIFO, socket or device; only files and directories open."""


class PrivilegeNotHeldError(SteadError, PermissionError):
    """The token does not hold the privilege, or holds it disabled.

    Attributes:
        privileges: those that were asked for and not held enabled.
    """

    status = 1314
    win32_name = "ERROR_PRIVILEGE_NOT_HELD"
    public = "a required privilege is not held by the client"

    def __init__(self, privileges: tuple[Privilege, ...], *, advice: str = "") -> None:
        names = ", ".join(privilege.value for privilege in privileges)
        super().__init__(f"privilege {names} is not held", advice=advice)
        self.privileges = privileges


class GroupNotAdjustableError(SteadError, PermissionError):
    """A token's group may not be switched as asked: absent, mandatory or deny-only.

    Attributes:
        group: the group's SID.
    """

    status = 1300
    win32_name = "ERROR_NOT_ALL_ASSIGNED"

    def __init__(self, message: str, *, group: Sid) -> None:
        super().__init__(message)
        self.group = group


class InvalidOwnerError(SteadError, ValueError):
    """This SID may not be assigned as an owner by this token."""

    status = 1307
    win32_name = "ERROR_INVALID_OWNER"
    public = "this security identifier may not be assigned as the owner"


class BadImpersonationLevelError(SteadError, PermissionError):
    """The token's level is below what the act needs, or was to be raised.

    Attributes:
        level: the level that the token has.
        needed: the level that the act needs.
    """

    status = 1346
    win32_name = "ERROR_BAD_IMPERSONATION_LEVEL"
    public = "a required impersonation level was not provided"

    def __init__(
        self,
        level: ImpersonationLevel,
        needed: ImpersonationLevel,
        *,
        act: str,
        advice: str = "the client chooses the level when it connects",
    ) -> None:
        super().__init__(
            f"{act} needs level {needed.name.lower()}, the token has "
            f"{level.name.lower()}",
            advice=advice,
        )
        self.level = level
        self.needed = needed


class CannotOpenAnonymousError(SteadError, PermissionError):
    """A token of level anonymous cannot be opened by anybody."""

    status = 1347
    win32_name = "ERROR_CANT_OPEN_ANONYMOUS"
    public = "cannot open an anonymous level security token"


class BadTokenTypeError(SteadError, PermissionError):
    """A primary token was needed and this is not one, or the other way round."""

    status = 1349
    win32_name = "ERROR_BAD_TOKEN_TYPE"


class ImpersonationRefusedError(SteadError, PermissionError):
    """Policy or the machine forbids to become this client; nothing ran."""

    status = 5
    win32_name = "ERROR_ACCESS_DENIED"
    public = "access is denied"


class LogonSessionEndedError(SteadError, PermissionError):
    """The token's logon session has ended: it is refused first of all."""

    status = 1312
    win32_name = "ERROR_NO_SUCH_LOGON_SESSION"
    public = "the logon session has ended"


class NoCredentialsError(SteadError, PermissionError):
    """Nothing here can show another machine that it is the client who comes."""

    status = 0x8009_030E
    win32_name = "SEC_E_NO_CREDENTIALS"
    public = "access is denied"


class CredentialsExpiredError(SteadError, PermissionError):
    """The client's credentials for other machines end too soon for the work."""

    status = 0x8009_0317
    win32_name = "SEC_E_CONTEXT_EXPIRED"
    public = "access is denied"


class WrongIdentityError(SteadError, PermissionError):
    """Another machine takes us for somebody else than the client."""

    status = 1397
    win32_name = "ERROR_MUTUAL_AUTH_FAILED"
    public = "access is denied"
