"""What the Kerberos library says, as errors of Stead's.

Numbers are those of MIT's `krb5_err.et` (RFC 4120 7.5.9 and the library's own), which
GSS-API passes on as minor codes, without their sign.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from typing import Final

import krb5
from gssapi.raw.misc import GSSError
from krb5 import Krb5Error

from stead.errors import (
    AccountDisabledError,
    AccountExpiredError,
    CredentialsExpiredError,
    DirectoryUnavailableError,
    EvidenceRefusedError,
    LogonHoursError,
    NoCredentialsError,
    PasswordMismatchError,
    PasswordMustChangeError,
    SteadError,
    UnknownAccountError,
)

_BASE: Final = -1765328384
_WORD: Final = 1 << 32
_LONGEST: Final = 200

NAME_EXPIRED: Final = _BASE + 1
CLIENT_UNKNOWN: Final = _BASE + 6
SERVER_UNKNOWN: Final = _BASE + 7
POLICY: Final = _BASE + 12
BAD_OPTION: Final = _BASE + 13
CLIENT_REVOKED: Final = _BASE + 18
KEY_EXPIRED: Final = _BASE + 23
PREAUTH_FAILED: Final = _BASE + 24
PREAUTH_REQUIRED: Final = _BASE + 25
CLIENT_NOT_YET: Final = _BASE + 21
BAD_INTEGRITY: Final = _BASE + 31
TICKET_EXPIRED: Final = _BASE + 32
TICKET_NOT_YET: Final = _BASE + 33
SKEW: Final = _BASE + 37
SERVICE_UNAVAILABLE: Final = _BASE + 29
REALM_UNKNOWN: Final = _BASE + 154
KDC_UNREACHABLE: Final = _BASE + 156
REALM_UNRESOLVED: Final = _BASE + 220
GENERIC: Final = _BASE + 60
MESSAGE_VERSION: Final = _BASE + 39
MESSAGE_TYPE: Final = _BASE + 40
ASN1_FIRST: Final = 1859794432
ASN1_LAST: Final = 1859794445

_UNAVAILABLE: Final = frozenset(
    {SERVICE_UNAVAILABLE, REALM_UNKNOWN, KDC_UNREACHABLE, REALM_UNRESOLVED}
)
_CLOCKS: Final = frozenset({TICKET_EXPIRED, TICKET_NOT_YET, SKEW})
_EXHAUSTED: Final = frozenset({
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS,
    errno.ENOSPC, errno.EIO,
})  # fmt: skip
_UNREADABLE: Final = frozenset(
    {MESSAGE_VERSION, MESSAGE_TYPE, *range(ASN1_FIRST, ASN1_LAST + 1)}
)
_EXPIRED_CREDENTIALS: Final = 11 << 16  # RFC 2744 3.9.1, GSS_S_CREDENTIALS_EXPIRED
_ROUTINE_ERRORS: Final = 0xFF << 16


def new_context() -> krb5.Context:
    """Return the library, as its configuration has it by now.

    Raises:
        DirectoryUnavailableError: that cannot be read: somebody may be editing it.
    """
    try:
        return krb5.init_context()
    except Krb5Error as error:
        raise DirectoryUnavailableError(
            f"kerberos' own configuration cannot be read: {_shown(str(error))}",
            advice="see `/etc/krb5.conf`, or the file that `KRB5_CONFIG` names, and "
            "what it includes",
        ) from error


def code_of(error: GSSError | Krb5Error) -> int:
    """Return the library's number of what failed, as `krb5_err.et` has it."""
    if isinstance(error, Krb5Error):
        return error.err_code
    code = int(error.min_code) % _WORD
    return code - _WORD if code >= _WORD // 2 else code


def in_words(error: GSSError) -> str:
    """Return what the library says of a failure, for the trail.

    It may quote the client's message; so it is cut, and on one line.
    """
    kind, code = (False, error.min_code) if error.min_code else (True, error.maj_code)
    said = "; ".join(error.get_all_statuses(code, kind))
    return f"{_shown(said)} ({code_of(error)})"


def _shown(said: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in said[:_LONGEST])


def not_asked(
    error: GSSError | Krb5Error, act: str
) -> DirectoryUnavailableError | None:
    """Return why no KDC could be asked, or was understood, if that is what failed.

    It says nothing of the client, and is not counted against its name.

    Args:
        error: the library's, of a ticket that was just given.
        act: what was tried, for the operator.
    """
    code = code_of(error)
    if code in _UNAVAILABLE:
        return _unavailable(act)
    if code in _CLOCKS:
        return other_clock(act)
    if code in _EXHAUSTED:
        return DirectoryUnavailableError(
            f"{act}: nobody can be asked from here: {os.strerror(code)}",
            advice="see to the limits that the server runs under, and to its disk",
        )
    if code in _UNREADABLE:
        return DirectoryUnavailableError(
            f"{act}: what answers for the realm is no KDC: error {code}",
            advice="see which program listens there; `krb5.conf` names host and port",
        )
    return None


