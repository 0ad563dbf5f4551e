"""Every error Stead raises, each with its Win32 status and the objects involved.

``str(error)`` is for whoever called. What a *client* on the far side of a gate may
be told is ``error.public``: one fixed sentence per status, never an argument. What
the *operator* should do is ``error.advice``. A gate sends ``public`` and nothing else,
so that no refusal carries the reason to the one who is refused.

Status numbers are the Win32 codes of [MS-ERREF] 2.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from stead.model.decision import AccessDecision
    from stead.model.privilege import Privilege
    from stead.model.sid import Sid
    from stead.model.token import ImpersonationLevel

__all__ = [
    "AccessDeniedError",
    "AccountDisabledError",
    "AccountExistsError",
    "AccountExpiredError",
    "AccountLockedOutError",
    "AdviseTimeoutError",
    "AmbiguousNameError",
    "BadImpersonationLevelError",
    "BadTokenTypeError",
    "CannotOpenAnonymousError",
    "CredentialsExpiredError",
    "DdeBusyError",
    "DdeNotProcessedError",
    "DirectoryUnavailableError",
    "EnforcementUnavailableError",
    "EvidenceRefusedError",
    "GenericNotMappedError",
    "GroupNotAdjustableError",
    "HandleClosedError",
    "ImpersonationRefusedError",
    "IndexDamagedError",
    "InvalidAccessMaskError",
    "InvalidAclError",
    "InvalidCheckpointError",
    "InvalidClaimError",
    "InvalidConditionError",
    "InvalidGuidError",
    "InvalidMessageError",
    "InvalidNameError",
    "InvalidObjectTypesError",
    "InvalidOwnerError",
    "InvalidPacError",
    "InvalidProofError",
    "InvalidRecordError",
    "InvalidRequestError",
    "InvalidSddlError",
    "InvalidSecurityDescriptorError",
    "InvalidSidError",
    "KernelRefusedError",
    "LateImportError",
    "LauncherUnavailableError",
    "LedgerCorruptError",
    "LedgerUnavailableError",
    "LogonFailureError",
    "LogonHoursError",
    "LogonSessionEndedError",
    "LogonTypeNotGrantedError",
    "LoopThreadError",
    "MissingExtraError",
    "NoConversationError",
    "NoCredentialsError",
    "NoProcessTokenError",
    "NoThreadTokenError",
    "NotARegularFileError",
    "NotPlainDataError",
    "OperationFailedError",
    "PasswordExpiredError",
    "PasswordMismatchError",
    "PasswordMustChangeError",
    "PipeBusyError",
    "PrivilegeNotHeldError",
    "ProcessTimeoutError",
    "QuotaExceededError",
    "RemoteError",
    "RemoteProtocolError",
    "RequestTimeoutError",
    "RevertOrderError",
    "SecretUsedError",
    "ServerClosedError",
    "ServerUnavailableError",
    "StaleVersionError",
    "SteadError",
    "StoreUnavailableError",
    "StrangerIdentityError",
    "TooManyGroupsError",
    "UnknownAccountError",
    "UnknownObjectError",
    "UnknownOperationError",
    "UnknownSessionError",
    "UnsafeConfigurationError",
    "UnsafePipeError",
    "UnsafeStoreError",
    "WitnessDisagreesError",
    "WitnessUnavailableError",
    "WorkerFailedError",
    "WorkerLostError",
    "WrongIdentityError",
    "WrongServerError",
]


class SteadError(Exception):
    """The root of every error Stead raises.

    Attributes:
        status: the Win32 code ([MS-ERREF] 2.2), an int.
        win32_name: that code's name, for output and grep.
        public: the one sentence that a client may be told.
        advice: what the operator can do about it; empty if there is nothing to say.
        record: the number of the audit record that holds the reason, or None.
    """

    status: ClassVar[int] = 87
    win32_name: ClassVar[str] = "ERROR_INVALID_PARAMETER"
    public: ClassVar[str] = "the request is not valid"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice
        self.record: int | None = None
        if advice:
            self.add_note(f"what to do: {advice}")


# --- bad text, bytes and values -------------------------------------------------


class InvalidSidError(SteadError, ValueError):
    """A SID's text or bytes are not a SID ([MS-DTYP] 2.4.2)."""

    status = 1337
    win32_name = "ERROR_INVALID_SID"
    public = "the security identifier is not valid"


