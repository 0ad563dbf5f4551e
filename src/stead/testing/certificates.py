"""Certificate authorities for tests of servers that take TLS certificates.

    corp = Authority("Corp CA")
    corp.anchor(folder / "corp-ca.pem")
    alice = corp.issue("alice", upn("alice@corp.example"))
    alice.write(folder / "alice.pem")

They sign what they are asked to, also what no authority should: that is what tests of
refusals need. Keys are of P-256, lives of a day. Needs the extra `tls`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stead.adapters.extras import require_extra

require_extra("tls", "cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
DAY: Final = dt.timedelta(days=1)
_HOUR: Final = dt.timedelta(hours=1)
_UPN: Final = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_SECURITY: Final = ObjectIdentifier("1.3.6.1.4.1.311.25.2")
_SHORT: Final = 128


def tlv(tag: int, content: bytes) -> bytes:
    """Return an element of DER of up to 255 bytes."""
    size = len(content)
    length = bytes([size]) if size < _SHORT else bytes([0x81, size])
    return bytes([tag]) + length + content


def upn(name: str | bytes) -> x509.OtherName:
    """Return a user principal name, as Active Directory writes it."""
    text = name.encode() if isinstance(name, str) else name
    return x509.OtherName(_UPN, tlv(0x0C, text))


def sid_extension(text: str) -> x509.UnrecognizedExtension:
    """Return the extension by which a certificate asserts a SID."""
    kind = tlv(0x06, bytes.fromhex("2b060104018237190201"))
    other = kind + tlv(0xA0, tlv(0x04, text.encode()))
    return x509.UnrecognizedExtension(_SECURITY, tlv(0x30, tlv(0xA0, other)))


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate with its key.

    Attributes:
        certificate: that.
        key: its private key.
        chain: the authorities between it and its root, which a holder sends along.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[Signed, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key in PEM, without a password."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, path: Path) -> Path:
        """Write key, certificate and chain into one file that only its owner reads."""
        path.touch(mode=0o600)
        path.chmod(0o600)
        between = b"".join(one.pem for one in self.chain)
        path.write_bytes(self.key_pem + self.pem + between)
        return path


class Authority:
    """Signs whatever it is asked to.

    Attributes:
        name: what its certificates call their issuer.
        own: its own certificate.
        by: who certified it; None for a root.
    """

    def __init__(
        self,
        name: str = "Corp CA",
        by: Authority | None = None,
        *,
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> None:
        """Make a root, or an authority below another.

        Args:
            name: its common name.
            by: who certifies it.
            extensions: more of its certificate, such as name constraints.
        """
        self.name = _named(name)
        self.by = by
        self.own = _sign(self.name, by, is_authority=True, extensions=extensions)

    def renewed(
        self, by: Authority | None = None, *, age: dt.timedelta = DAY
    ) -> Authority:
        """Return the same authority with another certificate of its key, for two days.

        Args:
            by: who certifies it this time; itself if it is None.
            age: since when.
        """
        made = copy(self)
        made.by, key = by, self.own.key
        made.own = _sign(self.name, by, is_authority=True, key=key, age=age)
        return made

    @property
    def path(self) -> tuple[Signed, ...]:
        """What a holder has to send along: this authority, unless it is a root."""
        return () if self.by is None else (self.own, *self.by.path)

    def anchor(self, path: Path) -> Path:
        """Write its certificate, as what others trust."""
        path.write_bytes(self.own.pem)
        return path

    def issue(
        self,
        common_name: str = "somebody",
        *names: x509.GeneralName,
        use: Sequence[ObjectIdentifier] = (CLIENT,),
        is_authority: bool = False,
        key: ec.EllipticCurvePrivateKey | None = None,
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> Signed:
        """Return a certificate.

        Args:
            common_name: its subject.
            names: its subject alternative names.
            use: what it is for; for clients if nothing is said.
            is_authority: whether it says that its holder certifies others.
            key: its key; a new one if it is None.
            extensions: more of it.
        """
        return _sign(
            _named(common_name),
            self,
            names=names,
            use=use,
            is_authority=is_authority,
            key=key,
            extensions=extensions,
        )

    def revoke(
        self,
        *serials: int,
        age: dt.timedelta = _HOUR,
        life: dt.timedelta = DAY,
        scope: x509.IssuingDistributionPoint | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        """Return a list of revoked certificates, in PEM.

        Args:
            serials: their serial numbers.
            age: how long ago it was made.
            life: how long it is current.
            scope: what it is about; all certificates if it is None.
            key: signs it instead of the authority's own.
        """
        made_at = dt.datetime.now(dt.UTC) - age
        made = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        made = made.last_update(made_at).next_update(made_at + life)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial)
            made = made.add_revoked_certificate(entry.revocation_date(made_at).build())
        if scope is not None:
            made = made.add_extension(scope, critical=True)
        signed = made.sign(key or self.own.key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM)


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _sign(
    subject: x509.Name,
    by: Authority | None,
    *,
    is_authority: bool,
    names: Sequence[x509.GeneralName] = (),
    use: Sequence[ObjectIdentifier] = (),
    key: ec.EllipticCurvePrivateKey | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    age: dt.timedelta = DAY,
) -> Signed:
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = key if by is None else by.own.key
    begins = dt.datetime.now(dt.UTC) - age
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + 2 * DAY)
    )
    for extension in (
        *_basics(key, signer, is_authority=is_authority),
        *([x509.SubjectAlternativeName(names)] if names else ()),
        *([x509.ExtendedKeyUsage(use)] if use and not is_authority else ()),
        *extensions,
    ):
        made = made.add_extension(extension, critical=isinstance(extension, _CRITICAL))
    chain = () if by is None else by.path
    return Signed(made.sign(signer, hashes.SHA256()), key, chain)


_CRITICAL: Final = (x509.BasicConstraints, x509.KeyUsage, x509.NameConstraints)


def _basics(
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> tuple[x509.ExtensionType, ...]:
    """Return what every certificate has."""
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.BasicConstraints(ca=is_authority, path_length=None),
        usage,
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
    )
