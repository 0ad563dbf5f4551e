"""What ties an exchange to a server's TLS channel: `tls-server-end-point` (RFC 5929 4).

It is a digest of the server's certificate. Needs the extra `tls`.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from stead.authority.packages import ChannelBinding

BINDING: Final = "tls-server-end-point"
_WEAK: Final = (hashes.MD5, hashes.SHA1)


def binding_of_pem(content: bytes) -> ChannelBinding:
    """Return the binding to the server whose certificate comes first in a file.

    Raises:
        ValueError: there is none.
    """
    return _binding_of(x509.load_pem_x509_certificates(content)[0])


def binding_of_der(certificate: bytes) -> ChannelBinding:
    """Return the binding to the server of a certificate."""
    return _binding_of(x509.load_der_x509_certificate(certificate))


def _binding_of(certificate: x509.Certificate) -> ChannelBinding:
    try:
        chosen = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        chosen = None
    # RFC 5929 leaves open what becomes of signatures without a hash, such as Ed25519.
    if chosen is None or isinstance(chosen, _WEAK):
        chosen = hashes.SHA256()
    return ChannelBinding(BINDING, certificate.fingerprint(chosen))