def other_clock(act: str) -> DirectoryUnavailableError:
    """Return the error for a KDC whose time is another than this machine's."""
    return DirectoryUnavailableError(
        f"{act}: the clocks of this machine and of the KDC differ too much",
        advice="set both by the same time servers; kerberos takes five minutes",
    )


def is_wrong_password(error: GSSError | Krb5Error) -> bool:
    """Whether a realm says that a password is not the principal's."""
    return code_of(error) in {PREAUTH_FAILED, BAD_INTEGRITY}


def refused_outbound(error: GSSError | Krb5Error, act: str) -> SteadError:
    """Return why a client's credentials do not reach another machine.

    Args:
        error: the library's.
        act: what was tried, for the operator.
    """
    code = code_of(error)
    if code in _UNAVAILABLE:
        return _unavailable(act)
    is_expired = code == TICKET_EXPIRED
    if isinstance(error, GSSError) and not is_expired:
        is_expired = int(error.maj_code) & _ROUTINE_ERRORS == _EXPIRED_CREDENTIALS
    if is_expired:
        return CredentialsExpiredError(f"{act}: the client's tickets have ended")
    known = _OUTBOUND.get(code)
    if known is None:
        words = in_words(error) if isinstance(error, GSSError) else f"({code})"
        return NoCredentialsError(
            f"{act}: kerberos gives no ticket: {words}",
            advice="see `docs/kerberos.md`, when it does not work",
        )
    # The trail has the sentence, and not the advice.
    why, advice = known
    return NoCredentialsError(f"{act}: kerberos gives no ticket: {why}", advice=advice)


def _unavailable(act: str) -> DirectoryUnavailableError:
    """Return the error for a realm that cannot be asked."""
    return DirectoryUnavailableError(
        f"{act}: no key distribution centre answers",
        advice="see `krb5.conf`, the network, and whether the KDC runs",
    )


def refused_password(error: GSSError | Krb5Error, who: str) -> SteadError:
    """Return why a password logs nobody on.

    Args:
        error: the library's.
        who: the principal, for the trail.
    """
    unasked = not_asked(error, f"`{who}` logs on")
    if unasked is not None:
        return unasked
    code = code_of(error)
    made, said = _PASSWORD.get(code, (EvidenceRefusedError, ""))
    said = said or f"kerberos refuses it: error {code}"
    return made(f"`{who}`: {said}")


_NOT_ALLOWED: Final = (
    "the domain does not let this server go there for the client: see constrained "
    "delegation, and whether the account may be delegated"
)
_NOT_KNOWN: Final = (
    "the realm knows no such service: see its principal, or SPN; constrained "
    "delegation reaches no other realm than this server's"
)
_OUTBOUND: Final[Mapping[int, tuple[str, str]]] = {
    SERVER_UNKNOWN: (
        "it knows no such service",
        _NOT_KNOWN,
    ),
    BAD_OPTION: ("this server may not go there for the client", _NOT_ALLOWED),
    GENERIC: (
        "the KDC does not say why",
        f"the KDC does not say why, and its log may; or {_NOT_ALLOWED}",
    ),
    POLICY: ("its policy forbids it", "the domain's policy forbids it"),
    SKEW: (
        "Clock skew too great",
        "the clocks of this machine and of the KDC differ too much",
    ),
}
"""By number: why, in short, and what to do."""
_Made = Callable[[str], SteadError]
_PASSWORD: Final[Mapping[int, tuple[_Made, str]]] = {
    PREAUTH_FAILED: (PasswordMismatchError, "the password is wrong"),
    BAD_INTEGRITY: (PasswordMismatchError, "the password is wrong"),
    CLIENT_UNKNOWN: (UnknownAccountError, "the realm knows no such principal"),
    CLIENT_REVOKED: (
        AccountDisabledError,
        "it is disabled, expired, locked out, or not let in at this time",
    ),
    NAME_EXPIRED: (AccountExpiredError, "its time is over"),
    CLIENT_NOT_YET: (AccountExpiredError, "its time has not begun"),
    KEY_EXPIRED: (PasswordMustChangeError, "its password must be changed first"),
    POLICY: (LogonHoursError, "the realm's policy forbids it here and now"),
    SERVER_UNKNOWN: (
        NoCredentialsError,
        "its realm does not know this server, which is of another realm, or nobody's",
    ),
}
