"""Names of services, as a realm is asked for them: exactly as they are called.

Unless `krb5.conf` says otherwise the library asks DNS first what a host is called, and
gets a ticket for that one. Then whoever answers for DNS chooses who is believed to be
the service: it has a key of the realm's too, and passes every proof. A policy that
names a host would mean another one. So a name is made of what was asked for, and only
its realm is the library's to find (`[domain_realm]`).
"""

from __future__ import annotations

from functools import partial
from typing import Final

import gssapi
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos.causes import refused_outbound
from stead.adapters.patience import Patience
from stead.errors import NoCredentialsError

_KERBEROS: Final = gssapi.MechType.kerberos
_MOST_KNOWN: Final = 1024


def service_and_host(target: str) -> tuple[str, str]:
    """Return a service and its host, however the two are written."""
    service, _, host = target.replace("/", "@", 1).partition("@")
    return service, host.partition("@")[0].casefold()


class ServiceNames:
    """Names of services, each found once: DNS may be asked, with patience."""

    def __init__(self, realm: str, patience: Patience) -> None:
        """Know none yet.

        Args:
            realm: the client's.
            patience: for how long it is waited.
        """
        self._realm: Final = realm
        self._patience: Final = patience
        self._known: Final[dict[str, gssapi.Name]] = {}

    def of(self, target: str) -> gssapi.Name:
        """Return a service's exact name; see `exact_name`.

        Raises:
            NoCredentialsError: it is no name.
            DirectoryUnavailableError: DNS does not answer.
        """
        found = self._known.get(target)
        if found is None:
            name = partial(exact_name, target)
            found = self._patience.ask(self._realm, name, _forget)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[target] = found
        return found

    def require_exact(self, target: str) -> None:
        """Return if libraries name a service so, too; see the function.

        Raises:
            NoCredentialsError: they do not.
            DirectoryUnavailableError: DNS does not answer.
        """
        self._patience.ask(self._realm, partial(require_exact, target), _forget)


def exact_name(target: str) -> gssapi.Name:
    """Return a service's principal, on the host that is named; it may ask DNS.

    Its kind is no host's: of those the library asks DNS again, where the realm does not
    know them.

    Args:
        target: `service@host`.

    Raises:
        NoCredentialsError: it is no name.
    """
    exact, found = "/".join(service_and_host(target)), _by_library(target)
    realm = found.rpartition("@")[2] if _is_on_host(found, exact) else ""
    return gssapi.Name(f"{exact}@{realm}", gssapi.NameType.kerberos_principal)


def require_exact(target: str) -> None:
    """Return if the library by itself names a service as it is called; it may ask DNS.

    Raises:
        NoCredentialsError: by DNS it is another's.
    """
    exact, found = "/".join(service_and_host(target)), _by_library(target)
    if not _is_on_host(found, exact):
        raise NoCredentialsError(
            f"`{exact}` is `{found[:200]}` by what DNS says, and would get a ticket "
            "of that",
            advice="write the host's own name, or have krb5.conf not ask DNS: "
            "`dns_canonicalize_hostname = false` and `qualify_shortname =`",
        )


def _by_library(target: str) -> str:
    try:
        asked = gssapi.Name(target, gssapi.NameType.hostbased_service)
        return str(asked.canonicalize(_KERBEROS))
    except GSSError as error:
        raise refused_outbound(error, f"`{target[:200]}` is named") from error


def _is_on_host(found: str, exact: str) -> bool:
    return found.rpartition("@")[0] == exact


def _forget(_found: object) -> None:
    """Drop what nobody waits for."""
