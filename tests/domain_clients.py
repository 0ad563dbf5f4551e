"""Clients and services of a test's Kerberos domain, by GSS-API alone, without Stead.

What they do is what a client and a server of anybody's would do; Stead's own adapters
are compared with it. `KRB5_CONFIG` must name the domain (`found`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import gssapi
from gssapi.raw import acquire_cred_with_password, get_name_attribute, inquire_name

KERBEROS = gssapi.MechType.kerberos
FLAGS = gssapi.RequirementFlag.mutual_authentication
DELEGATE = FLAGS | gssapi.RequirementFlag.delegate_to_peer


@contextmanager
def found(domain: Any) -> Iterator[None]:
    """Let this process find a domain, and no ticket or key of its own."""
    before = dict(os.environ)
    os.environ.update(domain.environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def principal(name: str) -> gssapi.Name:
    return gssapi.Name(name, gssapi.NameType.kerberos_principal)


def service(name: str) -> gssapi.Name:
    return gssapi.Name(name, gssapi.NameType.hostbased_service)


def logged_on(name: str, password: str) -> gssapi.Credentials:
    """Log a client on with its password."""
    shown = acquire_cred_with_password(
        principal(name), password.encode(), mechs=[KERBEROS], usage="initiate"
    )
    return gssapi.Credentials(shown.creds)


@dataclass(frozen=True)
class Server:
    """A service with a keytab; `account` can ask for tickets with the same keys."""

    keytab: Path
    account: str = ""

    def acceptor(self) -> gssapi.Credentials:
        return gssapi.Credentials(usage="accept", store=self._store)

    def both(self) -> gssapi.Credentials:
        """Return what accepts, and asks for tickets in its clients' names."""
        return gssapi.Credentials(
            name=principal(self.account), usage="both", store=self._store
        )

    @property
    def _store(self) -> dict[str, str]:
        keytab = f"FILE:{self.keytab}"
        cache = f"MEMORY:{token_hex(8)}"
        own = {"client_keytab": keytab, "ccache": cache} if self.account else {}
        return {"keytab": keytab, "rcache": "none:", **own}

    def impersonate(self, client: str) -> gssapi.Credentials:
        """Ask for a client's ticket to itself, without the client (S4U2Self)."""
        return self.both().impersonate(principal(client))

    def accept(
        self,
        client: gssapi.Credentials,
        target: str = "",
        *,
        flags: int = FLAGS,
        keeps: bool = False,
    ) -> gssapi.SecurityContext:
        """Have a client come; return the established context.

        Without a target it comes to the account itself, as an impersonated one can.
        """
        blob = None
        ours = self.both() if keeps else self.acceptor()
        whom = service(target) if target else principal(self.account)
        theirs = gssapi.SecurityContext(
            name=whom, creds=client, usage="initiate", mech=KERBEROS, flags=flags
        )
        other = gssapi.SecurityContext(creds=ours, usage="accept")
        while not theirs.complete:
            blob = theirs.step(blob)
            if blob is None:
                break
            blob = other.step(blob)
        return other


def pac_of(context: gssapi.SecurityContext) -> bytes | None:
    """Return the PAC in a client's ticket, which the library has verified."""
    name = context.initiator_name
    if b"urn:mspac:" not in (inquire_name(name).attrs or ()):
        return None
    found = get_name_attribute(name, b"urn:mspac:")
    assert found.authenticated
    return found.values[0]
