"""What a TLS server is told by: the hash of its certificate (RFC 5929 4).

    binding = server_end_point(Path("/etc/stead/tls.pem").read_text())

The server's side of TLS may end elsewhere, at a proxy: the certificate is the one that
clients see.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from typing import Final

from stead.authority.packages import ChannelBinding
from stead.errors import InvalidRequestError

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_SEQUENCE, _OID, _LONG = 0x30, 0x06, 0x80

# The hash of the certificate's own signature; SHA-256 where that is MD5 or SHA-1.
_HASHES: Final[Mapping[str, str]] = {
    "2a864886f70d010104": "sha256",  # md5WithRSAEncryption (RFC 3279)
    "2a864886f70d010105": "sha256",  # sha1WithRSAEncryption
    "2a864886f70d01010b": "sha256",  # sha256WithRSAEncryption (RFC 4055)
    "2a864886f70d01010c": "sha384",
    "2a864886f70d01010d": "sha512",
    "2a8648ce3d0401": "sha256",  # ecdsa-with-SHA1 (RFC 3279)
    "2a8648ce3d040302": "sha256",  # ecdsa-with-SHA256 (RFC 5758)
    "2a8648ce3d040303": "sha384",
    "2a8648ce3d040304": "sha512",
}


def server_end_point(certificate: str | bytes) -> ChannelBinding:
    """Return the binding of a server's certificate.

    Args:
        certificate: PEM text, whose first certificate is the server's; or DER.

    Raises:
        InvalidRequestError: it is no certificate, or its signature is of a kind for
            which no hash is defined.
    """
    der = _der(certificate) if isinstance(certificate, str) else certificate
    try:
        _, body, _ = _element(der, _SEQUENCE)
        _, _, rest = _element(body, _SEQUENCE)
        _, algorithm, _ = _element(rest, _SEQUENCE)
        _, name, _ = _element(algorithm, _OID)
    except (IndexError, ValueError) as error:
        raise InvalidRequestError("the certificate is none") from error
    found = _HASHES.get(name.hex())
    if found is None:
        raise InvalidRequestError(
            "no channel binding is defined for the certificate's signature",
            advice="use one that is signed by RSA (PKCS #1) or ECDSA",
        )
    return ChannelBinding("tls-server-end-point", hashlib.new(found, der).digest())


def _der(text: str) -> bytes:
    begin, end = text.find(_BEGIN), text.find(_END)
    if not 0 <= begin < end:
        raise InvalidRequestError("there is no certificate in the text")
    try:
        return ssl.PEM_cert_to_DER_cert(text[begin : end + len(_END)])
    except ValueError as error:
        raise InvalidRequestError("the certificate is none") from error


def _element(binary: bytes, kind: int) -> tuple[int, bytes, bytes]:
    """Return a DER element's type, its content, and what follows it (X.690 8.1)."""
    if binary[0] != kind:
        raise ValueError(binary[0])
    size, start = binary[1], 2
    if size & _LONG:
        start += size & ~_LONG
        size = int.from_bytes(binary[2:start], "big")
    if start + size > len(binary):
        raise ValueError(size)
    return binary[0], binary[start : start + size], binary[start + size :]
