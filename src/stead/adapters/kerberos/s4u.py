"""Logging clients on without anything of theirs, where the domain allows it ([MS-SFU]).

    without = LogonWithoutPassword(service, targets=["cifs@files.example"])
    authenticated = without.log_on("alice", "EXAMPLE.COM")

The server asks the KDC for a ticket to itself in the client's name (S4U2Self). Who the
client is, the ticket says; that the client wants it, nothing says: such a logon is
marked (`S-1-18-2`), and whoever may ask for one is as powerful as its clients together.

With targets, and where the domain lets this server go to them in its clients' names
(S4U2Proxy), the session's credentials reach them, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import gssapi
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos.causes import refused_password
from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.kerberos.password import principal_of_name
from stead.adapters.kerberos.proving import prove
from stead.adapters.kerberos.service import KerberosService, require_targets
from stead.adapters.patience import Patience
from stead.authority.packages import Authenticated
from stead.errors import UnknownAccountError


class LogonWithoutPassword:
    """Logs clients on by their names alone."""

    def __init__(
        self,
        service: KerberosService,
        *,
        targets: Sequence[str] = (),
        account: str = "",
    ) -> None:
        """Describe it; nothing is asked before somebody logs on.

        Args:
            service: this server, which the domain allows it.
            targets: where it may go in its clients' names, as `service@host`.
            account: the principal that the domain knows this server by, if not its own;
                the keytab has its key.
        """
        self._service: Final = service
        self._targets: Final = require_targets(targets)
        self._account: Final = account
        self._patience: Final = Patience()

    def log_on(self, name: str, realm: str) -> Authenticated:
        """Tell who somebody is, though nobody showed anything.

        Args:
            name: the client, without its realm.
            realm: the client's; one that the service believes.

        Raises:
            UnknownAccountError: the realm knows no such principal, or is not believed.
            AccountDisabledError, AccountExpiredError: it may not log on.
            EvidenceRefusedError: the KDC does not prove that it is the realm's.
            NoCredentialsError: the domain does not allow this server to ask.
            DirectoryUnavailableError: no KDC answers.
        """
        if realm not in self._service.realms:
            raise UnknownAccountError(
                f"the realm `{realm}` is not believed",
                advice="name it among the `realms` of the `KerberosService`",
            )
        principal = principal_of_name(name, realm)
        return self._patience.ask(
            realm, partial(self._proven, principal), Authenticated.close, principal
        )

    def _proven(self, principal: str) -> Authenticated:
        own = self._service.both(self._account, negotiates=False)
        credentials = self._impersonated(own, principal)
        try:
            proof = prove(self._service, credentials, own)
            sids = proof.sids
        except BaseException:
            credentials.close()
            raise
        expires = credentials.expires or time.time_ns()
        if not self._targets:
            credentials.close()
        return Authenticated(
            package="kerberos",
            issuer=proof.realm,
            name=proof.name,
            sids=sids,
            is_verified_by_service=True,
            expires=expires,
            credentials=credentials if self._targets else None,
            details=(("principal", proof.principal), ("by", self._service.principal)),
        )

    def _impersonated(
        self, own: gssapi.Credentials, principal: str
    ) -> KerberosCredentials:
        name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        try:
            shown = own.impersonate(name, mechs=[gssapi.MechType.kerberos])
            return KerberosCredentials.keep(shown, targets=self._targets)
        except GSSError as error:
            raise refused_password(error, principal) from error
