"""What a limited token's processes are confined to (`stead.privileged.confinement`)."""

from __future__ import annotations

import os
from typing import Final

from stead.errors import (
    AccessDeniedError,
    EnforcementUnavailableError,
    InvalidNameError,
    InvalidRequestError,
)
from stead.model.access_mask import FileRights
from stead.model.limits import FileRoot, TokenLimits
from stead.model.token import AccessToken
from stead.privileged.confinement import Confinement
from stead.privileged.confining import LEAST_ABI, landlock_abi

_CHANGING: Final = os.O_CREAT | os.O_TRUNC | os.O_APPEND


def require_confinable(token: AccessToken) -> None:
    """Return if a token has no limits, or this kernel keeps them.

    Raises:
        EnforcementUnavailableError: it does not; nothing is done with less.
    """
    if token.limits is None:
        return
    found = landlock_abi()
    if found < LEAST_ABI:
        raise EnforcementUnavailableError(
            f"Landlock is of version {found} here, so that nothing keeps a process "
            "within limits",
            advice="`stead doctor` says which kernel does",
        )


def confinement_of(
    token: AccessToken, *, runs_programs: bool = False
) -> Confinement | None:
    """Return what a token's processes are confined to; None where it has no limits.

    Args:
        token: whose.
        runs_programs: whether a program is executed.
    """
    if token.limits is None:
        return None
    roots = token.limits.file_roots()
    return Confinement(
        tuple((os.fsencode(root.path), root.rights) for root in roots),
        runs_programs or any(root.rights & FileRights.EXECUTE for root in roots),
    )


def root_for(token: AccessToken, path: str, flags: int) -> str:
    """Return the file root beneath which a path is opened; empty without limits.

    Raises:
        AccessDeniedError: the token's limits do not leave it.
        InvalidNameError: the path does not say by itself where it leads.
    """
    limits = token.limits
    if limits is None:
        return ""
    try:
        FileRoot(path)
    except InvalidRequestError as error:
        raise InvalidNameError(
            "a limited client opens absolute paths without `.` and `..`"
        ) from error
    missing = _needed(flags) & ~limits.rights_at(path)
    if missing:
        raise AccessDeniedError(object_name=path, advice=_why(limits, path))
    return max((root.path for root in limits.file_roots() if root.holds(path)), key=len)


def _needed(flags: int) -> int:
    kind = flags & os.O_ACCMODE
    needed = 0 if kind == os.O_WRONLY else int(FileRights.READ_DATA)
    if kind != os.O_RDONLY or flags & _CHANGING:
        needed |= int(FileRights.WRITE_DATA)
    return needed


def _why(limits: TokenLimits, path: str) -> str:
    if limits.rights_at(path):
        return f"grant {limits} leaves less of this file"
    return f"grant {limits} has no file root there"
