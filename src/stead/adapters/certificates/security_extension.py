"""The SID that an authority of Active Directory writes into certificates.

szOID_NTDS_CA_SECURITY_EXT ([MS-WCCE] 2.2.2.7.7.4): an OtherName that holds the SID's
text. It ties a certificate to an account for good, where a name may be given again.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier

from stead.adapters.certificates import der
from stead.adapters.certificates.reading import extensions_of
from stead.errors import EvidenceRefusedError, InvalidSidError
from stead.model.sid import Sid

SECURITY_EXTENSION: Final = ObjectIdentifier("1.3.6.1.4.1.311.25.2")
# 1.3.6.1.4.1.311.25.2.1, szOID_NTDS_OBJECTSID, as DER writes it.
_OBJECT_SID: Final = bytes.fromhex("2b060104018237190201")


def sid_of(certificate: x509.Certificate) -> Sid | None:
    """Return the SID that a certificate asserts, or None.

    Raises:
        EvidenceRefusedError: it asserts what is no SID.
    """
    try:
        found = extensions_of(certificate).get_extension_for_oid(SECURITY_EXTENSION)
    except x509.ExtensionNotFound:
        return None
    value = found.value
    if not isinstance(value, x509.UnrecognizedExtension):
        raise EvidenceRefusedError("the certificate's SID cannot be read")
    return _read(value.value)


def _read(value: bytes) -> Sid:
    other = der.content(der.content(value, der.SEQUENCE), der.CONTEXT_0)
    kind, rest = der.element(other, der.OBJECT_IDENTIFIER)
    text = der.content(der.content(rest, der.CONTEXT_0), der.OCTET_STRING)
    if kind != _OBJECT_SID:
        raise EvidenceRefusedError("the certificate's SID is of another type")
    try:
        return Sid.from_string(text.decode("ascii"))
    except (UnicodeDecodeError, InvalidSidError) as error:
        raise EvidenceRefusedError("the certificate asserts no valid SID") from error
