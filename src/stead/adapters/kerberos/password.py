"""Passwords that a realm knows, of MIT's or of Active Directory.

    authority = KerberosPasswords(service, "EXAMPLE.COM", aliases=["EXAMPLE"])
    server = ProtectedServer("files", password_authorities=[authority], ...)

1. Ask the KDC for tickets by the password, where that is wanted under armor
   (`stead.adapters.kerberos.armor`).
2. Have the KDC prove that it is the realm's (`stead.adapters.kerberos.proving`); the
   client's groups come with the proof.
3. Keep the tickets for the session, or wipe them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import krb5

from stead.adapters.kerberos.armor import Armor, put_on
from stead.adapters.kerberos.causes import (
    KEY_EXPIRED,
    new_context,
    refused_password,
)
from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.kerberos.proof import Proof
from stead.adapters.kerberos.proving import prove
from stead.adapters.kerberos.service import KerberosService
from stead.adapters.patience import SECONDS, Patience
from stead.authority.packages import Authenticated
from stead.errors import (
    EvidenceRefusedError,
    PasswordMismatchError,
    PasswordMustChangeError,
    UnknownAccountError,
    UnsafeConfigurationError,
)
from stead.model.arguments import require_kind, require_text, several
from stead.model.principal import name_and_realm
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel

_CHANGING: Final = b"kadmin/changepw"  # RFC 3244: whom an expired password still serves
_NOT_KEPT: Final = 300
_RENEWABLE: Final = 7 * 24 * 3600
_LONGEST_NAME: Final = 256


class KerberosPasswords:
    """Logs clients of one realm on by their passwords."""

    def __init__(
        self,
        service: KerberosService,
        realm: str,
        *,
        aliases: Iterable[str] = (),
        patience: float = SECONDS,
        armored: bool = False,
        account: str = "",
    ) -> None:
        """Describe it; nothing is asked before somebody logs on.

        Args:
            service: this server, to whom the realm has to prove itself; it believes
                the realm.
            realm: whose passwords it knows.
            aliases: other names of it, such as a domain's NetBIOS name.
            patience: seconds in which its KDC must have answered.
            armored: whether the KDC is asked under this server's own ticket (FAST), or
                not at all: then nobody on the way can guess at passwords.
            account: the principal that the server gets that ticket as, with its realm,
                if not its own.

        Raises:
            UnsafeConfigurationError: the service does not believe the realm, so that
                nobody could ever log on; or the keytab has no key of the account.
        """
        require_kind(
            "service", service, KerberosService, "write `KerberosService(...)`"
        )
        require_text("realm", realm)
        if realm not in service.realms:
            raise UnsafeConfigurationError(
                f"`{service.principal}` does not believe the realm `{realm}`",
                advice="name it among `realms` of the `KerberosService`, written as "
                f"it is there: {', '.join(service.realms) or 'none is by now'}",
            )
        names = several("aliases", aliases, str, 'write `aliases=["EXAMPLE"]`')
        self._patience: Final = Patience(patience)
        self._armor: Final = Armor(service, account) if armored else None
        self._service: Final = service
        self._realm: Final = realm
        self.domains: Final = (realm, *names)

    @property
    def name(self) -> str:
        """What records call it."""
        return "kerberos"

    def log_on(
        self, name: str, domain: str, secret: Secret, *, keep: bool
    ) -> Authenticated:
        """Tell who a principal is, by its password; the numbers are the module's.

        Args:
            name: the principal, without its realm.
            domain: as it was written; one of `domains`.
            secret: the password; it stays the caller's to wipe.
            keep: whether tickets for other machines are wanted.

        Raises:
            PasswordMismatchError: the password is not the principal's.
            UnknownAccountError: the realm knows no such principal.
            AccountDisabledError, AccountExpiredError, PasswordMustChangeError,
            LogonHoursError: it may not log on, or not now.
            EvidenceRefusedError: the KDC does not prove that it is the realm's, or the
                domain calls the account otherwise.
            DirectoryUnavailableError: no KDC answers, or `krb5.conf` cannot be read; or
                it takes nothing under armor.
        """
        if domain.casefold() not in {known.casefold() for known in self.domains}:
            raise UnknownAccountError(f"`{domain}` is another domain")
        principal = principal_of_name(name, self._realm)
        return self._patience.ask(
            self._realm,
            partial(self._proven, principal, secret, keep=keep),
            Authenticated.close,
            principal,
        )

    def _proven(self, principal: str, secret: Secret, *, keep: bool) -> Authenticated:
        # 1.
        credentials = _tickets(principal, secret, self._armor, keep=keep)
        try:
            # 2.
            proof = prove(self._service, credentials)
            _require_own_name(proof)
            sids = proof.sids
        except BaseException:
            credentials.close()
            raise
        # 3.
        if not keep:
            credentials.close()
        level = ImpersonationLevel.DELEGATION
        return Authenticated(
            package="kerberos",
            issuer=proof.realm,
            name=proof.name,
            sids=sids,
            level=level if keep else ImpersonationLevel.IMPERSONATION,
            expires=proof.kicked_off,
            credentials=credentials if keep else None,
            details=(("principal", proof.principal),),
        )


def _require_own_name(proof: Proof) -> None:
    """Refuse another name that leads to an account (docs/adr/0129).

    Guesses are counted by name: with two names an account had twice as many, and who is
    locked by one would come by the other.
    """
    asked, _ = name_and_realm(proof.principal)
    if proof.name.casefold() != asked.casefold():
        raise EvidenceRefusedError(
            f"`{proof.principal}` leads to the account `{proof.name}`, and is not its "
            "name",
            advice=f"log on as `{proof.name}@{proof.realm}`",
        )


def principal_of_name(name: str, realm: str) -> str:
    """Return the principal of somebody's name in a realm.

    Raises:
        UnknownAccountError: the name is more than a name, or none.
    """
    # What the library would read as more than a name is none of a person's.
    if not name or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise UnknownAccountError("the name cannot be a principal's")
    if any(letter in name for letter in "@\\"):
        raise UnknownAccountError("the name has a realm in it, or what quotes one")
    return f"{name}@{realm}"


def _tickets(
    principal: str, secret: Secret, armor: Armor | None, *, keep: bool
) -> KerberosCredentials:
    """Ask the KDC for tickets; whoever it is, it is not yet believed."""
    ask = partial(_ask, principal, secret, keep=keep)
    try:
        return ask(None) if armor is None else armor.over(ask)
    except krb5.Krb5Error as error:
        raise refused_password(error, principal) from error


def _ask(
    principal: str, secret: Secret, armor: str | None, *, keep: bool
) -> KerberosCredentials:
    context = new_context()
    client = krb5.parse_name_flags(context, principal.encode())
    options = _options(context, armor, None if keep else _NOT_KEPT)
    krb5.get_init_creds_opt_set_forwardable(options, keep)
    krb5.get_init_creds_opt_set_proxiable(options, False)  # noqa: FBT003 - the library's
    krb5.get_init_creds_opt_set_canonicalize(options, False)  # noqa: FBT003 - so is this
    if keep:
        krb5.get_init_creds_opt_set_renew_life(options, _RENEWABLE)
    with secret.revealed() as password:
        # The library reads up to the first zero, and asks a terminal if there is none.
        if not password or b"\0" in password:
            raise PasswordMismatchError("the password is empty, or holds a zero")
        try:
            ticket = krb5.get_init_creds_password(context, client, options, password)
        except krb5.Krb5Error as error:
            if error.err_code == KEY_EXPIRED:
                again = _options(context, armor, _NOT_KEPT)
                _require_right(context, client, again, password)
            raise
    return KerberosCredentials.of_ticket(context, client, ticket)


def _options(
    context: krb5.Context, armor: str | None, life: int | None
) -> krb5.GetInitCredsOpt:
    options = krb5.get_init_creds_opt_alloc(context)
    if armor is not None:
        put_on(context, options, armor)
    if life is not None:
        krb5.get_init_creds_opt_set_tkt_life(options, life)
    return options


def _require_right(
    context: krb5.Context,
    client: krb5.Principal,
    options: krb5.GetInitCredsOpt,
    password: bytes,
) -> None:
    """Refuse a wrong password though it has expired, which a KDC says first.

    Raises:
        Krb5Error: it is wrong.
        PasswordMustChangeError: it is right.
    """
    krb5.get_init_creds_password(
        context, client, options, password, in_tkt_service=_CHANGING
    )
    raise PasswordMustChangeError(f"`{client}` must change its password first")
