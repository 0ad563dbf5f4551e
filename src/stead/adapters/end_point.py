"""What a TLS server is told by: the hash of its certificate (RFC 5929 4).

    binding = server_end_point(Path("/etc/stead/tls.pem").read_text())

The server's side of TLS may end elsewhere, at a proxy: the certificate is the one that
clients see. Needs the extra `tls`.
"""

from __future__ import annotations

from typing import Final

from stead.adapters.extras import require_extra

require_extra("tls", "cryptography")

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from stead.authority.packages import ChannelBinding
from stead.errors import InvalidRequestError

BINDING: Final = "tls-server-end-point"
_WEAK: Final = (hashes.MD5, hashes.SHA1)


def server_end_point(
    certificate: str | bytes, *, is_between_ours: bool = False
) -> ChannelBinding:
    """Return the binding of a server's certificate.

    Args:
        certificate: PEM text, whose first certificate is the server's; or DER.
        is_between_ours: whether both ends are Stead's: then SHA-256 serves where
            nothing is defined, for signatures without a hash such as Ed25519.

    Raises:
        InvalidRequestError: it is no certificate, or its signature is of a kind for
            which no hash is defined.
    """
    read = _read(certificate)
    try:
        chosen = read.signature_hash_algorithm
    except UnsupportedAlgorithm:
        chosen = None
    if chosen is None and not is_between_ours:
        raise InvalidRequestError(
            "no channel binding is defined for the certificate's signature",
            advice="use one that is signed by RSA or ECDSA",
        )
    if chosen is None or isinstance(chosen, _WEAK):
        chosen = hashes.SHA256()
    return ChannelBinding(BINDING, read.fingerprint(chosen))


def _read(certificate: str | bytes) -> x509.Certificate:
    try:
        if isinstance(certificate, str):
            return x509.load_pem_x509_certificates(certificate.encode())[0]
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise InvalidRequestError("the certificate is none") from error
