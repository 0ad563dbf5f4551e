"""Asking a KDC under a ticket of this server's own (FAST, RFC 6113).

What a client proves its password by can be guessed at by whoever listens on the way to
the KDC, who never has to ask it. Under armor that goes encrypted by a key which the
realm and this server share. A KDC that takes none is asked nothing: whoever stands on
the way can leave out that it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeVar

import krb5

from stead.adapters.kerberos import caches
from stead.adapters.kerberos.causes import (
    BAD_INTEGRITY,
    PREAUTH_REQUIRED,
    SERVER_UNKNOWN,
    code_of,
    new_context,
    not_asked,
)
from stead.adapters.kerberos.service import KerberosService
from stead.errors import DirectoryUnavailableError, UnsafeConfigurationError

_LEFT: Final = 60.0  # seconds for which a ticket that is used still counts
_OF_A_TICKET: Final = range(BAD_INTEGRITY, BAD_INTEGRITY + 19)
"""What is said of a ticket that is shown (`KRB_AP_ERR_*`, RFC 4120 7.5.9: 31 to 49)."""

_NO_ARMOR: Final = (
    "have the domain support Kerberos armoring (FAST); somebody on the way to the KDC "
    "may have taken it off"
)
_NO_TRUST: Final = "have that realm trust this server's, too"
_NOT_TAKEN: Final = MappingProxyType({
    PREAUTH_REQUIRED: ("the KDC takes none", _NO_ARMOR),
    SERVER_UNKNOWN: ("the client's realm takes none of this server's", _NO_TRUST),
})  # fmt: skip
"""By number: why, and what to do. It says nothing of the client."""

_T = TypeVar("_T")


class Armor:
    """This server's own ticket, for as long as it lasts; then the next.

    Every method may be called in any thread.
    """

    def __init__(self, service: KerberosService, account: str = "") -> None:
        """Describe it; nothing is asked.

        Args:
            service: this server.
            account: the principal that it asks as, with its realm, if not its own.

        Raises:
            UnsafeConfigurationError: the keytab has no key of that account.
        """
        self._principal: Final = account or service.principal
        if self._principal not in service.own:
            raise UnsafeConfigurationError(
                f"the keytab has no key of `{account}`",
                advice="name the principal with its realm, as `klist -k` shows it",
            )
        self._keytab: Final = service.rules.keytab
        self._ticket: krb5.Creds | None = None

    def over(self, ask: Callable[[str], _T]) -> _T:
        """Have something asked, once more if the armor was no good.

        Args:
            ask: is given the name of a cache with a ticket; raises `krb5.Krb5Error`.

        Raises:
            krb5.Krb5Error: as `ask` raises.
            DirectoryUnavailableError: the realm gives this server no ticket, or takes
                nothing under it.
        """
        ticket = self._ticket
        if ticket is not None and ticket.times.endtime - time.time() > _LEFT:
            try:
                return self._under(ticket, ask)
            except krb5.Krb5Error as error:
                # The realm's own key was changed, or a clock. Whoever says so has not
                # looked at a password.
                if code_of(error) not in _OF_A_TICKET:
                    raise
        self._ticket = ticket = self._made()
        return self._under(ticket, ask)

    def _under(self, ticket: krb5.Creds, ask: Callable[[str], _T]) -> _T:
        context = new_context()
        cache = caches.keep_ticket(context, self._client(context), ticket)
        try:
            return ask(cache)
        except krb5.Krb5Error as error:
            if code_of(error) not in _NOT_TAKEN:
                raise
            why, advice = _NOT_TAKEN[code_of(error)]
            raise DirectoryUnavailableError(
                f"`{self._principal}` asks under armor, and {why}", advice=advice
            ) from error
        finally:
            caches.destroy(cache, context)

    def _made(self) -> krb5.Creds:
        context = new_context()
        try:
            keytab = krb5.kt_resolve(context, self._keytab.encode())
            options = krb5.get_init_creds_opt_alloc(context)
            return krb5.get_init_creds_keytab(
                context, self._client(context), options, keytab
            )
        except krb5.Krb5Error as error:
            # Whatever it is, it says nothing of the client that would log on.
            act = f"`{self._principal}` takes a ticket to ask under"
            raise not_asked(error, act) or DirectoryUnavailableError(
                f"{act}: kerberos gives none: error {code_of(error)}",
                advice="see whether the keytab is old; Active Directory knows a "
                "service by its account: `account=`",
            ) from error

    def _client(self, context: krb5.Context) -> krb5.Principal:
        return krb5.parse_name_flags(context, self._principal.encode())


def put_on(context: krb5.Context, options: krb5.GetInitCredsOpt, cache: str) -> None:
    """Have a question be asked under the ticket of a cache, or not at all."""
    krb5.get_init_creds_opt_set_fast_ccache_name(context, options, cache.encode())
    krb5.get_init_creds_opt_set_fast_flags(context, options, krb5.FastFlags.required)
