"""What a verified chain of certificates means: who the client is, to which issuer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from stead.adapters.certificates.constraints import (
    require_judged,
    require_unconstrained,
)
from stead.adapters.certificates.issuers import (
    CertificateIssuer,
    domain_of,
)
from stead.adapters.certificates.names import NameRule
from stead.adapters.certificates.reading import (
    extension_of,
    is_authority,
    read_certificate,
)
from stead.adapters.certificates.revocation import RevocationFile
from stead.adapters.certificates.security_extension import sid_of
from stead.authority.packages import AssertedSids, Authenticated
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
)
from stead.model.arguments import several

_log: Final = logging.getLogger(__name__)

PACKAGE: Final = "certificate"
_SHORTEST_CHAIN: Final = 2  # a leaf, and the anchor that it is not


@dataclass(frozen=True, slots=True, eq=False)
class _Issuer:
    """An issuer with its files at hand."""

    told: CertificateIssuer
    rule: NameRule
    revocations: RevocationFile | None


class Certificates:
    """Knows its issuers by their anchors, and clients by their issuers.

    Attributes:
        anchors: the certificates of all issuers, in PEM: what a handshake is to verify
            clients by, and nothing else.
    """

    def __init__(
        self,
        issuers: Iterable[CertificateIssuer],
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Read the issuers' anchors.

        A file of revocation lists that cannot be read is logged; until it can be,
        nobody of its issuer gets in.

        Args:
            issuers: whose certificates are believed.
            clock: nanoseconds since the epoch, UTC.

        Raises:
            InvalidRequestError: anchors cannot be read, there are none, or two issuers
                share one, its key, or a name.
        """
        self._clock = clock
        advice = 'write `Certificates([CertificateIssuer(name="corp", ...)])`'
        issuers = several("issuers", issuers, CertificateIssuer, advice)
        if not issuers:
            raise InvalidRequestError(
                "no issuer of certificates is given, so nobody would be believed",
                advice=advice,
            )
        if len({issuer.name for issuer in issuers}) != len(issuers):
            raise InvalidRequestError(
                "two issuers of certificates have one name",
                advice="the server's `issuers` tell them apart by it: name each",
            )
        by_key: dict[bytes, _Issuer] = {}
        anchors: list[x509.Certificate] = []
        for told in issuers:
            issuer = self._opened(told)
            for anchor in told.read_anchors():
                # Of two certificates of one key, either ends a chain.
                owner = by_key.setdefault(_key_of(anchor), issuer)
                if owner is not issuer:
                    raise InvalidRequestError(
                        f"issuers `{owner.told.name}` and `{told.name}` share the "
                        f"anchor `{anchor.subject.rfc4514_string()}`, or its key",
                        advice="a chain must tell whose it is: give it to one of them",
                    )
                anchors.append(anchor)
        self._by_key: Mapping[bytes, _Issuer] = MappingProxyType(by_key)
        self._own: frozenset[x509.Certificate] = frozenset(anchors)
        self._store = verification.Store(anchors)
        self.anchors: Final = b"".join(a.public_bytes(Encoding.PEM) for a in anchors)

    def _opened(self, told: CertificateIssuer) -> _Issuer:
        revocations = None
        if told.revocations is not None:
            revocations = RevocationFile(
                told.revocations,
                is_demanded=told.demands_revocations,
                clock=self._clock,
            )
            try:
                revocations.require_readable()
            except DirectoryUnavailableError as error:
                # Whoever fetches lists may be about to put them there.
                _log.warning("nobody of issuer `%s` gets in: %s", told.name, error)
        return _Issuer(told, told.rule, revocations)

    def verify(self, leaf: bytes, others: Sequence[bytes] = ()) -> Authenticated:
        """Return whose certificate it is, where somebody else had the handshake.

        That the client has the key is that other's word. The chain is built and
        verified here, by `cryptography`, from these issuers' anchors alone: whom the
        other trusts beside them does not count.

        Args:
            leaf: the client's certificate, in DER.
            others: authorities between it and an anchor, in DER, as the client sent
                them; only those that a verified chain needs are used.

        Raises:
            EvidenceRefusedError, DirectoryUnavailableError: as `identify`.
        """
        now = datetime.fromtimestamp(self._clock() / 1e9, UTC)
        verifier = verification.PolicyBuilder().store(self._store).time(now)
        certificate, between = (
            read_certificate(leaf),
            list(map(read_certificate, others)),
        )
        try:
            verified = verifier.build_client_verifier().verify(certificate, between)
        except (verification.VerificationError, ValueError) as error:
            raise EvidenceRefusedError(
                "the certificate is of no issuer that is believed, or not valid"
            ) from error
        return self._identify(verified.chain, is_bound=False)

    def identify(self, chain: Sequence[bytes]) -> Authenticated:
        """Return whose certificate it is, as a handshake here has verified it.

        1. The anchor nearest to the leaf says which issuer it is, by its key. The chain
           may go on to another above it, which has certified that one, also by another
           certificate than the anchor: an issuer of its own, with names of its own,
           stays that. What is said of the chain is asked as far as an anchor itself.
        2. The leaf is meant for clients, is no authority's and is valid now.
        3. None of the chain was revoked, as far as the lists of its issuers say.
        4. The one name that counts is read, and a SID if the issuer may assert one.

        Args:
            chain: in DER, as OpenSSL verified it: the leaf first, the anchor last.

        Raises:
            EvidenceRefusedError: the client is not believed; it says why.
            DirectoryUnavailableError: a file of revocation lists cannot be read.
        """
        return self._identify(list(map(read_certificate, chain)), is_bound=True)

    def _identify(
        self, chain: Sequence[x509.Certificate], *, is_bound: bool
    ) -> Authenticated:
        parts = self._parts_of(chain)
        issuer, leaf = parts[0][0], chain[0]
        chain = [leaf, *(one for _, part in parts for one in part[1:])]
        _require_client(leaf)
        expires = self._require_valid(chain)
        for whose, part in parts:
            if whose.revocations is not None:
                whose.revocations.require_not_revoked(part)
        kind, name = issuer.rule.name_of(leaf)
        require_judged(chain, kind)
        return Authenticated(
            package=PACKAGE,
            issuer=issuer.told.name,
            name=name,
            sids=_sids(issuer.told, chain),
            expires=expires,
            is_bound=is_bound,
            details=(
                ("certificate", leaf.fingerprint(SHA256()).hex()),
                ("serial", f"{leaf.serial_number:x}"),
                ("name of kind", kind.value),
            ),
        )

    def _parts_of(
        self, chain: Sequence[x509.Certificate]
    ) -> list[tuple[_Issuer, Sequence[x509.Certificate]]]:
        """Return a chain as far as an anchor, in parts, each with whose it is.

        An authority of that issuer's ends a part. There is a second one where the first
        issuer's authority was shown by a certificate of another issuer's.
        """
        if len(chain) < _SHORTEST_CHAIN:
            raise EvidenceRefusedError(
                "the certificate is verified by no authority",
                advice="have the web server resume no TLS sessions: each handshake has "
                "to verify its client",
            )
        parts: list[tuple[_Issuer, Sequence[x509.Certificate]]] = []
        begins = 0
        for at, authority in enumerate(chain[1:], 1):
            issuer = self._by_key.get(_key_of(authority))
            if issuer is None:
                continue
            parts.append((issuer, chain[begins : at + 1]))
            if authority in self._own:
                return parts
            begins = at
        raise EvidenceRefusedError(
            "the certificate is of an authority that no issuer names",
            advice="verify clients by `Certificates.anchors`, and by nothing else",
        )

    def _require_valid(self, chain: Sequence[x509.Certificate]) -> int:
        """Return when the first of a chain ends; nanoseconds since the epoch."""
        now = self._clock()
        begins = max(_nanoseconds(one.not_valid_before_utc) for one in chain)
        ends = min(_nanoseconds(one.not_valid_after_utc) for one in chain)
        if not begins <= now < ends:
            raise EvidenceRefusedError("the certificate is not valid at this time")
        return ends


