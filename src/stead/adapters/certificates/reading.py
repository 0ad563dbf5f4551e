"""Reading certificates that strangers made: whatever is wrong with one is a refusal."""

from __future__ import annotations

from typing import TypeVar

from cryptography import x509

from stead.errors import EvidenceRefusedError

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


def read_certificate(content: bytes) -> x509.Certificate:
    """Return a certificate; raises `EvidenceRefusedError` if it is none in DER."""
    try:
        return x509.load_der_x509_certificate(content)
    except (ValueError, x509.InvalidVersion) as error:
        raise EvidenceRefusedError("what was shown is no certificate") from error


def extensions_of(certificate: x509.Certificate) -> x509.Extensions:
    """Return a certificate's extensions.

    Raises:
        EvidenceRefusedError: they cannot be read, or one is there twice.
    """
    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as e:
        raise EvidenceRefusedError("a certificate's extensions are unfit") from e


def extension_of(
    certificate: x509.Certificate, kind: type[ExtensionT]
) -> ExtensionT | None:
    """Return what one extension says, or None; raises as `extensions_of`."""
    try:
        return extensions_of(certificate).get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that its holder certifies others."""
    found = extension_of(certificate, x509.BasicConstraints)
    return found is not None and found.ca
