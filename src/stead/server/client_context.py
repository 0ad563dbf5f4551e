"""A client of a server: session, token and level, for one connection or request.

It is handed to handlers explicitly and goes where they pass it. Nothing of it is
ambient: a thread becomes the client only inside ``with client.impersonate():``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Final,
    NoReturn,
    Self,
)

from stead.authority.packages import OutboundCredentials
from stead.errors import InvalidRequestError
from stead.model.limits import Host, TokenLimits
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.model.trace_context import child_correlation
from stead.monitor.frames import FrameKind, made
from stead.monitor.guard import Guard
from stead.monitor.impersonation import Block
from stead.monitor.ports import Subject
from stead.server.acting.acting import Acting
from stead.server.explicit_hop import ExplicitHop
from stead.server.grants import Grant, Target, limits_of
from stead.server.machine_verbs import Hand, MachineVerbs
from stead.server.network_verbs import NetworkVerbs
from stead.server.second_hop import SecondHop

if TYPE_CHECKING:
    from stead.server.logon_session import LogonSession

_CLIENT: Final = FrameKind.CLIENT


class ClientContext(MachineVerbs, NetworkVerbs):
    """One client, as a server sees it.

    Attributes:
        subject: what checks and records are about.
    """

    __slots__ = ("_acting", "_end", "_guard", "_parent", "_process", "subject")

    def __init__(
        self,
        subject: Subject,
        guard: Guard,
        *,
        acting: Acting,
        end: Callable[[], object] | None,
    ) -> None:
        self.subject: Final = subject
        self._guard = guard
        self._acting = acting
        self._end = end
        self._parent: ClientContext | None = None
        self._process = os.getpid()

    @property
    def name(self) -> str:
        """The account's name, as records print it."""
        return self.subject.principal.name

    @property
    def sid(self) -> Sid:
        """The account's SID."""
        return self.subject.token.user

    @property
    def token(self) -> AccessToken:
        """The client's token; a value, which nothing here changes."""
        return self.subject.token

    @property
    def level(self) -> ImpersonationLevel:
        """How far the client lets the server go."""
        return self.subject.token.level

    # --- acting as the client ---------------------------------------------------------

    def impersonate(self) -> Block:
        """Return a block in which this thread is the client.

        Entering it raises `LoopThreadError` on an event loop's thread,
        `BadImpersonationLevelError` below level Impersonation, and whatever keeps the
        thread from becoming the client; then nothing in the block runs.
        """
        return made(Block, _CLIENT, self.subject, self._guard, self)

    @property
    def _hand(self) -> Hand:
        return Hand(self.subject, self._guard, self._acting, self)

    @property
    def _hop(self) -> SecondHop:
        return SecondHop(self._acting.hops, self.subject, keep=self)

    # --- lending it -------------------------------------------------------------------

    def limited(
        self,
        *,
        expires: datetime | timedelta,
        rights: Iterable[int] | int = (),
        targets: Iterable[Target] = (),
        privileges: Iterable[Privilege] = (),
        purpose: str = "",
    ) -> LimitedClient:
        """Return this client with a token that reaches nothing outside limits.

        For an agent, a job or a plug-in. The limits are judged with every question,
        and with what this client may do by itself: both must agree. They hold for
        `open`, `run` and `start`, which the kernel confines, and end with a time. A
        limited client can be limited again, and never widened. It is recorded durably
        before it is handed out.

        Args:
            expires: when it ends: a time with a time zone, or from now on.
            rights: such as `Doc.READ`, for objects of that class's kind;
                `FileRights` for what lies beneath file roots; `AccessMask` for
                every kind. Kinds that are not named are not reached.
            targets: what they may be used on: objects, or their exact names; what
                `prefix` and `ANY_NAME` mean; directories and files as `pathlib.Path`
                or `FileRoot`; `OperationName`s of the server's; `Host`s.
            privileges: which ones stay.
            purpose: what for, for the records.

        Raises:
            InvalidRequestError: that cannot be meant: such as a time that is over, a
                time without a zone, or a plain number as a right.
            LogonSessionEndedError: the session has ended.
            LedgerUnavailableError: it could not be recorded, so it is not made.
        """
        limits = limits_of(
            self._guard.clock(), expires, rights, targets, privileges, purpose
        )
        grant = self._acting.grants.make(self.subject, limits)
        return LimitedClient(grant, self._guard, acting=self._acting)

    # --- on other machines ------------------------------------------------------------

    def require_time(self, seconds: float) -> None:
        """Return if the session does not end by itself before some work does.

        Raises:
            CredentialsExpiredError: it ends sooner.
            LogonSessionEndedError: it has ended.
        """
        self._acting.network.require_time(self.subject, seconds)

    def with_new_credentials(self, *credentials: OutboundCredentials) -> LogonSession:
        r"""Return a session that is this client here, and somebody else elsewhere.

            with client.with_new_credentials(
                PasswordCredentials(r"CORP\alice", password)
            ) as session:
                ...

        Its token is a copy of this client's, in a logon session of its own; what it
        shows to other machines are these credentials, which nobody here compares
        (Win32: LogonUser, LOGON32_LOGON_NEW_CREDENTIALS). They are the session's from
        here on, and wiped on every path. It ends with this client's session.

        Raises:
            InvalidRequestError: there are none.
            BadImpersonationLevelError: the client does not let the server go so far.
            LogonSessionEndedError: its session has ended.
            LedgerUnavailableError: it could not be recorded, so it is not made.
        """
        # It imports this module, whose clients it holds.
        from stead.server.logon_session import LogonSession  # noqa: PLC0415

        made = self._acting.network.open_session(self.subject, credentials)
        client = ClientContext(
            made.subject, self._guard, acting=self._acting, end=made.let_go
        )
        shown = partial(self._acting.credentials_of, made.subject.token)
        return LogonSession(client, made.record, made.log_off, shown)

    def explicit_credentials(
        self, credentials: OutboundCredentials, *, target: Host
    ) -> AbstractContextManager[ExplicitHop]:
        r"""Return a block with credentials for one other machine, and no logon here.

            with client.explicit_credentials(
                PasswordCredentials("alice@CORP.EXAMPLE", password),
                target=Host("files.example", 445),
            ) as shown:
                names = shown.smb("files.example").listdir("data")

        What it yields has this client's verbs, `http` to `gss`, for that host and port
        alone, with these credentials alone. That the client uses them there is recorded
        durably before (Windows event 4648; Win32: WNetAddConnection2), and each use as
        every second hop is. They are wiped, and what is connected with them is cut,
        when the block is left or the client's session ends.

        Raises:
            BadImpersonationLevelError: the client does not let the server go so far.
            AccessDeniedError: its limits do not name the machine.
            LogonSessionEndedError: its session has ended.
            LedgerUnavailableError: it could not be recorded.
        """
        return self._acting.network.explicit(
            self.subject, credentials, target, keep=self
        )

    # --- its life ---------------------------------------------------------------------

    def with_correlation(
        self, correlation: str, *, operation: str = ""
    ) -> ClientContext:
        """Return the same client for one request, whose records it ties together."""
        made = ClientContext(
            replace(self.subject, correlation=correlation, operation=operation),
            self._guard,
            acting=self._acting,
            end=None,
        )
        made._parent = self  # the session lives as long as anybody holds it
        return made

    def for_request(self, number: int, operation: str = "") -> ClientContext:
        """Return the same client for one of its requests: a span of its trace.

        Args:
            number: which request, in the order they come.
            operation: what is asked for, as its records name it.
        """
        mark = child_correlation(self.subject.correlation, number, secrets.token_bytes)
        return self.with_correlation(mark, operation=operation)

    def close(self) -> None:
        """Let go of the client's session; again does nothing.

        It ends when nothing else acts in it any more: no block, process or function.
        """
        end, self._end = self._end, None
        # The session is the server's, not that of a process forked from it; and a lock
        # that was held at the fork is held there for ever.
        if end is not None and os.getpid() == self._process:
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Forgotten: the session ends all the same. Ending waits for nothing.
        if getattr(self, "_end", None) is not None:
            self.close()

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError(
            "a client is neither pickled nor copied",
            advice="another process opens the store itself; see also `client.run`",
        )

    def __repr__(self) -> str:
        return f"ClientContext({self.name!r}, {self.level.name.lower()})"


class LimitedClient(ClientContext):
    """A client that reaches nothing outside its limits, for some time.

    Leaving its `with` block, closing it and revoking it are one thing: it ends at once,
    with every function and program that acts in it. One that is forgotten ends when
    nothing acts in it any more, or its time is over.
    """

    __slots__ = ("_grant",)

    def __init__(self, grant: Grant, guard: Guard, *, acting: Acting) -> None:
        # The grant holds the lender's session: the lender may be forgotten.
        super().__init__(grant.subject, guard, acting=acting, end=grant.revoke)
        self._grant = grant

    @property
    def limits(self) -> TokenLimits:
        """What it reaches at most."""
        return self._grant.limits

    def revoke(self) -> None:
        """End it at once, with whatever acts in it; again does nothing."""
        self.close()

    def __del__(self) -> None:
        # Forgotten, not revoked: what it has started may go on, within its time.
        if getattr(self, "_end", None) is not None:
            self._end = self._grant.let_go
            self.close()

    def __repr__(self) -> str:
        return f"LimitedClient({self.name!r}, grant {self.limits})"
