"""Who a TLS client certificate says a client is (RFC 5280), by issuers that are named.

    corp = CertificateIssuer(name="corp", anchors="corp-ca.pem", domain="corp.example")
    certificates = Certificates([corp])
    client = certificates.identify(chain)      # -> Authenticated

Chains are built and verified by OpenSSL in a handshake, or by `cryptography` where
somebody else had the handshake; this says what a verified chain means. Needs the extra
`tls`.
"""

from __future__ import annotations

from stead.adapters.extras import require_extra

require_extra("tls", "cryptography")

from stead.adapters.certificates.authority import Certificates  # noqa: E402 - not before its library is asked for
from stead.adapters.certificates.issuers import CertificateIssuer  # noqa: E402 - not before its library is asked for
from stead.adapters.certificates.names import NameKind  # noqa: E402 - not before its library is asked for

__all__ = ["CertificateIssuer", "Certificates", "NameKind"]
