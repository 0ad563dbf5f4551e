"""Whose certificates are believed, and for what."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from stead.adapters.certificates.names import NameKind, NameRule
from stead.adapters.certificates.reading import is_authority
from stead.errors import InvalidRequestError, SteadError
from stead.model.sid import Sid


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateIssuer:
    """One authority, or several of one organization, and what they may say.

    Attributes:
        name: what the issuer is called here; `Issuer` of that name says what its
            clients are. The certificate's own words for its issuer count nowhere.
        anchors: a file in PEM: the authorities' own certificates. A chain that ends in
            one of these is this issuer's, and no other is.
        names: where its certificates say who somebody is, in this order.
        domain: whose names it may give; empty for anybody's (`NameRule`).
        sid_domains: the domains whose members it may name by SID. If there are any, a
            certificate that has the SID extension must name a member of one; if there
            are none, the extension is not read.
        revocations: a file of its revocation lists, or None.
        demands_revocations: whether a current list is demanded of each authority.
        ascii_only: whether names with letters beyond ASCII are refused.
    """

    name: str
    anchors: str | os.PathLike[str]
    names: tuple[NameKind, ...] = (NameKind.UPN,)
    domain: str = ""
    sid_domains: Collection[Sid] = ()
    revocations: str | os.PathLike[str] | None = None
    demands_revocations: bool = False
    ascii_only: bool = True

    def __post_init__(self) -> None:
        """Refuse what could not be meant.

        Raises:
            InvalidRequestError: it has no name; lists are demanded and no file is
                named; or its rule of names is none.
        """
        if not self.name.strip():
            raise InvalidRequestError(
                "an issuer of certificates has no name",
                advice="the server's `issuers` tell it by that",
            )
        if not all(isinstance(domain, Sid) for domain in self.sid_domains):
            raise InvalidRequestError(
                f"issuer `{self.name}`: a domain is a `Sid`, not a text",
                advice='write `sid_domains=[Sid.from_string("S-1-5-21-a-b-c")]`',
            )
        if self.demands_revocations and self.revocations is None:
            raise InvalidRequestError(
                f"issuer `{self.name}` demands revocation lists and names no file",
                advice="give it `revocations=`",
            )
        self.rule.__post_init__()

    @property
    def rule(self) -> NameRule:
        """Which name of its certificates counts."""
        return NameRule(self.names, self.domain, self.ascii_only)

    def read_anchors(self) -> tuple[x509.Certificate, ...]:
        """Return its authorities' certificates.

        Raises:
            InvalidRequestError: the file cannot be read, or one is no authority.
        """
        try:
            found = tuple(
                x509.load_pem_x509_certificates(Path(self.anchors).read_bytes())
            )
        except (OSError, ValueError) as error:
            raise InvalidRequestError(
                f"the anchors `{self.anchors}` of issuer `{self.name}` cannot be "
                f"read: {error}",
                advice="give a file of certificates in PEM",
            ) from error
        for anchor in found:
            if not is_authority(anchor):
                raise InvalidRequestError(
                    f"`{anchor.subject.rfc4514_string()}` in `{self.anchors}` is no "
                    "certificate of an authority"
                )
        return found


def domain_of(sid: Sid) -> Sid | None:
    """Return the domain that an account's SID is of, or None."""
    text, _, _ = str(sid).rpartition("-")
    try:
        return Sid.from_string(text)
    except SteadError:
        return None
