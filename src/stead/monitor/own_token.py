"""Blocks in which a thread holds another token of the same somebody.

Win32: ImpersonateSelf, and AdjustTokenPrivileges on a thread's token. A server that
needs a privilege for a moment enables it in one block on one thread; every other thread
goes on without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stead.decision.token_access import open_token
from stead.decision.token_ops import adjust_privileges, duplicate_token
from stead.errors import (
    BadImpersonationLevelError,
    InvalidRequestError,
    NoProcessTokenError,
    NoThreadTokenError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model.access_mask import TokenRights
from stead.model.arguments import several
from stead.model.privilege import Privilege
from stead.model.token import AccessToken, ImpersonationLevel, TokenType
from stead.monitor import context, effective
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.ports import Subject

if TYPE_CHECKING:
    from stead.monitor.guard import Guard


def impersonate_self(
    level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION,
    *,
    guard: Guard | None = None,
) -> Block:
    """Return a block in which this thread acts as the server, by a copy of its token.

    What is changed about the copy is this thread's alone (Win32: ImpersonateSelf).
    Below level impersonation the copy only identifies: raw acts are refused.

    Args:
        level: the copy's.
        guard: which server; the one in force if not given.

    Raises:
        NoProcessTokenError: no server is open here, or several and none is in force.
        StrangerIdentityError: what was found here is not this thread's or task's own.
        BadImpersonationLevelError: the level is anonymous, which acts as nobody.
        AccessDeniedError: the process token's list does not let it be duplicated.
    """
    guard = guard or _guard_in_force()
    if level < ImpersonationLevel.IDENTIFICATION:
        raise BadImpersonationLevelError(
            level,
            ImpersonationLevel.IDENTIFICATION,
            act="a copy of the server's own token",
            advice="`server.anonymous()` acts as nobody in particular",
        )
    return _as_server(guard, _copy(guard.process_token, level))


def enable_privileges(*privileges: Privilege, guard: Guard | None = None) -> Block:
    """Return a block in which the token in force here has privileges enabled.

    In a client's block that is the client's token, else the server's own. Unlike
    AdjustTokenPrivileges, which may do a part and say so in the last error, it enables
    all of them or raises. They are as they were when the block ends.

    Args:
        privileges: what the token holds, enabled or not.
        guard: which server, where nobody is anybody; the one in force if not given.

    Raises:
        PrivilegeNotHeldError: the token lacks one of them.
        InvalidRequestError: none is named, or one is none.
        NoThreadTokenError: this is a handler that has not said who it is.
        NoProcessTokenError, StrangerIdentityError, AccessDeniedError: as of
            `impersonate_self`.
    """
    if not privileges:
        raise InvalidRequestError("no privilege is named")
    several("privileges", privileges, Privilege, "such as `Privilege.BACKUP`")
    frame = context.current_frame()
    if frame is None or frame.kind is FrameKind.SERVER:
        guard = (None if frame is None else frame.guard) or guard or _guard_in_force()
        own = None if frame is None or frame.subject is None else frame.subject.token
        token = own or _copy(guard.process_token, ImpersonationLevel.IMPERSONATION)
        return _as_server(guard, _enabled(guard, None, token, privileges))
    if frame.subject is None:
        raise NoThreadTokenError(
            "a handler has no token whose privileges could be enabled",
            advice="say who acts: `with client.impersonate():`, or `with "
            "server.as_server():`",
        )
    if frame.subject.effective_only:
        error = PrivilegeNotHeldError(
            tuple(privileges),
            advice="the client gave the server what is enabled, and nothing else",
        )
        if frame.guard is not None:
            frame.guard.own.adjusting(frame.subject, privileges, error)
        raise error
    subject, token = frame.subject, frame.subject.token
    enabled = _enabled(frame.guard, subject, token, privileges)
    return Block(FrameKind.CLIENT, replace(subject, token=enabled), frame.guard)


def _guard_in_force() -> Guard:
    guard = effective.current_guard()
    if guard is None:
        raise NoProcessTokenError(
            "this process has no primary token", advice="open a `ProtectedServer`"
        )
    return guard


def _copy(token: AccessToken, level: ImpersonationLevel) -> AccessToken:
    opened = open_token(token, caller=token, desired=int(TokenRights.DUPLICATE))
    return duplicate_token(opened.token, type=TokenType.IMPERSONATION, level=level)


def _enabled(
    guard: Guard | None,
    subject: Subject | None,
    token: AccessToken,
    privileges: tuple[Privilege, ...],
) -> AccessToken:
    """Return the token with privileges enabled; recorded, and so is a refusal."""
    desired = int(TokenRights.ADJUST_PRIVILEGES)
    try:
        opened = open_token(token, caller=token, desired=desired)
        made = adjust_privileges(opened.token, dict.fromkeys(privileges, True))
    except SteadError as error:
        if guard is not None:
            guard.own.adjusting(subject, privileges, error)
        raise
    if guard is not None:
        guard.own.adjusting(subject, privileges, None)
    return made


def _as_server(guard: Guard, token: AccessToken) -> Block:
    return Block(FrameKind.SERVER, Subject(token, guard.server), guard)
