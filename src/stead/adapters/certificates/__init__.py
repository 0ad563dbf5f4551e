"""Who a TLS client certificate says a client is (RFC 5280), by issuers that are named.

    corp = CertificateIssuer(name="corp", anchors="corp-ca.pem", domain="corp.example")
    certificates = Certificates([corp])
    client = certificates.identify(chain)      # -> Authenticated

Chains are built and verified by OpenSSL in a handshake, or by `cryptography` where
somebody else had the handshake; this says what a verified chain means. Needs the extra
`tls`.
"""

from __future__ import annotations

from stead.adapters.certificates.authority import Certificates
from stead.adapters.certificates.issuers import CertificateIssuer
from stead.adapters.certificates.names import NameKind

__all__ = ["CertificateIssuer", "Certificates", "NameKind"]
