"""Name constraints (RFC 5280 4.2.1.10), where they leave a gap.

A constraint on one kind of name says nothing of other kinds. An authority that may
certify hosts of `partner.example` alone could still certify the UPN of anybody: no
library judges UPNs and common names. So below a constrained authority only kinds count
that a constraint speaks of; those the library has judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cryptography import x509

from stead.adapters.certificates.names import NameKind
from stead.adapters.certificates.reading import extension_of
from stead.errors import EvidenceRefusedError

_JUDGED: Final[Mapping[NameKind, type[x509.GeneralName]]] = {
    NameKind.EMAIL: x509.RFC822Name,
    NameKind.DNS: x509.DNSName,
    NameKind.URI: x509.UniformResourceIdentifier,
}


def require_judged(chain: Sequence[x509.Certificate], kind: NameKind) -> None:
    """Refuse a name of a kind that an authority's constraints leave open.

    Args:
        chain: the leaf first.
        kind: the name's.

    Raises:
        EvidenceRefusedError: a constrained authority stands in the chain, and its
            constraints say nothing of the kind.
    """
    for authority in chain[1:]:
        found = extension_of(authority, x509.NameConstraints)
        if found is None:
            continue
        judged = _JUDGED.get(kind)
        subtrees = (*(found.permitted_subtrees or ()), *(found.excluded_subtrees or ()))
        if judged is None or not any(isinstance(tree, judged) for tree in subtrees):
            raise EvidenceRefusedError(
                f"an authority with name constraints gives a name of kind "
                f"`{kind.value}`, of which they say nothing"
            )


def require_unconstrained(chain: Sequence[x509.Certificate]) -> None:
    """Refuse a SID, of which no constraint can speak, of a constrained authority.

    Raises:
        EvidenceRefusedError: a constrained authority stands in the chain.
    """
    if any(extension_of(one, x509.NameConstraints) for one in chain[1:]):
        raise EvidenceRefusedError("an authority with name constraints asserts a SID")
