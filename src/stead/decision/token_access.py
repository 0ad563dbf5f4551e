"""Tokens as securable objects: their own descriptor, TOKEN_ rights, open-as-self.

Win32 OpenProcessToken, OpenThreadToken and the functions that take a token's handle.
A token guards itself like any other object: who opens it is judged by its `security`,
and what may be done with what was opened is what was granted then.

>>> from stead.model.sid import Sid
>>> alice = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
>>> opened = open_token(alice, caller=alice, desired=int(TokenRights.QUERY))
>>> opened.require(TokenRights.DUPLICATE)
Traceback (most recent call last):
    ...
stead.errors.AccessDeniedError: the token was opened without DUPLICATE
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from stead.decision.access_check import access_check
from stead.decision.token_ops import (
    PrivilegeChange,
    adjust_groups,
    adjust_privileges,
    duplicate_token,
)
from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    CannotOpenAnonymousError,
)
from stead.model.access_mask import (
    AccessMask,
    GenericMapping,
    TokenRights,
    name_rights,
)
from stead.model.ace import AccessAllowedAce
from stead.model.acl import Acl
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel, TokenType
from stead.model.well_known import LOCAL_SYSTEM

TOKEN_MAPPING: Final = GenericMapping(
    read=int(AccessMask.READ_CONTROL | TokenRights.QUERY),
    write=int(
        AccessMask.READ_CONTROL
        | TokenRights.ADJUST_PRIVILEGES
        | TokenRights.ADJUST_GROUPS
        | TokenRights.ADJUST_DEFAULT
    ),
    execute=int(AccessMask.READ_CONTROL | TokenRights.IMPERSONATE),
    all=int(TokenRights.ALL_ACCESS),
)
"""What generic rights mean on a token (winnt.h, TOKEN_READ, TOKEN_WRITE, ...)."""

_NAMES: Final = {right.name: int(right) for right in TokenRights if right.name}


@dataclass(frozen=True, slots=True)
class TokenHandle:
    """A token that was opened, and what may be done with it.

    Attributes:
        token: the token.
        granted: `TokenRights` and standard rights, fixed when it was opened.
    """

    token: AccessToken
    granted: int

    def require(self, rights: int) -> AccessToken:
        """Demand rights that were granted at the opening.

        Returns:
            the token.

        Raises:
            AccessDeniedError: one of them was not.
        """
        missing = int(rights) & ~self.granted
        if missing:
            names = name_rights(missing, _NAMES)
            raise AccessDeniedError(f"the token was opened without {names}")
        return self.token

    def duplicate(
        self,
        *,
        type: TokenType | None = None,  # noqa: A002 - the word of the token's field
        level: ImpersonationLevel | None = None,
        security: SecurityDescriptor | None = None,
        token_id: Luid = NO_LUID,
    ) -> AccessToken:
        """Copy the token (DuplicateTokenEx); needs DUPLICATE.

        Args:
            type: see `stead.decision.token_ops.duplicate_token`; so for level.
            level: see there.
            security: the copy's own descriptor; the default one if not given.
            token_id: the copy's own number.

        Raises:
            AccessDeniedError: DUPLICATE was not granted.
            BadImpersonationLevelError: the level was to be raised.
        """
        token = self.require(TokenRights.DUPLICATE)
        copy = duplicate_token(token, type=type, level=level, token_id=token_id)
        return replace(copy, security=security)

    def adjust_privileges(
        self, changes: Mapping[Privilege, PrivilegeChange]
    ) -> TokenHandle:
        """Adjust its privileges; needs ADJUST_PRIVILEGES."""
        token = self.require(TokenRights.ADJUST_PRIVILEGES)
        return replace(self, token=adjust_privileges(token, changes))

    def adjust_groups(self, changes: Mapping[Sid, bool]) -> TokenHandle:
        """Adjust its groups; needs ADJUST_GROUPS."""
        token = self.require(TokenRights.ADJUST_GROUPS)
        return replace(self, token=adjust_groups(token, changes))

    def query(self) -> AccessToken:
        """Read what it says (GetTokenInformation); needs QUERY."""
        return self.require(TokenRights.QUERY)

    def to_impersonate(self) -> AccessToken:
        """Return the token for a thread to carry (ImpersonateLoggedOnUser).

        A primary token needs QUERY and DUPLICATE, an impersonation token QUERY and
        IMPERSONATE.
        """
        is_primary = self.token.type is TokenType.PRIMARY
        other = TokenRights.DUPLICATE if is_primary else TokenRights.IMPERSONATE
        return self.require(TokenRights.QUERY | other)

    def to_assign(self) -> AccessToken:
        """Return the token for a new process (CreateProcessAsUser).

        Needs QUERY, DUPLICATE and ASSIGN_PRIMARY.
        """
        rights = TokenRights.QUERY | TokenRights.DUPLICATE | TokenRights.ASSIGN_PRIMARY
        return self.require(rights)


def default_token_security(token: AccessToken) -> SecurityDescriptor:
    """Return a token's descriptor where nobody gave one: its user's and SYSTEM's."""
    return SecurityDescriptor(
        owner=token.default_owner,
        group=token.default_group,
        dacl=Acl(
            tuple(
                AccessAllowedAce(trustee, int(TokenRights.ALL_ACCESS))
                for trustee in dict.fromkeys((token.user, LOCAL_SYSTEM))
            )
        ),
    )


def open_token(token: AccessToken, *, caller: AccessToken, desired: int) -> TokenHandle:
    """Open a token, judged by its own descriptor (OpenProcessToken).

    Args:
        token: what is opened.
        caller: the effective token of whoever asks.
        desired: `TokenRights`; generic ones are mapped.

    Raises:
        CannotOpenAnonymousError: the token's level is anonymous.
        AccessDeniedError: the caller may not.
        BadImpersonationLevelError: the caller is below level impersonation, which
            may be judged and opens nothing.
    """
    if token.level is ImpersonationLevel.ANONYMOUS:
        raise CannotOpenAnonymousError("a token of level anonymous cannot be opened")
    if caller.level < ImpersonationLevel.IMPERSONATION:
        raise BadImpersonationLevelError(
            caller.level, ImpersonationLevel.IMPERSONATION, act="opening a token"
        )
    security = token.security or default_token_security(token)
    mapped = TOKEN_MAPPING.map(int(desired))
    decision = access_check(caller, security, mapped, TOKEN_MAPPING)
    if not decision:
        names = name_rights(mapped, _NAMES)
        raise AccessDeniedError(
            f"the token may not be opened for {names}", decision=decision
        )
    return TokenHandle(token, decision.granted)


def open_thread_token(
    thread_token: AccessToken,
    *,
    process_token: AccessToken,
    desired: int,
    open_as_self: bool,
) -> TokenHandle:
    """Open the token that a thread carries (OpenThreadToken).

    Args:
        thread_token: the thread's impersonation token.
        process_token: its process's token.
        desired: `TokenRights`; generic ones are mapped.
        open_as_self: judge the process, not the client that the thread is just now.
            At level identification there is no other way.

    Raises:
        CannotOpenAnonymousError: the thread's token is of level anonymous.
        AccessDeniedError: whoever is judged may not.
        BadImpersonationLevelError: the client is judged and its level opens nothing.
    """
    caller = process_token if open_as_self else thread_token
    return open_token(thread_token, caller=caller, desired=desired)
