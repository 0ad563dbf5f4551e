"""The library's numbers, and what they mean here."""

import re
from pathlib import Path

import pytest
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos import causes
from stead.errors import (
    CredentialsExpiredError,
    DirectoryUnavailableError,
    EvidenceRefusedError,
    LogonHoursError,
    NoCredentialsError,
    PasswordMismatchError,
)

HEADER = Path("/usr/include/krb5/krb5.h")
NAMES = {
    "NAME_EXPIRED": "KRB5KDC_ERR_NAME_EXP",
    "CLIENT_UNKNOWN": "KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN",
    "SERVER_UNKNOWN": "KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN",
    "POLICY": "KRB5KDC_ERR_POLICY",
    "BAD_OPTION": "KRB5KDC_ERR_BADOPTION",
    "CLIENT_REVOKED": "KRB5KDC_ERR_CLIENT_REVOKED",
    "CLIENT_NOT_YET": "KRB5KDC_ERR_CLIENT_NOTYET",
    "KEY_EXPIRED": "KRB5KDC_ERR_KEY_EXP",
    "PREAUTH_FAILED": "KRB5KDC_ERR_PREAUTH_FAILED",
    "PREAUTH_REQUIRED": "KRB5KDC_ERR_PREAUTH_REQUIRED",
    "SERVICE_UNAVAILABLE": "KRB5KDC_ERR_SVC_UNAVAILABLE",
    "BAD_INTEGRITY": "KRB5KRB_AP_ERR_BAD_INTEGRITY",
    "TICKET_EXPIRED": "KRB5KRB_AP_ERR_TKT_EXPIRED",
    "TICKET_NOT_YET": "KRB5KRB_AP_ERR_TKT_NYV",
    "SKEW": "KRB5KRB_AP_ERR_SKEW",
    "GENERIC": "KRB5KRB_ERR_GENERIC",
    "MESSAGE_VERSION": "KRB5KRB_AP_ERR_BADVERSION",
    "MESSAGE_TYPE": "KRB5KRB_AP_ERR_MSG_TYPE",
    "ASN1_FIRST": "ASN1_BAD_TIMEFORMAT",
    "ASN1_LAST": "ASN1_OMITTED",
    "REALM_UNKNOWN": "KRB5_REALM_UNKNOWN",
    "KDC_UNREACHABLE": "KRB5_KDC_UNREACH",
    "REALM_UNRESOLVED": "KRB5_REALM_CANT_RESOLVE",
}


def test_the_numbers_are_those_of_the_librarys_header():
    defined = dict(
        re.findall(
            r"#define ((?:KRB5|ASN1)\w+)\s+\((-?\d+)L\)", HEADER.read_text("latin-1")
        )
    )
    ours = {
        name: value
        for name, value in vars(causes).items()
        if name.isupper() and not name.startswith("_")
    }
    assert {name: int(defined[theirs]) for name, theirs in NAMES.items()} == ours


def failure(code, major=13 << 16):
    return GSSError(major, code % (1 << 32))


@pytest.mark.parametrize(
    ("code", "outbound", "password"),
    [
        (causes.KDC_UNREACHABLE, DirectoryUnavailableError, DirectoryUnavailableError),
        (causes.MESSAGE_TYPE, NoCredentialsError, DirectoryUnavailableError),
        (causes.ASN1_FIRST, NoCredentialsError, DirectoryUnavailableError),
        (causes.ASN1_LAST, NoCredentialsError, DirectoryUnavailableError),
        (causes.ASN1_LAST + 1, NoCredentialsError, EvidenceRefusedError),
        (causes.TICKET_EXPIRED, CredentialsExpiredError, DirectoryUnavailableError),
        (causes.SKEW, NoCredentialsError, DirectoryUnavailableError),
        (causes.POLICY, NoCredentialsError, LogonHoursError),
        (causes.BAD_INTEGRITY, NoCredentialsError, PasswordMismatchError),
        (0, NoCredentialsError, EvidenceRefusedError),
        (100001, NoCredentialsError, EvidenceRefusedError),
    ],
)
def test_each_cause_has_its_error(code, outbound, password):
    assert causes.code_of(failure(code)) == code
    assert type(causes.refused_outbound(failure(code), "it")) is outbound
    assert type(causes.refused_password(failure(code), "alice")) is password


def test_what_is_refused_says_why_where_no_advice_is_kept():
    """The trail has the sentence alone: five causes of one sentence are no cause."""
    codes = (causes.SERVER_UNKNOWN, causes.BAD_OPTION, causes.POLICY, causes.SKEW)
    said = {str(causes.refused_outbound(failure(c), "it")) for c in codes}
    assert 4 == len(said)


def test_tickets_that_ended_are_told_by_the_major_code_too():
    error = causes.refused_outbound(failure(0, 11 << 16), "it")
    assert type(error) is CredentialsExpiredError
