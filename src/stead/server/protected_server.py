"""`ProtectedServer`: a server with a security context of its own.

with ProtectedServer("notes", store="notes.db") as server:
    client = server.client_for("alice", authenticated_by="oauth")
    with client.impersonate():
        ...
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, NoReturn, Self, TypeVar, Unpack

from stead.authority.name_lookup import FoundName
from stead.authority.packages import Authenticated, ChannelBinding
from stead.errors import InvalidRequestError, ServerClosedError, SteadError
from stead.gates.ports import Entrance
from stead.model.access_mask import Rights
from stead.model.decision import AccessDecision
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import Privilege
from stead.model.quality_of_service import QualityOfService
from stead.model.secret import Secret
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import context
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.leaks import LeakWatch
from stead.monitor.own_token import impersonate_self
from stead.monitor.securable_object import Handle, ObjectKind, SecurableObject
from stead.privileged.probe import KernelSupport
from stead.server.administration import Administration
from stead.server.admission import Arrival, new_correlation
from stead.server.auditing import AuditDesk
from stead.server.authentication import AS_SHOWN, LogonExchange
from stead.server.built_in_operations import offer_built_ins
from stead.server.client_context import ClientContext
from stead.server.composition import House, compose
from stead.server.enforcement import Enforcement
from stead.server.explaining import Explanation
from stead.server.leaking import watch_leaks
from stead.server.logon_session import LogonSession
from stead.server.objects import Entries
from stead.server.operations import Handler
from stead.server.questions import Questions
from stead.server.reception import Reception
from stead.server.serving import Gate, serve
from stead.server.session_desk import SessionDesk
from stead.server.settings import ServerOptions, Settings
from stead.server.trail import Trail

_H = TypeVar("_H", bound=Handler)


class ProtectedServer:
    """A server that can act as its clients, and writes down when it does.

    Opening it starts its threads. Close it, or use it as a context manager.

    Attributes:
        name: what records call it; its service SID is made of it.
    """

    def __init__(
        self,
        name: str,
        store: str | os.PathLike[str] = ":memory:",
        **options: Unpack[ServerOptions],
    ) -> None:
        """Open the server; a step that fails undoes those before it.

        The options are those of `stead.server.settings.Settings`.

        Raises:
            EnforcementUnavailableError: the kernel was insisted on and cannot enforce.
            UnsafeStoreError, StoreUnavailableError: the store is unsafe, or unreadable.
            LedgerUnavailableError: the start could not be recorded.
        """
        self.name: Final = name
        self._pid = os.getpid()
        self._house: House = compose(Settings(name, store, **options))
        self._is_closed = False
        offer_built_ins(self)

    # --- what it is -------------------------------------------------------------------

    @property
    def token(self) -> AccessToken:
        """The server's own primary token."""
        return self._house.own.token

    @property
    def enforcement(self) -> Enforcement:
        """Who judges what a client does to the machine itself."""
        return self._house.enforcement

    @property
    def broker(self) -> str:
        """The socket of the broker that starts clients' processes; empty if none does.

        With one, `open`, `run` and `start` are judged by the kernel as the client, and
        blocks of `impersonate` by tokens only, on every thread.
        """
        tickets = self._house.tickets
        return "" if tickets is None else tickets.link.path

    @property
    def support(self) -> KernelSupport:
        """What the machine offers, and why not more."""
        return self._house.support

    @property
    def accounts(self) -> Administration:
        """The account desk, acting as the server itself."""
        return self._open.administration

    @property
    def trail(self) -> Trail:
        """The audit trail, read as the server itself."""
        return self._open.trail

    @property
    def audit_policy(self) -> AuditDesk:
        """What is recorded beyond what always is, changed as the server itself."""
        return self._open.audit_desk

    def audit_policy_for(self, client: ClientContext) -> AuditDesk:
        """Return what is recorded beyond what always is, changed by a client."""
        return replace(self._open.audit_desk, subject=client.subject)

    def accounts_for(self, client: ClientContext) -> Administration:
        """Return the account desk, acting for a client."""
        return replace(self._open.administration, subject=client.subject)

    @property
    def sessions(self) -> SessionDesk:
        """The logon sessions of every process that shares the store, as the server."""
        return self._open.session_desk

    def sessions_for(self, client: ClientContext) -> SessionDesk:
        """Return the logon sessions of every process, as a client may see and end."""
        desk = self._open.session_desk
        return replace(desk, desk=replace(desk.desk, subject=client.subject))

    def trail_for(self, client: ClientContext) -> Trail:
        """Return the audit trail, read by a client."""
        return replace(self._open.trail, subject=client.subject)

    @property
    def _open(self) -> House:
        if self._is_closed:
            raise ServerClosedError(f"server `{self.name}` is closed")
        return self._house

    def name_of(self, sid: Sid) -> str:
        """Return the name of a SID as people read it, or its text."""
        return self._open.guard.names(sid)

    def lookup(self, who: Sid | str) -> FoundName:
        r"""Return who a name or a SID means, who says so, and for how long that counts.

        Args:
            who: a SID or its text; `alice`; `domain\name` or `name@realm`; `uid 1000`
                or `gid 100`. The host's own users are `Unix User\alice`.

        Raises:
            UnknownAccountError: nobody, by what can be known now.
            InvalidSidError: it begins like a SID and is none.
            AmbiguousNameError: two sources mean different ones.
            DirectoryUnavailableError: whoever might know does not answer.
        """
        lookup = self._open.lookup
        return lookup.name_of(who) if isinstance(who, Sid) else lookup.find(who)

    # --- objects ----------------------------------------------------------------------

    def protect(
        self,
        name: str,
        rights: type[Rights],
        entries: Entries | None = None,
        *,
        owner: Sid | str | None = None,
    ) -> SecurableObject:
        """Return the object of this name, made now if the store has none.

        An object that exists keeps the descriptor it has. A new one takes what is not
        said here from the effective token: inside a client's block, the client's owner
        and default DACL; outside, the server's.

        Args:
            name: 1 to 256 printable characters.
            rights: what can be done with it.
            entries: `allow`, `deny`, `audit` or ACEs, in the order they are judged.
            owner: the owner; None for the effective token's.

        Raises:
            UnknownAccountError: an entry or the owner names nobody.
            NoThreadTokenError: this is a handler that has not said who it is.
        """
        house = self._open
        return house.objects.protect(
            house.guard,
            name,
            ObjectKind.of(rights),
            token=self._effective_token(),
            entries=entries,
            owner=owner,
        )

    def _effective_token(self) -> AccessToken:
        frame = context.current_frame()
        if frame is None or frame.guard is not self._house.guard:
            return self.token
        return context.effective_token()

    def find_object(self, name: str) -> SecurableObject:
        """Return the object of this name; raises `UnknownObjectError`."""
        return self._open.objects.find(name)

    def set_entries(
        self, client: ClientContext, securable: SecurableObject, entries: Entries
    ) -> None:
        """Replace an object's entries for a client that may; recorded first.

        Raises:
            AccessDeniedError: the client lacks WRITE_DAC (for audit entries, also
                SeSecurityPrivilege).
        """
        house = self._open
        house.objects.set_entries(house.guard, client.subject, securable, entries)

    def set_audit(
        self, client: ClientContext, securable: SecurableObject, entries: Entries
    ) -> None:
        """Replace the audit entries of an object's SACL for a client that may.

        Args:
            client: on whose behalf.
            securable: the object.
            entries: `audit(whom, rights)`; none to take them all.

        Raises:
            AccessDeniedError: the client lacks SeSecurityPrivilege.
        """
        house = self._open
        house.objects.set_audit(house.guard, client.subject, securable, entries)

    def delete_object(
        self,
        client: ClientContext,
        securable: SecurableObject,
        *,
        handle: Handle | None = None,
    ) -> None:
        """Delete an object for a client that may; recorded first.

        Args:
            client: on whose behalf.
            securable: the object.
            handle: how the client opened it, if it did: it must have DELETE then.

        Raises:
            AccessDeniedError: the client lacks DELETE.
        """
        house = self._open
        subject, objects = client.subject, house.objects
        objects.delete(house.guard, subject, securable, handle)

    # --- judging ----------------------------------------------------------------------

    def require(
        self, client: ClientContext, securable: SecurableObject, rights: int
    ) -> AccessDecision:
        """Judge, record durably, and return only if access is granted.

        Raises:
            AccessDeniedError: it is not; `decision` and `record` say why.
            LedgerUnavailableError: it could not be recorded, so it is not done.
        """
        return self._open.guard.require(client.subject, securable, int(rights))

    def refuse_unknown(self, client: ClientContext, name: str) -> NoReturn:
        """Refuse an object that is not there as a closed one is: same words, recorded.

        Raises:
            AccessDeniedError: always.
        """
        self._open.guard.refuse_unknown(client.subject, name)

    def check(
        self, client: ClientContext, securable: SecurableObject, rights: int
    ) -> AccessDecision:
        """Judge and return the decision; recorded only if the object's SACL asks."""
        return self._open.guard.check(client.subject, securable, int(rights))

    def open_object(
        self, client: ClientContext, securable: SecurableObject, rights: int
    ) -> Handle:
        """Open a handle that remembers what was granted; raises as `require` does."""
        return self._open.guard.open(client.subject, securable, int(rights))

    def require_privilege(
        self,
        client: ClientContext,
        *privileges: Privilege,
        operation: str,
        on: SecurableObject | None = None,
    ) -> int:
        """Demand privileges of a client, all enabled; return the record's number.

        Args:
            client: who needs them.
            privileges: which.
            operation: what they are needed for.
            on: the object they are used on, if it is one.

        Raises:
            PrivilegeNotHeldError: one is not held enabled.
        """
        if not privileges:
            raise InvalidRequestError("no privilege is named")
        return self._open.guard.require_privilege(
            client.subject, privileges, operation=operation, on=on
        )

    def report(
        self,
        client: ClientContext,
        operation: str,
        *,
        on: SecurableObject | None = None,
        error: SteadError | None = None,
        **detail: str,
    ) -> int:
        """Record what this server's own code did for a client; return the number.

        What Stead judges and does is recorded without this. Windows has it as event
        4666 (AuthzReportSecurityEvent).

        Args:
            client: for whom.
            operation: what was done, in the server's own words.
            on: the object, if it is one.
            error: why it was refused, if it was.
            detail: more, by name; never a secret.

        Raises:
            PrivilegeNotHeldError: the server's token lacks SeAuditPrivilege.
            LedgerUnavailableError: it could not be recorded.
        """
        return self._open.guard.own.report(
            client.subject,
            operation=operation,
            error=error,
            object_type="" if on is None else on.kind.name,
            object_name="" if on is None else on.name,
            detail=detail,
        )

    def questions_for(self, client: ClientContext) -> Questions:
        """Return the questions a client may ask: why, who can do what, what can who."""
        house = self._open
        return Questions(house.explainer, house.objects, client.subject)

    def explain(
        self,
        asker: ClientContext,
        account: str,
        securable: SecurableObject,
        rights: int,
    ) -> Explanation:
        """Say whether an account would be granted rights now; see `Questions`."""
        return self.questions_for(asker).explain(account, securable, int(rights))

    # --- clients ----------------------------------------------------------------------

    def client_for(
        self,
        name: str,
        *,
        authenticated_by: str,
        level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION,
        gate: str = "local",
        peer: str = "",
        correlation: str | None = None,
        via: ClientContext | None = None,
    ) -> ClientContext:
        """Return a client that somebody trusted has authenticated; no credentials.

        To a broker this server's word is no evidence: with one, nothing is done as the
        client on the machine, unless `via` is the same account and is connected.

        Args:
            name: the account.
            authenticated_by: who vouches for it, in words: `oauth`, `session cookie`.
            level: how far the client lets the server go.
            gate: how it came.
            peer: what is known of the other end.
            correlation: what the client calls what it does, such as a `traceparent`;
                behind `SteadMiddleware` the request's own is taken if this is not said.
            via: the client of a gate that brought it, if one did.

        Raises:
            PrivilegeNotHeldError: the server's token lacks SeTcbPrivilege.
            UnknownAccountError, AccountDisabledError, LogonTypeNotGrantedError: as they
                say; a client hears the same of each.
            LedgerUnavailableError: it could not be recorded.
        """
        if not authenticated_by.strip():
            raise InvalidRequestError("say who authenticated the client")
        mark = new_correlation(correlation)
        arrival = Arrival(gate, peer, mark, "asserted", authenticated_by)
        return self._open.admission.admit_asserted(
            name, level=level, arrival=arrival, via=via
        )

    def client_for_peer(
        self,
        peer: PosixIdentity,
        *,
        description: str = "",
        gate: str = "local",
        level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION,
    ) -> ClientContext:
        """Return a local peer as a client; its ids come from the kernel, verified.

        Raises:
            LogonFailureError: it is not admitted; the trail says why.
        """
        arrival = Arrival(gate, description, new_correlation(), "peer", "kernel")
        quality = QualityOfService(level, effective_only=False)
        return self._open.admission.admit_peer(peer, quality=quality, arrival=arrival)

    def log_on(
        self,
        name: str,
        secret: Secret | str | bytes,
        logon_type: LogonType = LogonType.INTERACTIVE,
        *,
        gate: str = "local",
        peer: str = "",
        via: ClientContext | None = None,
    ) -> LogonSession:
        """Log an account on with its password (Win32: LogonUser).

        The session lives until it is closed and nothing acts in it any more.

        Args:
            name: the account.
            secret: its password; a `Secret` is wiped, whatever comes of it.
            logon_type: a primary token, or an impersonation token for NETWORK.
            gate: how the password came.
            peer: from whom, as far as that is known.
            via: the client that gave it, if it came from one.

        Raises:
            LogonFailureError: it failed, for whatever reason; the trail has it.
            SteadError: the server cannot, or may not; see `Admission.log_on`.
        """
        arrival = Arrival(gate, peer, new_correlation(), "password", "password")
        return self._open.admission.log_on(
            name, Secret.of(secret), logon_type, arrival=arrival, via=via
        )

    def begin_logon(
        self,
        package: str,
        *,
        gate: str = "local",
        peer: str = "",
        binding: ChannelBinding | None = None,
        quality: QualityOfService = AS_SHOWN,
        correlation: str | None = None,
        wait: Callable[[float], None] | None = None,
    ) -> LogonExchange:
        """Begin to have a client show who it is (Win32: AcceptSecurityContext).

        Args:
            package: by which of the server's packages.
            gate: how the client came.
            peer: from where, as far as that is known.
            binding: what ties the exchange to its channel; a package that can bind
                demands it then.
            quality: what the client lets be done with its identity.
            correlation: the client's own name for what it does, unverified.
            wait: called with the seconds by which a failure's answer must be late, as
                in `admit_shown`.

        Raises:
            LogonFailureError: there is no such package; the trail says so.
            PrivilegeNotHeldError: the server may not say who clients are.
        """
        arrival = Arrival(
            gate, peer, new_correlation(correlation), package, package, wait=wait
        )
        return self._open.authentication.begin(package, binding, quality, arrival)

    def admit(
        self,
        client: Authenticated,
        *,
        gate: str = "local",
        peer: str = "",
        quality: QualityOfService = AS_SHOWN,
        correlation: str | None = None,
    ) -> LogonSession:
        """Return the session of a client whom an adapter has authenticated at once.

        Args:
            client: what the adapter says of it: a certificate's or a token's.
            gate: how the client came.
            peer: from where, as far as that is known.
            quality: what the client lets be done with its identity.
            correlation: the client's own name for what it does, unverified.

        Raises:
            LogonFailureError: it is not admitted, whatever the cause; the trail has it.
            PrivilegeNotHeldError: the server may not say who clients are.
        """
        arrival = Arrival(
            gate, peer, new_correlation(correlation), client.package, client.issuer
        )
        return self._open.authentication.admit(client, quality, arrival)

    def admit_shown(
        self,
        show: Callable[[], Authenticated],
        *,
        package: str,
        gate: str = "local",
        peer: str = "",
        quality: QualityOfService = AS_SHOWN,
        correlation: str | None = None,
        wait: Callable[[float], None] | None = None,
    ) -> LogonSession:
        """Return the session of a client by what it shows, judged here and recorded.

            show = partial(certificates.verify, leaf)
            session = server.admit_shown(show, package="certificate")

        Args:
            show: returns who it is; what it raises is in the trail as the reason.
            package: what judges it, for the record of a failure.
            gate: how the client came.
            peer: from where, as far as that is known.
            quality: what the client lets be done with its identity.
            correlation: the client's own name for what it does, unverified.
            wait: called with the seconds by which a failure's answer must be late; for
                event loops, where no thread should. Without it this waits itself.

        Raises:
            LogonFailureError: it is not admitted, whatever the cause; the trail has it.
            PrivilegeNotHeldError: the server may not say who clients are.
        """
        arrival = Arrival(
            gate, peer, new_correlation(correlation), package, package, wait=wait
        )
        return self._open.authentication.admit_shown(show, quality, arrival)

    @property
    def packages(self) -> tuple[str, ...]:
        """What clients may show who they are by, the preferred first."""
        return self._open.authentication.names

    def as_server(self) -> Block:
        """Return a block in which this thread acts as the server, written down."""
        return Block(FrameKind.SERVER, None, self._open.guard)

    def impersonate_self(
        self, level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION
    ) -> Block:
        """Return a block in which this thread holds a copy of the server's own token.

        See `stead.impersonate_self`.
        """
        return impersonate_self(level, guard=self._open.guard)

    def anonymous(self) -> Block:
        """Return a block in which this thread is nobody in particular.

        Win32: ImpersonateAnonymousToken. It is judged as ANONYMOUS LOGON, which is not
        in Everyone. The kernel knows no such user: on a thread of `executor()` entering
        it raises `ImpersonationRefusedError`; elsewhere raw acts are refused inside.
        """
        house = self._open
        return Block(FrameKind.CLIENT, house.nobody(), house.guard)

    def executor(self) -> Executor:
        """Return the threads on which the kernel judges a client's blocks.

        Under `Enforcement.TOKEN`, or with a broker, they are ordinary threads and raw
        acts inside blocks are refused there as everywhere.
        """
        return self._open.executor

    def watch_leaks(self) -> AbstractContextManager[LeakWatch]:
        """Return a block in which leaked identities are looked for, in this process.

        Each is logged and recorded as IDENTITY_LEAKED, once for each place that
        entered it. `stead serve` does this.
        """
        return watch_leaks(self._open.guard)

    # --- operations and gates ---------------------------------------------------------

    def operation(
        self,
        name: str,
        *,
        privileges: Collection[Privilege] = (),
        level: ImpersonationLevel = ImpersonationLevel.IDENTIFICATION,
    ) -> Callable[[_H], _H]:
        """Return a decorator that offers a function to clients.

        Args:
            name: what clients ask for.
            privileges: what their tokens must hold, all enabled.
            level: the least level at which they may ask.
        """

        def offer(handler: _H) -> _H:
            self._open.dispatcher.operations.add(
                name, handler, privileges=tuple(privileges), level=level
            )
            return handler

        return offer

    def call(self, client: ClientContext, operation: str, **arguments: object) -> Any:
        """Run an operation for a client, on this thread."""
        return self._open.dispatcher.run(client, operation, arguments)

    @property
    def reception(self) -> Reception:
        """Where gates bring who came; a gate is handed its `turned_away`."""
        return self._open.reception

    async def serve(
        self, *gates: Gate, ready: Callable[[], None] | None = None
    ) -> None:
        """Open gates and serve until SIGTERM, SIGINT or cancellation.

        Launchers are started first. What runs is let end; then the gates are closed.
        The server itself stays open.

        Args:
            gates: such as `stead.gates.pipe.PipeGate`.
            ready: called once every gate is open.
        """
        loop, house = asyncio.get_running_loop(), self._open
        await loop.run_in_executor(house.handlers, house.acting.open)
        await serve(gates, self.reception.admit, ready=ready)

    def entrance(self, path: str | os.PathLike[str]) -> Entrance:
        """Return where the broker accepts clients for a gate of this server's.

            PipeGate(path, entrance=server.entrance(path))

        Clients who come this way can be acted for on the machine: the broker has seen
        for itself who they are.

        Raises:
            InvalidRequestError: this server has no broker, or its file names no such
                gate.
            LauncherUnavailableError: it does not answer.
        """
        tickets = self._open.tickets
        if tickets is None:
            raise InvalidRequestError(
                "this server has no broker", advice="open it with `broker=`"
            )
        self._open.guard.own.asking_broker(None, "listen", os.fspath(path))
        return tickets.link.entrance(path)

    # --- the end ----------------------------------------------------------------------

    def close(self) -> None:
        """Stop: handlers end, blocks end, the trail is written out; again does nothing.

        What still runs is waited for a while and then abandoned. Sessions end with the
        server.

        A process that was forked from the server's only lets go of its own copy: what
        runs, and who is logged on, is the parent's.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if os.getpid() == self._pid:
            self._house.stack.close()
        else:
            context.close_guard(self._house.guard)
            self._house.acting.close()
            if self._house.tickets is not None:
                self._house.tickets.link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ProtectedServer({self.name!r}, {self.enforcement.value})"
