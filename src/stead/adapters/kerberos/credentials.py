"""A client's Kerberos tickets, to reach other machines as the client and nobody else.

    credentials = KerberosCredentials.keep(delegated)
    context = credentials.initiate("HTTP@files.example")
    blob = context.step()

The tickets lie in a cache in this process's memory whose name nobody can guess; what is
asked of the library always names that cache, the Kerberos mechanism and the client. So
what else lies about is never used instead: the process's own cache, its client keytab,
another client's tickets. When the credentials are closed the cache is wiped, and
whatever was made of it fails.

A process that is forked off has no part in them. Whoever holds the object holds the
tickets: it belongs to a session, and is reached only through it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, NoReturn, Self, cast

import gssapi
import krb5
from gssapi.raw import ChannelBindings, store_cred_into
from gssapi.raw.ext_krb5 import krb5_ccache_name
from gssapi.raw.ext_rfc4178 import set_neg_mechs
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos import caches
from stead.adapters.kerberos.causes import new_context, refused_outbound
from stead.adapters.kerberos.client_context import (
    ClientSecurityContext,
    require_client,
)
from stead.adapters.kerberos.kept_tickets import KeptTickets
from stead.adapters.kerberos.naming import ServiceNames, service_and_host
from stead.adapters.patience import Patience
from stead.errors import (
    DirectoryUnavailableError,
    InvalidRequestError,
    NoCredentialsError,
)

__all__ = ["ClientSecurityContext", "KerberosCredentials"]

_KERBEROS: Final = gssapi.MechType.kerberos
_SPNEGO: Final = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
_NOWHERE: Final = "FILE:/nonexistent"
_NANOSECONDS: Final = 1_000_000_000
_MOST_FETCHED: Final = 1024
_SOON: Final = 2.0  # seconds: the library counts in whole ones
_LOOK_AGAIN: Final = 300.0  # seconds in which a ticket that was got is still there
_FLAGS: Final = (
    gssapi.RequirementFlag.mutual_authentication
    | gssapi.RequirementFlag.integrity
    | gssapi.RequirementFlag.confidentiality
    | gssapi.RequirementFlag.replay_detection
    | gssapi.RequirementFlag.out_of_sequence_detection
)


class KerberosCredentials:
    """A client's tickets; made by `keep`, never printed, pickled or copied.

    Every method may be called in any thread.

    Attributes:
        is_constrained: whether they are the server's, to go where the domain lets it
            go in the client's name; not the client's own.
    """

    def __init__(
        self, principal: str, cache: str, targets: Collection[str] = ()
    ) -> None:
        """Take a cache over; `keep` makes one.

        Args:
            principal: whose tickets they are, with its realm.
            cache: a MEMORY cache that nobody else knows.
            targets: where constrained ones may be used, as `service@host`.
        """
        self._principal: Final = principal
        self._targets: Final = frozenset(map(service_and_host, targets))
        self._patience: Final = Patience()
        self._kept: Final = KeptTickets(principal, cache, self._patience)
        self.is_constrained: Final = self._kept.is_constrained
        # Until when there is a ticket for a service, in which cache.
        self._fetched: Final[dict[tuple[str, str], float]] = {}
        self._names: Final = ServiceNames(self._realm, self._patience)

    @classmethod
    def keep(cls, shown: gssapi.Credentials, *, targets: Collection[str] = ()) -> Self:
        """Copy tickets into a cache of their own.

        Args:
            shown: what a client delegated, or what its password gave.
            targets: where constrained ones may be used, as `service@host`.

        Raises:
            NoCredentialsError: there are no Kerberos tickets in them.
        """
        cache, library = caches.new_name(), new_context()
        # Octets, and held: of text the library's Python face keeps none alive, and what
        # it then reads may name another cache, even a file.
        place: dict[bytes | str, bytes | str] = {b"ccache": cache.encode()}
        try:
            store_cred_into(
                place, shown, usage="initiate", mech=_KERBEROS, overwrite=True
            )
            made = cls(caches.principal_of(cache), cache, targets)
            require_client(made.principal, made.gss().name)
        except BaseException as error:
            caches.destroy(cache, library)
            if isinstance(error, (GSSError, krb5.Krb5Error)):
                act = "the client's tickets are kept"
                raise refused_outbound(error, act) from error
            raise
        return made

    @classmethod
    def of_ticket(
        cls, context: krb5.Context, client: krb5.Principal, ticket: krb5.Creds
    ) -> Self:
        """Put a ticket into a cache of its own.

        Args:
            context: the library's, in which the two others were made.
            client: whose it is.
            ticket: its ticket-granting ticket.
        """
        return cls(str(client), caches.keep_ticket(context, client, ticket))

    @property
    def package(self) -> str:
        """What takes them."""
        return "kerberos"

    @property
    def principal(self) -> str:
        """Whom they authenticate, with its realm."""
        return self._principal

    @property
    def expires(self) -> int | None:
        """Nanoseconds since the epoch, UTC, of their end by now; 0 once closed."""
        with suppress(NoCredentialsError):
            return caches.ticket_of(self._open_cache()).ends * _NANOSECONDS
        return 0

    def gss(self) -> gssapi.Credentials:
        """Return them for GSS-API; whatever is negotiated, the mechanism is Kerberos.

        They are for SPNEGO, too: with credentials that are for Kerberos alone, the
        library would take the process's own where somebody negotiates with them.

        Raises:
            NoCredentialsError: they are closed, or of another process.
            CredentialsExpiredError: their time is over.
        """
        return self._gss(self._open_cache())

    def _gss(self, cache: str) -> gssapi.Credentials:
        # All are named: without a name, or with a client keytab, the library would get
        # the process's own tickets into the cache where there are none.
        store = {"ccache": cache, "client_keytab": _NOWHERE}
        try:
            credentials = gssapi.Credentials(
                name=_principal_name(self._principal), usage="initiate",
                mechs=[_KERBEROS, _SPNEGO],
                store=cast("dict[bytes | str, bytes | str]", store),
            )  # fmt: skip
            set_neg_mechs(credentials, [_KERBEROS])
            require_client(self._principal, credentials.name)
        except GSSError as error:
            raise refused_outbound(error, f"`{self._principal}`") from error
        return credentials

    def initiate(
        self,
        target: str | gssapi.Name,
        *,
        flags: int = _FLAGS,
        binding: bytes | None = None,
    ) -> ClientSecurityContext:
        """Begin to authenticate the client to another machine.

        Args:
            target: `service@host`, which means that very host, whatever DNS says; or
                a name of GSS-API's.
            flags: what is asked for (RFC 2744 5.19).
            binding: the application data of a channel binding.

        Raises:
            NoCredentialsError: they are closed, of another process, or not for this
                target.
            CredentialsExpiredError: their time is over.
        """
        self.require_target(str(target))
        cache = self._open_cache()  # first: a forked process asks the library nothing
        name = self._names.of(target) if isinstance(target, str) else target
        made = ClientSecurityContext(
            name=name, creds=self._gss(cache), mech=_KERBEROS, flags=flags,
            usage="initiate", channel_bindings=_bindings(binding),
        )  # fmt: skip
        # Its base's `__new__` says less, to one of the two type checkers.
        context = cast("ClientSecurityContext", made)  # type: ignore[redundant-cast]
        context.client, context.target = self._principal, str(target)
        # An error is raised at once, in the place of a blob for the other side.
        context.__DEFER_STEP_ERRORS__ = False  # type: ignore[attr-defined]  # no stub has it
        place = context.place = (cache, str(target))
        if self._fetched.get(place, 0.0) <= time.time():
            context.fetch = partial(self._fetch, place)
        return context

    def require_target(self, target: str) -> None:
        """Refuse a target that constrained credentials are not for.

        Args:
            target: `service@host` or `service/host`, with or without a realm.

        Raises:
            NoCredentialsError: they are constrained, and not for this one.
        """
        if self.is_constrained and service_and_host(target) not in self._targets:
            raise NoCredentialsError(
                f"the server may not go to `{target}` for `{self._principal}`",
                advice="the client delegates, or the target is named when the package "
                "is made",
            )

    def only_for(self, target: str) -> KerberosCredentials:
        """Return a copy with the ticket to one service, and nothing to get others by.

        It is for libraries that name services themselves: they find that ticket, or
        none. It must be closed.

        Args:
            target: `service@host`.

        Raises:
            NoCredentialsError: as `initiate` says; or such a library would name the
                service as DNS does.
            CredentialsExpiredError: their time is over.
        """
        self.require_target(target)
        place, name = (self._open_cache(), target), str(self._names.of(target))
        try:
            if caches.forget_ended(place[0], name, time.time() + _SOON):
                self._fetched.pop(place, None)  # so it may have to wait for another
            context = self.initiate(target)
            context.step()
            self._names.require_exact(target)
            cache = caches.only_for(context.place[0], name)
        except krb5.Krb5Error as error:
            raise refused_outbound(error, f"the ticket to `{target}`") from error
        return KerberosCredentials(self._principal, cache, (target,))

    @contextmanager
    def on_this_thread(self) -> Iterator[str]:
        """Have libraries that ask for no credentials find these, in this thread.

        It is for those that take none (libpq). They must load the same libkrb5, and
        nothing else may run in the thread meanwhile. Whoever uses it asks the peer who
        it thinks we are: a library that finds no ticket may try the process's own.

        Yields:
            The cache's name, for those that take it; it is as secret as the tickets.

        Raises:
            NoCredentialsError: they are closed, or of another process.
            CredentialsExpiredError: their time is over.
        """
        self.gss()
        cache = self._open_cache()
        before = krb5_ccache_name(cache.encode())
        try:
            yield cache
        finally:
            # What was the process's own is not pinned to what it is now.
            krb5_ccache_name(None if before == _own_default() else before)

    def renew_for(self, seconds: float) -> None:
        """See to it that they last, before work is begun that needs them.

        Raises:
            CredentialsExpiredError, DirectoryUnavailableError, NoCredentialsError: as
                `KeptTickets.renew_for` raises.
        """
        self._kept.renew_for(seconds)

    def close(self) -> None:
        """Wipe them; again does nothing. What was made of them fails from now on."""
        self._kept.close()

    def __repr__(self) -> str:
        return f"KerberosCredentials({self._principal})"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError("credentials are neither pickled nor copied")

    # --- within -------------------------------------------------------------------

    def _open_cache(self) -> str:
        return self._kept.cache()

    @property
    def _realm(self) -> str:
        return self._principal.rpartition("@")[2]

    def _fetch(
        self, place: tuple[str, str], step: Callable[[], bytes | None]
    ) -> bytes | None:
        """Take a step for which a ticket has to be got first, with patience."""
        blob = self._patience.ask(self._realm, step, _forget)
        if len(self._fetched) >= _MOST_FETCHED:
            self._fetched.clear()
        ends = (self.expires or 0) / _NANOSECONDS
        self._fetched[place] = min(ends, time.time() + _LOOK_AGAIN)
        return blob


def _own_default() -> bytes | None:
    """Return which cache is the process's own; None while the library cannot say."""
    try:
        return krb5.cc_default_name(new_context())
    except DirectoryUnavailableError:
        return None


def _forget(_found: object) -> None:
    """Drop what nobody waits for."""


def _principal_name(principal: str) -> gssapi.Name:
    return gssapi.Name(principal, gssapi.NameType.kerberos_principal)


def _bindings(binding: bytes | None) -> ChannelBindings | None:
    return None if binding is None else ChannelBindings(application_data=binding)
