"""What PAM says of an attempt, as errors of ours; for the trail."""

from __future__ import annotations

from typing import Any

from stead.adapters.pam.conversation import PamStatus
from stead.errors import (
    AccountDisabledError,
    AccountExpiredError,
    AccountLockedOutError,
    DirectoryUnavailableError,
    LogonTypeNotGrantedError,
    PasswordExpiredError,
    PasswordMismatchError,
    PasswordMustChangeError,
    SteadError,
    UnknownAccountError,
)


def error_of(said: dict[str, Any], name: str) -> SteadError | None:
    """Return why somebody is not let in; None if it is."""
    if "unavailable" in said:
        return unavailable(said["unavailable"])
    status, who = said["status"], f"`{name[:80]}`"
    if status == PamStatus.SUCCESS:
        return None if said["ids"] else UnknownAccountError(
            f"pam lets {who} in, and the host has no such user"
        )  # fmt: skip
    if not said["was_authenticated"]:
        return _refusal(status, who)
    return _hindrance(status, who)


def _hindrance(status: int, who: str) -> SteadError:
    """Return why PAM does not let in somebody whose password is right."""
    hindrances: dict[int, tuple[type[SteadError], str, str]] = {
        PamStatus.ACCOUNT_EXPIRED: (
            AccountExpiredError, f"the account {who} has expired on the host", ""
        ),
        PamStatus.PASSWORD_EXPIRED: (
            PasswordExpiredError, f"the password of {who} has expired", ""
        ),
        PamStatus.NEW_PASSWORD_REQUIRED: (
            PasswordMustChangeError,
            f"{who} must choose another password first",
            "`passwd`, on the host",
        ),
        PamStatus.PERMISSION_DENIED: (
            LogonTypeNotGrantedError,
            f"pam does not let {who} in by this service, or not now",
            "see pam_access(8), pam_time(8), pam_nologin(8)",
        ),
        PamStatus.USER_UNKNOWN: (
            UnknownAccountError, f"the host has no user {who}", ""
        ),
        PamStatus.AUTHENTICATION_ERROR: (
            AccountDisabledError, f"the account {who} is disabled on the host", ""
        ),
    }  # fmt: skip
    if status not in hindrances:
        return unavailable(f"pam cannot say whether {who} may come: error {status}")
    kind, words, advice = hindrances[status]
    return kind(words, advice=advice)


def _refusal(status: int, who: str) -> SteadError:
    """Return why PAM does not believe the password."""
    if status in {
        PamStatus.AUTHENTICATION_ERROR, PamStatus.CREDENTIALS_INSUFFICIENT,
        PamStatus.PERMISSION_DENIED,
    }:  # fmt: skip
        return PasswordMismatchError(f"the password is not that of {who}")
    if status == PamStatus.USER_UNKNOWN:
        return UnknownAccountError(f"the host has no user {who}")
    if status == PamStatus.MAXIMUM_TRIES:
        return AccountLockedOutError(f"pam has locked {who} out")
    if status == PamStatus.CONVERSATION_ERROR:
        return LogonTypeNotGrantedError(
            f"pam asks {who} for more than a password",
            advice="this service can ask nothing else: write one that does not",
        )
    return unavailable(f"pam cannot look at passwords: error {status}")


def unavailable(words: str) -> DirectoryUnavailableError:
    """Return the error that PAM cannot be asked, with where its own words are."""
    return DirectoryUnavailableError(words, advice="pam's own words are in the journal")
