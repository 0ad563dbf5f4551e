"""This server in Kerberos: its keys, and whose clients it believes.

    service = KerberosService(
        "/etc/stead/http.keytab", "HTTP/files.example",
        realms=[TrustedRealm(name="AD.EXAMPLE")],
    )

What it has is named in every call of the library's: its keytab, its cache of messages
that were seen before, its own tickets. Variables such as `KRB5_KTNAME` and
`KRB5RCACHENAME` change nothing, nor does the process's default cache.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Final, cast

import gssapi
import krb5
from gssapi.raw.ext_rfc4178 import set_neg_mechs
from gssapi.raw.misc import GSSError

from stead.adapters.kerberos.causes import new_context, refused_outbound
from stead.adapters.kerberos.proof import Rules, TrustedRealm
from stead.adapters.private_files import require_private
from stead.errors import (
    DirectoryUnavailableError,
    NoCredentialsError,
    UnsafeConfigurationError,
)

_KERBEROS: Final = gssapi.MechType.kerberos
_SPNEGO: Final = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
_MAKE: Final = "make it by `kadmin ktadd -k`, and name the file itself"


class KerberosService:
    """A service principal of this server's.

    Attributes:
        principal: its name, with its realm.
        own: every principal whose key it has; none of them is a client.
        realms: those whose clients are believed, by name.
        rules: both, and where the keys are.
    """

    def __init__(
        self,
        keytab: str | Path,
        principal: str,
        *,
        realms: Iterable[TrustedRealm],
        replay_cache: str | Path | None = None,
        any_key: bool = False,
    ) -> None:
        """Read which keys there are.

        Args:
            keytab: the file of its keys; others than root and this server's user and
                group may not read it, and nobody else may write it.
            principal: whose key clients must use, such as `HTTP/files.example`.
            realms: whose clients are believed; a trust between realms adds none.
            replay_cache: a file for messages seen before, of one machine's processes;
                the library's own in `/var/tmp` if not given.
            any_key: whether clients may use every key of the file: for services with
                several names.

        Raises:
            UnsafeConfigurationError: the file is not safe or not there, or has no
                such key; realms are not described; or `krb5.conf` cannot be read.
        """
        self._keytab: Final = f"FILE:{require_private(Path(keytab), advice=_MAKE)}"
        self.own: Final = _principals(self._keytab)
        self.principal: Final = _one_of(principal, self.own)
        self.realms: Final = _by_name(realms)
        self.rules: Final = Rules(realms=self.realms, own=self.own, keytab=self._keytab)
        self._replays: Final = (
            "dfl:" if replay_cache is None else f"file2:{replay_cache}"
        )
        self._name: Final = None if any_key else self._principal_name()
        self._lock: Final = threading.Lock()
        self._acceptors: dict[bool, gssapi.Credentials] = {}
        self._own_tickets: Final = f"MEMORY:stead-{token_hex(32)}"

    def acceptor(self, *, negotiates: bool) -> gssapi.Credentials:
        """Return what checks clients' messages.

        Args:
            negotiates: whether Kerberos may come wrapped in SPNEGO ([MS-SPNG]).

        Raises:
            NoCredentialsError: the keys cannot be read any more.
        """
        with self._lock:
            made = self._acceptors.get(negotiates)
            if made is None:
                store = {"keytab": self._keytab, "rcache": self._replays}
                made = self._acquire("accept", self._name, negotiates, store)
                self._acceptors[negotiates] = made
        return made

    def both(self, account: str = "", *, negotiates: bool) -> gssapi.Credentials:
        """Return what checks messages, and asks for tickets in its clients' names.

        Its own tickets are got by its keys when there are none or they end.

        Args:
            account: the principal that it asks as, with its realm, if not its own:
                Active Directory knows services by the accounts that they run as.
            negotiates: whether Kerberos may come wrapped in SPNEGO.

        Raises:
            NoCredentialsError: the KDC refuses, or the keys cannot be read.
            DirectoryUnavailableError: no KDC answers.
        """
        store = {
            "keytab": self._keytab,
            "client_keytab": self._keytab,
            "ccache": self._own_tickets,
            "rcache": self._replays,
        }
        return self._acquire("both", self._principal_name(account), negotiates, store)

    def _acquire(
        self,
        usage: str,
        name: gssapi.Name | None,
        negotiates: bool,  # noqa: FBT001 - in the family
        store: dict[str, str],
    ) -> gssapi.Credentials:
        try:
            made = gssapi.Credentials(
                name=name, usage=usage,
                mechs=[_KERBEROS, _SPNEGO] if negotiates else [_KERBEROS],
                store=cast("dict[bytes | str, bytes | str]", store),
            )  # fmt: skip
            if negotiates:
                # Or whatever else the machine has a plug-in for.
                set_neg_mechs(made, [_KERBEROS])
        except GSSError as error:
            act = f"`{self.principal}` takes its own keys"
            raise refused_outbound(error, act) from error
        return made

    def _principal_name(self, account: str = "") -> gssapi.Name:
        whom = account or self.principal
        if account and account not in self.own:
            raise NoCredentialsError(f"the keytab has no key of `{account}`")
        return gssapi.Name(whom, gssapi.NameType.kerberos_principal)


def _by_name(realms: Iterable[TrustedRealm]) -> Mapping[str, TrustedRealm]:
    """Return realms by name; raises `UnsafeConfigurationError` of a bare name."""
    listed = tuple(realms)
    if not all(isinstance(realm, TrustedRealm) for realm in listed):
        raise UnsafeConfigurationError(
            "realms are `TrustedRealm`s: a name says not what its tickets must tell",
            advice='write `realms=[TrustedRealm(name="AD.EXAMPLE")]`',
        )
    return MappingProxyType({realm.name: realm for realm in listed})


def require_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """Return services that a server may go to, each as `service@host`.

    Raises:
        UnsafeConfigurationError: they are one text, or one is written otherwise: it
            would be reached by nobody, and nothing would say why.
    """
    listed = () if isinstance(targets, str) else tuple(targets)
    if len(listed) != len(targets) or not all(map(_is_target, listed)):
        raise UnsafeConfigurationError(
            "targets are services on hosts, named one by one",
            advice='write `targets=["cifs@files.example"]`',
        )
    return listed


def _is_target(text: str) -> bool:
    service, _, host = text.partition("@")
    return bool(service and host) and not set(text) & set("/ ")


def _principals(keytab: str) -> frozenset[str]:
    try:
        context = new_context()
    except DirectoryUnavailableError as error:
        raise UnsafeConfigurationError(str(error), advice=error.advice) from error
    try:
        found = krb5.kt_resolve(context, keytab.encode())
        return frozenset(str(entry.principal) for entry in found)
    except krb5.Krb5Error as error:
        raise UnsafeConfigurationError(
            f"the keys in `{keytab}` cannot be read: {error}",
            advice=f"{_MAKE}: this one is empty, or no keytab",
        ) from error


def _one_of(principal: str, own: frozenset[str]) -> str:
    """Return a principal's whole name, as the keytab has it."""
    found = [p for p in own if principal in {p, p.rpartition("@")[0]}]
    if len(found) != 1:
        raise UnsafeConfigurationError(
            f"the keytab has {len(found) or 'no'} keys of `{principal}`",
            advice="name the principal with its realm, as `klist -k` shows it",
        )
    return found[0]