class InvalidAclError(SteadError, ValueError):
    """An ACL or ACE cannot be what it claims to be ([MS-DTYP] 2.4.4, 2.4.5)."""

    status = 1336
    win32_name = "ERROR_INVALID_ACL"
    public = "the access control list is not valid"


class InvalidSecurityDescriptorError(SteadError, ValueError):
    """A security descriptor's bytes or parts do not fit ([MS-DTYP] 2.4.6)."""

    status = 1338
    win32_name = "ERROR_INVALID_SECURITY_DESCR"
    public = "the security descriptor is not valid"


class InvalidSddlError(SteadError, ValueError):
    """SDDL text does not parse ([MS-DTYP] 2.5.1).

    Attributes:
        text: the whole text.
        position: the offset in characters at which reading stopped.
        reason: what was expected or wrong there.
    """

    status = 1338
    win32_name = "ERROR_INVALID_SECURITY_DESCR"
    public = "the security descriptor is not valid"

    def __init__(self, text: str, position: int, reason: str) -> None:
        # Escaped: a line break in the text must not become one in a log.
        shown = ascii(text[position : position + 24])[1:-1]
        near = f"near `{shown}`" if shown else "at its end"
        super().__init__(f"sddl is wrong at position {position}, {near}: {reason}")
        self.text = text
        self.position = position
        self.reason = reason


class InvalidGuidError(SteadError, ValueError):
    """Text or bytes are not a GUID ([MS-DTYP] 2.3.4)."""


class InvalidClaimError(SteadError, ValueError):
    """A claim's parts do not fit one another ([MS-DTYP] 2.4.10)."""


class InvalidConditionError(SteadError, ValueError):
    """A conditional expression cannot be what it claims to be ([MS-DTYP] 2.4.4.17)."""

    status = 1336
    win32_name = "ERROR_INVALID_ACL"
    public = "the access control list is not valid"


class InvalidPacError(SteadError, ValueError):
    """Bytes are not the authorization data that they claim to be ([MS-PAC] 2)."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


class InvalidObjectTypesError(SteadError, ValueError):
    """A list of object types is no tree (Win32 OBJECT_TYPE_LIST)."""


class InvalidAccessMaskError(SteadError, ValueError):
    """A right lies outside the bits it may use ([MS-DTYP] 2.4.3)."""


class GenericNotMappedError(SteadError, ValueError):
    """A question to the judge holds generic bits; whoever asks maps them first."""

    status = 1360
    win32_name = "ERROR_GENERIC_NOT_MAPPED"


class InvalidOwnerError(SteadError, ValueError):
    """This SID may not be assigned as an owner by this token."""

    status = 1307
    win32_name = "ERROR_INVALID_OWNER"
    public = "this security identifier may not be assigned as the owner"


class InvalidNameError(SteadError, ValueError):
    """An account, group or object name holds what a name may not."""

    status = 123
    win32_name = "ERROR_INVALID_NAME"
    public = "the name is not valid"


class InvalidRecordError(SteadError, ValueError):
    """An audit record cannot be written as one, or bytes are not a record."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"
    public = "the request failed"


class InvalidMessageError(SteadError, ValueError):
    """A message we were about to send breaks the protocol: our mistake."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


class RemoteProtocolError(SteadError):
    """The peer broke the protocol: its mistake, and its conversation ends."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"
    public = "the message is not valid"


class InvalidRequestError(SteadError):
    """A request's arguments do not fit the operation it names."""


class UnknownOperationError(SteadError):
    """No operation has this name."""

    status = 1
    win32_name = "ERROR_INVALID_FUNCTION"
    public = "no such operation"


# --- refusals -------------------------------------------------------------------


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


class LogonFailureError(SteadError, PermissionError):
    """The client is not admitted. One text for every cause; the ledger has it."""

    status = 1326
    win32_name = "ERROR_LOGON_FAILURE"
    public = "logon failure"

    def __init__(self, *, advice: str = "the audit trail holds the cause") -> None:
        super().__init__("logon failure", advice=advice)


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