def _key_of(authority: x509.Certificate) -> bytes:
    try:
        key = authority.public_key()
    except (UnsupportedAlgorithm, ValueError) as error:
        name = authority.subject.rfc4514_string()
        raise InvalidRequestError(f"the key of `{name}` cannot be read") from error
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000_000


def _require_client(leaf: x509.Certificate) -> None:
    """Refuse what is not meant to authenticate clients.

    A certificate that says nothing of what it is for is not taken: it may be anything.
    """
    if is_authority(leaf):
        raise EvidenceRefusedError("the certificate is an authority's own")
    found = extension_of(leaf, x509.ExtendedKeyUsage)
    if found is None or ExtendedKeyUsageOID.CLIENT_AUTH not in found:
        raise EvidenceRefusedError("the certificate is not meant for clients")


def _sids(
    issuer: CertificateIssuer, chain: Sequence[x509.Certificate]
) -> AssertedSids | None:
    """Return what the leaf asserts as a SID, if its issuer may assert any."""
    if not issuer.sid_domains:
        return None
    found = sid_of(chain[0])
    if found is None:
        return None
    require_unconstrained(chain)
    if domain_of(found) not in issuer.sid_domains:
        raise EvidenceRefusedError(
            f"issuer `{issuer.name}` may not assert {found}",
            advice="name the domain among its `sid_domains`, if it may",
        )
    return AssertedSids(found)
