"""How proxies write the certificate that they saw into a header.

RFC 9440 for those that follow it; `X-Forwarded-Client-Cert` as Envoy writes it; a
certificate in PEM, percent-encoded, as nginx writes it; and base64 of DER, as HAProxy
does. One certificate in one header, or none: of two, an attacker has sent one.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from stead.errors import EvidenceRefusedError

_MOST_BYTES: Final = 1 << 16
_MOST_CERTIFICATES: Final = 16
_SF_BINARY: Final = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL
)
# A name, then a token or a text in quotes; `\"` within them is a quote.
_XFCC_PAIR: Final = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^";,]*)')


class HeaderFormat(Enum):
    """How a proxy writes it; each value is the name that such a header mostly has."""

    CLIENT_CERT = "client-cert"
    XFCC = "x-forwarded-client-cert"
    ESCAPED_PEM = "x-ssl-client-cert"
    BASE64_DER = "x-ssl-client-der"


CHAIN_NAME: Final = "client-cert-chain"  # RFC 9440 2.3
WELL_KNOWN: Final = frozenset({*(one.value for one in HeaderFormat), CHAIN_NAME})
"""Names that say who a client is wherever they are believed."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a header says.

    Attributes:
        leaf: the client's certificate, in DER.
        others: those that the client sent along with it, in DER.
    """

    leaf: bytes = field(repr=False)
    others: tuple[bytes, ...] = field(default=(), repr=False)


def read_header(
    style: HeaderFormat, values: Iterable[str], chain: Iterable[str] = ()
) -> Forwarded | None:
    """Return the certificate that a header holds, or None if there is no header.

    Args:
        style: how it is written.
        values: of each header of the name.
        chain: of each `Client-Cert-Chain`.

    Raises:
        EvidenceRefusedError: it is there twice, is too long, or holds no certificate.
    """
    found = tuple(values)
    if not found:
        if any(chain):
            raise EvidenceRefusedError("a chain was forwarded without a certificate")
        return None
    value, *more = found
    if more:
        raise EvidenceRefusedError(
            "the certificate was forwarded more than once",
            advice="have the proxy remove what clients send under that name",
        )
    if len(value) > _MOST_BYTES:
        raise EvidenceRefusedError("the forwarded certificate is too long")
    made = _READERS[style](value.strip())
    if style is HeaderFormat.CLIENT_CERT:
        return Forwarded(made.leaf, _chain(chain))
    return made


def _client_cert(value: str) -> Forwarded:
    return Forwarded(_sf_binary(value))


def _chain(values: Iterable[str]) -> tuple[bytes, ...]:
    items = [item for value in values for item in value.split(",")]
    if len(items) > _MOST_CERTIFICATES or sum(map(len, items)) > _MOST_BYTES:
        raise EvidenceRefusedError("the forwarded chain is too long")
    return tuple(_sf_binary(item.strip()) for item in items)


def _sf_binary(text: str) -> bytes:
    """Read a byte sequence of RFC 8941 3.3.5, which is all that RFC 9440 allows."""
    found = _SF_BINARY.fullmatch(text)
    if found is None:
        raise EvidenceRefusedError("the forwarded certificate is not of RFC 9440")
    return _base64(found[1])


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvidenceRefusedError("the forwarded certificate is no base64") from error


def _base64_der(value: str) -> Forwarded:
    return Forwarded(_base64(value))


def _escaped_pem(value: str) -> Forwarded:
    return _pems(unquote_to_bytes(value).decode("latin-1"))


def _pems(text: str) -> Forwarded:
    found = _PEM.findall(text)
    if not 0 < len(found) <= _MOST_CERTIFICATES or _PEM.sub("", text).strip():
        raise EvidenceRefusedError("the forwarded certificate is no PEM")
    try:
        made = [ssl.PEM_cert_to_DER_cert(one) for one in found]
    except ValueError as error:
        raise EvidenceRefusedError("the forwarded certificate is no PEM") from error
    return Forwarded(made[0], tuple(made[1:]))


def _xfcc(value: str) -> Forwarded:
    """Read the one element that a proxy wrote which removes what clients send."""
    pairs, at = {}, 0
    while at < len(value):
        found = _XFCC_PAIR.match(value, at)
        if found is None or (found[1].lower() in pairs and found[1].lower() != "uri"):
            raise EvidenceRefusedError("the forwarded certificate is no XFCC")
        pairs[found[1].lower()] = found[2]
        at = found.end()
        if value[at : at + 1] == ",":
            raise EvidenceRefusedError(
                "the forwarded certificate has passed more than one proxy",
                advice="have the proxy write it anew: `SANITIZE_SET`",
            )
        if at < len(value) and value[at] != ";":
            raise EvidenceRefusedError("the forwarded certificate is no XFCC")
        at += 1
    if not pairs.get("cert"):
        raise EvidenceRefusedError(
            "the proxy forwards what the certificate says, and not the certificate",
            advice="have it write `Cert` too: `set_current_client_cert_details`",
        )
    leaf = _escaped_pem(pairs["cert"].strip('"')).leaf
    chain = pairs.get("chain", "").strip('"')
    sent = _escaped_pem(chain) if chain else Forwarded(leaf)
    return Forwarded(leaf, tuple({sent.leaf, *sent.others} - {leaf}))


_READERS: Final[Mapping[HeaderFormat, Callable[[str], Forwarded]]] = {
    HeaderFormat.CLIENT_CERT: _client_cert,
    HeaderFormat.XFCC: _xfcc,
    HeaderFormat.ESCAPED_PEM: _escaped_pem,
    HeaderFormat.BASE64_DER: _base64_der,
}
