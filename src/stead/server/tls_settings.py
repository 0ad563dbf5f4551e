"""A TLS gate and whom it believes, read from a file that administrators write.

    listen = "0.0.0.0:7443"
    certificate = "server.pem"
    key = "server.key"
    clients = "optional"                # a certificate; or "required", or "none"

    [[issuer]]
    name = "corp"
    anchors = "corp-ca.pem"
    names = ["upn"]
    domain = "corp.example"
    names_accounts = true               # alice@corp.example is the account alice
    revocations = "corp.crl"
    demands_revocations = true

Paths are relative to the file. Nobody but root and the server's own user may be able to
write it, or a folder on the way to it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stead.authority.issuers import Issuer, Issuers
from stead.errors import (
    EnforcementUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    SteadError,
)
from stead.gates.pipe.tls import TlsIdentity, server_context
from stead.gates.ports import TurnedAway
from stead.model.sid import Sid
from stead.server.safe_text import read_safe_text

if TYPE_CHECKING:
    from stead.adapters.certificates import CertificateIssuer
    from stead.gates.pipe.tls_gate import TlsGate

_T = TypeVar("_T")

_PACKAGE: Final = "certificate"
_CLIENTS: Final = ("none", "optional", "required")
_KEYS: Final = frozenset(
    {"listen", "certificate", "key", "clients", "unbound_packages", "issuer"}
)
_ISSUER_KEYS: Final = frozenset(
    {
        "name",
        "anchors",
        "names",
        "domain",
        "sid_domains",
        "names_accounts",
        "same_people_as",
        "revocations",
        "demands_revocations",
        "ascii_only",
    }
)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What such a file says.

    Attributes:
        host: where to listen.
        port: the port.
        shown: the server's own certificate.
        clients: whether they may, or have to, show a certificate.
        unbound_packages: packages that cannot be tied to a channel and may be used.
        certificates: whose certificates clients may show.
        issuers: what those issuers are believed in, for a server that is opened by it.
    """

    host: str
    port: int
    shown: TlsIdentity
    clients: str
    unbound_packages: tuple[str, ...]
    certificates: tuple[CertificateIssuer, ...]
    issuers: tuple[Issuer, ...]

    def require_usable(self) -> None:
        """Look at the server's own certificate, before anybody waits for it.

        Raises:
            UnsafeConfigurationError: others may read the key.
            InvalidRequestError: the files cannot be used.
        """
        server_context(self.shown)

    def require_believed(self, issuers: Issuers) -> None:
        """Return if a program's own server takes what clients show by this file.

        Args:
            issuers: those that it believes; what this file says of names is not asked.

        Raises:
            InvalidRequestError: it does not believe one, whose clients would all fail.
        """
        for each in self.issuers:
            try:
                issuers.believed(each.name, _PACKAGE)
            except EvidenceRefusedError as error:
                raise InvalidRequestError(
                    f"the program's server takes no certificate of this file: {error}",
                    advice="open the ProtectedServer with "
                    f'`issuers=[Issuer("{each.name}", packages=["{_PACKAGE}"], ...)]`; '
                    "what the file says of its names counts without a target",
                ) from error

    def gate(self, name: str, turned_away: TurnedAway) -> TlsGate:
        """Return the gate, not opened yet.

        Args:
            name: the server's name, told to clients.
            turned_away: told now and then how many clients were turned away.

        Raises:
            InvalidRequestError: anchors cannot be read.
            InvalidNameError: it is no address.
        """
        from stead.adapters.certificates import Certificates  # noqa: PLC0415 - an extra's
        from stead.gates.pipe.tls_gate import TlsClients, TlsGate  # noqa: PLC0415 - too

        desk = Certificates(self.certificates) if self.certificates else None
        return TlsGate(
            self.host,
            self.port,
            self.shown,
            clients=TlsClients(
                desk if self.clients != "none" else None,
                is_demanded=self.clients == "required",
                unbound_packages=self.unbound_packages,
            ),
            name=name,
            turned_away=turned_away,
        )


