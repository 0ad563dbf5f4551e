"""How clients come to a server: vouched for, by a password, or by what they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stead.authority.packages import Authenticated, ChannelBinding
from stead.errors import InvalidRequestError
from stead.model.arguments import require_callable, require_kind, require_text
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.quality_of_service import QualityOfService
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.server.admission import Arrival, new_correlation
from stead.server.asking import subject_of
from stead.server.authentication import AS_SHOWN, LogonExchange
from stead.server.client_context import ClientContext
from stead.server.house import HouseVerbs
from stead.server.logon_session import LogonSession

_LEVEL: Final = "such as `ImpersonationLevel.IDENTIFICATION`"
_BINDING: Final = "what `stead.adapters.end_point` makes of a certificate, or none"


class ArrivalVerbs(HouseVerbs):
    """Takes in the clients of one server."""

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
            ImpersonationRefusedError: `via` is a limited client.
            UnknownAccountError, AccountDisabledError, LogonTypeNotGrantedError: as they
                say; a client hears the same of each.
            LedgerUnavailableError: it could not be recorded.
        """
        require_text("name", name)
        require_text("authenticated_by", authenticated_by)
        require_kind("level", level, ImpersonationLevel, _LEVEL)
        if via is not None:
            subject_of(via)
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
        require_kind("peer", peer, PosixIdentity, "who the kernel says it is")
        require_kind("level", level, ImpersonationLevel, _LEVEL)
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
        require_text("name", name)
        require_kind("logon_type", logon_type, LogonType, "such as `LogonType.NETWORK`")
        if via is not None:
            subject_of(via)
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
        require_kind("binding", binding, (ChannelBinding, type(None)), _BINDING)
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
        require_kind("client", client, Authenticated, "what an adapter made")
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
        require_callable("show", show, "a function that returns who it is")
        arrival = Arrival(
            gate, peer, new_correlation(correlation), package, package, wait=wait
        )
        return self._open.authentication.admit_shown(show, quality, arrival)

    @property
    def packages(self) -> tuple[str, ...]:
        """What clients may show who they are by, the preferred first."""
        return self._open.authentication.names