class PasswordMismatchError(SteadError, PermissionError):
    """The password is not the account's, or it has none. Never told to clients."""

    status = 86
    win32_name = "ERROR_INVALID_PASSWORD"
    public = "logon failure"


class AccountExpiredError(SteadError, PermissionError):
    """The account's time is over. Told to administrators, never to clients."""

    status = 1793
    win32_name = "ERROR_ACCOUNT_EXPIRED"
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


class LogonHoursError(SteadError, PermissionError):
    """The account may not log on at this time. Never told to clients."""

    status = 1328
    win32_name = "ERROR_INVALID_LOGON_HOURS"
    public = "logon failure"


class EvidenceRefusedError(SteadError, PermissionError):
    """What a client shows does not prove who it is: malformed, forged, too old."""

    status = 1326
    win32_name = "ERROR_LOGON_FAILURE"
    public = "logon failure"


class LogonTypeNotGrantedError(SteadError, PermissionError):
    """The account lacks the right to log on this way, or is denied it."""

    status = 1385
    win32_name = "ERROR_LOGON_TYPE_NOT_GRANTED"
    public = "logon failure"


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


class TooManyGroupsError(SteadError):
    """Somebody is in more groups than a token may hold: an error, not a cut."""

    status = 1384
    win32_name = "ERROR_TOO_MANY_CONTEXT_IDS"
    public = "logon failure"


# --- processes of a client -----------------------------------------------------------


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


class NotPlainDataError(SteadError, TypeError):
    """A value that crosses between processes is none that data alone can say."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


# --- what is not there, or is there already ----------------------------------------


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


# --- misuse ---------------------------------------------------------------------


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


# --- the machine ----------------------------------------------------------------


class EnforcementUnavailableError(SteadError):
    """The kernel cannot enforce here what was asked for; nothing degrades silently."""

    status = 50
    win32_name = "ERROR_NOT_SUPPORTED"
    public = "the request is not supported"


class MissingExtraError(EnforcementUnavailableError, ModuleNotFoundError):
    """A library that an extra brings is not installed; `advice` names the extra."""


class DirectoryUnavailableError(SteadError):
    """A directory that knows who somebody is cannot be asked; nobody is assumed."""

    status = 1355
    win32_name = "ERROR_NO_SUCH_DOMAIN"
    public = "logon failure"


class UnsafeStoreError(SteadError):
    """Somebody else may write the store or its folder: a refusal to start."""

    status = 5
    win32_name = "ERROR_ACCESS_DENIED"
    public = "the server is not available"


class UnsafeConfigurationError(SteadError):
    """Somebody but root may write what root is told by, or it says nonsense."""

    status = 5
    win32_name = "ERROR_ACCESS_DENIED"
    public = "the server is not available"


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


class InvalidProofError(SteadError, ValueError):
    """A proof or the edge of a tree is none, or proves something else."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


class InvalidCheckpointError(SteadError, ValueError):
    """Text is no checkpoint, or not signed by whom it should be."""

    status = 13
    win32_name = "ERROR_INVALID_DATA"


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


class RequestTimeoutError(SteadError, TimeoutError):
    """The server did not answer in time; the request may have been done."""

    status = 1460
    win32_name = "ERROR_TIMEOUT"
    public = "the server is not available"


class OperationFailedError(SteadError):
    """An operation's own code failed; the client hears no more than that."""

    status = 1359
    win32_name = "ERROR_INTERNAL_ERROR"
    public = "the request failed"


class DdeBusyError(SteadError):
    """The DDE server is too busy for this transaction; ask again later."""

    status = 0x4001
    win32_name = "DMLERR_BUSY"
    public = "the server is busy"


class AdviseTimeoutError(SteadError):
    """A DDE client did not acknowledge advised data in time: its advise has ended."""

    status = 0x4000
    win32_name = "DMLERR_ADVACKTIMEOUT"
    public = "the advised data was not acknowledged in time"


class DdeNotProcessedError(SteadError):
    """The DDE server did not do it: no such item, or none that it offers this way."""

    status = 0x4009
    win32_name = "DMLERR_NOTPROCESSED"
    public = "the transaction is not processed"


class NoConversationError(SteadError):
    """No conversation was established, or it has ended."""

    status = 0x400A
    win32_name = "DMLERR_NO_CONV_ESTABLISHED"
    public = "no conversation was established"


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