def read_tls(path: str | os.PathLike[str]) -> TlsSettings:
    """Read a file of settings.

    Raises:
        InvalidRequestError: it cannot be read, somebody else may write it, it is no
            TOML, or says what cannot be meant.
        EnforcementUnavailableError: the library for certificates is missing.
    """
    if find_spec("cryptography") is None:
        raise EnforcementUnavailableError(
            "no library that reads certificates is installed",
            advice="`pip install 'stead[tls]'`",
        )
    try:
        document = tomllib.loads(read_safe_text(Path(path)))
        return _settings(document, Path(path).absolute().parent)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequestError(f"`{path}`: it is no TOML: {error}") from error
    except SteadError as error:
        raise InvalidRequestError(f"`{path}`: {error}", advice=error.advice) from error


def _settings(document: Mapping[str, Any], folder: Path) -> TlsSettings:
    if unknown := document.keys() - _KEYS:
        raise InvalidRequestError(f"it says `{min(unknown)}`")
    host, port = _address(_value(document, "listen", str))
    clients = _value(document, "clients", str, otherwise="optional")
    if clients not in _CLIENTS:
        raise InvalidRequestError(f"`clients` is one of {', '.join(_CLIENTS)}")
    told = _value(document, "issuer", list, otherwise=[])
    pairs = [_issuer(one, folder) for one in told]
    if clients == "required" and not pairs:
        raise InvalidRequestError(
            "clients' certificates are required, and no issuer is named",
            advice="add an `[[issuer]]`",
        )
    key = _value(document, "key", str, otherwise="")
    certificate = folder / _value(document, "certificate", str)
    return TlsSettings(
        host,
        port,
        TlsIdentity(certificate, folder / key if key else None),
        clients,
        _words(document, "unbound_packages"),
        tuple(certificates for certificates, _ in pairs),
        tuple(issuer for _, issuer in pairs),
    )


def _issuer(told: Any, folder: Path) -> tuple[CertificateIssuer, Issuer]:
    from stead.adapters.certificates import (  # noqa: PLC0415 - an extra's
        CertificateIssuer,
        NameKind,
    )

    if not isinstance(told, Mapping):
        raise InvalidRequestError("an issuer is a table")
    if unknown := told.keys() - _ISSUER_KEYS:
        raise InvalidRequestError(f"an issuer says `{min(unknown)}`")
    name = _value(told, "name", str)
    kinds = {kind.value: kind for kind in NameKind}
    words = _words(told, "names") or (NameKind.UPN.value,)
    if unfit := {*words} - kinds.keys():
        raise InvalidRequestError(
            f"issuer `{name}`: `{min(unfit)}` is no kind of name",
            advice=f"kinds are {', '.join(kinds)}",
        )
    domains = tuple(Sid.from_string(text) for text in _words(told, "sid_domains"))
    revocations = _value(told, "revocations", str, otherwise="")
    certificates = CertificateIssuer(
        name=name,
        anchors=folder / _value(told, "anchors", str),
        names=tuple(kinds[word] for word in words),
        domain=_value(told, "domain", str, otherwise=""),
        sid_domains=domains,
        revocations=folder / revocations if revocations else None,
        demands_revocations=_value(told, "demands_revocations", bool, otherwise=False),
        ascii_only=_value(told, "ascii_only", bool, otherwise=True),
    )
    names_accounts = _value(told, "names_accounts", bool, otherwise=False)
    issuer = Issuer(
        name,
        packages=(_PACKAGE,),
        domains=domains,
        names_accounts=names_accounts,
        same_people_as=_value(told, "same_people_as", str, otherwise=""),
    )
    return certificates, issuer


def _value(
    table: Mapping[str, Any], key: str, kind: type[_T], *, otherwise: _T | None = None
) -> _T:
    found = table.get(key, otherwise)
    if not isinstance(found, kind):
        what = {str: "a text", bool: "true or false", list: "a list of tables"}[kind]
        raise InvalidRequestError(f"`{key}` is {what}")
    return found


def _words(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidRequestError(f"`{key}` is a list of words")
    return tuple(found)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()):
        raise InvalidRequestError("`listen` is an address and a port, `0.0.0.0:7443`")
    return host.removeprefix("[").removesuffix("]"), int(port)
