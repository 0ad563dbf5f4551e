"""The one name of a certificate that counts, by a rule of whoever named its issuer.

A subject alternative name is preferred to a common name, which people write by hand.
What a certificate says twice it does not say: of two names of one kind, an attacker
would choose which one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from stead.adapters.certificates import der
from stead.adapters.certificates.reading import extension_of
from stead.errors import EvidenceRefusedError, InvalidRequestError
from stead.model.arguments import several

_UPN: Final = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # [MS-WCCE] 2.2.2.7.7.4
_LONGEST: Final = 256
_FORBIDDEN: Final = frozenset('*`"\\<>|')


class NameKind(Enum):
    """Where a certificate may say who its holder is."""

    UPN = "upn"
    EMAIL = "email"
    DNS = "dns"
    URI = "uri"
    COMMON_NAME = "cn"


@dataclass(frozen=True, slots=True)
class NameRule:
    """Which name of a certificate counts.

    Attributes:
        kinds: where to look, in this order; the first kind that is there counts.
        domain: whose names they are; empty for anybody's. A UPN or address of the
            domain is then known by what stands before the `@`; a host or a URI has to
            be within it and keeps its whole name.
        ascii_only: whether names with other letters are refused. Some look like
            others, and a store's accounts are found without regard to such forms.
    """

    kinds: tuple[NameKind, ...] = (NameKind.UPN,)
    domain: str = ""
    ascii_only: bool = True

    def __post_init__(self) -> None:
        """Refuse a rule by which nobody, or not who is meant, has a name.

        Raises:
            InvalidRequestError: so it is.
        """
        several("names", self.kinds, NameKind, "write `names=(NameKind.UPN,)`")
        if not self.kinds or len({*self.kinds}) != len(self.kinds):
            raise InvalidRequestError("a rule of names tells kinds, each once")
        if self.domain and NameKind.COMMON_NAME in self.kinds:
            raise InvalidRequestError(
                "a common name is in no domain",
                advice="leave `cn` out of the kinds, or the domain",
            )

    def name_of(self, certificate: x509.Certificate) -> tuple[NameKind, str]:
        """Return the name that counts, and its kind.

        Raises:
            EvidenceRefusedError: there is none, more than one, or none that is fit.
        """
        for kind in self.kinds:
            found = names_of(certificate, kind)
            if len(found) > 1:
                raise EvidenceRefusedError(
                    f"the certificate has {len(found)} names of kind `{kind.value}`"
                )
            if found:
                return kind, self._of_domain(kind, self._fit(found[0]))
        wanted = ", ".join(kind.value for kind in self.kinds)
        raise EvidenceRefusedError(f"the certificate has no name of kind {wanted}")

    def _fit(self, name: str) -> str:
        is_plain = name.isascii() or not self.ascii_only
        is_shown = name.isprintable() and name == name.strip()
        if not (name and is_plain and is_shown and len(name) <= _LONGEST):
            raise EvidenceRefusedError(f"the certificate's name is unfit: {name!a:.80}")
        if _FORBIDDEN & {*name}:
            raise EvidenceRefusedError(f"the certificate's name is unfit: {name!a:.80}")
        return name

    def _of_domain(self, kind: NameKind, name: str) -> str:
        return _READERS[kind](name, self.domain.lower())


def names_of(certificate: x509.Certificate, kind: NameKind) -> list[str]:
    """Return all names of a kind, as the certificate writes them.

    Raises:
        EvidenceRefusedError: they cannot be read.
    """
    if kind is NameKind.COMMON_NAME:
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(attribute.value) for attribute in found]
    names = extension_of(certificate, x509.SubjectAlternativeName)
    return [] if names is None else list(_values(names, kind))


def _values(names: x509.SubjectAlternativeName, kind: NameKind) -> Iterable[str]:
    if kind is NameKind.EMAIL:
        return names.get_values_for_type(x509.RFC822Name)
    if kind is NameKind.DNS:
        return names.get_values_for_type(x509.DNSName)
    if kind is NameKind.URI:
        return names.get_values_for_type(x509.UniformResourceIdentifier)
    others = names.get_values_for_type(x509.OtherName)
    return [_utf8(other.value) for other in others if other.type_id == _UPN]


def _utf8(value: bytes) -> str:
    try:
        return der.content(value, der.UTF8_STRING).decode()
    except UnicodeDecodeError as error:
        raise EvidenceRefusedError("the certificate's UPN is no text") from error


def _before_at(name: str, domain: str) -> str:
    user, at, realm = name.rpartition("@")
    if not user or not at or not realm or "@" in user:
        raise EvidenceRefusedError(f"`{name[:80]}` is no user@domain")
    if not domain:
        return name
    if realm.lower() != domain:
        raise EvidenceRefusedError(f"`{name[:80]}` is of another domain")
    return user


def _host(name: str, domain: str) -> str:
    if domain and not _is_within(name, domain):
        raise EvidenceRefusedError(f"`{name[:80]}` is of another domain")
    return name


def _uri(name: str, domain: str) -> str:
    try:
        authority = urlsplit(name).netloc
    except ValueError as error:
        raise EvidenceRefusedError(f"`{name[:80]}` is no URI") from error
    # Nobody's name has a user, a port or an encoded letter in its authority (SPIFFE-ID
    # 2.1): each is a second way to write a domain.
    if not authority or {*authority} & {*"@:%[]"}:
        raise EvidenceRefusedError(f"`{name[:80]}` names nobody of a domain")
    if domain and authority.lower() != domain:
        raise EvidenceRefusedError(f"`{name[:80]}` is of another domain")
    return name


def _is_within(host: str, domain: str) -> bool:
    return host.lower() == domain or host.lower().endswith("." + domain)


def _as_is(name: str, _domain: str) -> str:
    return name


_READERS: Final[Mapping[NameKind, Callable[[str, str], str]]] = {
    NameKind.UPN: _before_at,
    NameKind.EMAIL: _before_at,
    NameKind.DNS: _host,
    NameKind.URI: _uri,
    NameKind.COMMON_NAME: _as_is,
}
