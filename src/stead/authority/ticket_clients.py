"""What a verified Kerberos ticket says of its client, for the registrar ([MS-PAC] 4.1).

The Kerberos library verifies a PAC's signatures; `stead.codec.pac` reads it; this says
what a token may be made of. What no ticket may bring into a machine is left out here
(`Pac.token_parts`), and what its issuer may not assert is left out by the registrar
(`stead.authority.asserted`): an administrator of the domain is none of this machine.

>>> from stead.model.pac import LogonInfo, Pac
>>> from stead.model.sid import Sid
>>> alice = Sid.from_string("S-1-5-21-1-2-3-1104")
>>> asserted_by(Pac(LogonInfo(alice))).user == alice
True
"""

from __future__ import annotations

from collections.abc import Collection

from stead.authority.packages import AssertedSids
from stead.errors import EvidenceRefusedError, InvalidPacError
from stead.model import well_known
from stead.model.delegation_info import DelegationInfo
from stead.model.pac import Pac
from stead.model.sid import Sid


def asserted_by(pac: Pac) -> AssertedSids:
    """Return who a ticket says that its client is, in SIDs.

    Args:
        pac: the ticket's, whose signatures were verified.

    Raises:
        EvidenceRefusedError: it says that the client is what no ticket may say.
    """
    try:
        parts = pac.token_parts()
    except InvalidPacError as error:
        raise EvidenceRefusedError(str(error)) from error
    return AssertedSids(
        user=parts.user,
        groups=parts.groups,
        primary_group=parts.primary_group,
        user_claims=parts.user_claims,
        device_groups=parts.device_groups,
        device_claims=parts.device_claims,
    )


def is_verified_by_service(
    sids: Collection[Sid], delegation: DelegationInfo | None
) -> bool:
    """Tell whether nothing says that the client showed something of its own (S4U).

    A service that has a ticket in a client's name need not have met the client
    ([MS-SFU] 3.2.5.1.2). Where it passes the client on, Active Directory says which it
    was. A KDC that does not, MIT's, leaves it open; then the client counts as one that
    showed nothing.

    Args:
        sids: the client's groups, by its ticket.
        delegation: whom its identity came through, by its ticket.
    """
    if well_known.SERVICE_ASSERTED_IDENTITY in sids:
        return True
    has_come_through = delegation is not None
    return has_come_through and well_known.AUTHORITY_ASSERTED_IDENTITY not in sids


def actors_of(delegation: DelegationInfo | None) -> tuple[str, ...]:
    """Return the services through which the client's identity came, nearest first.

    Raises:
        EvidenceRefusedError: the ticket does not tell them whole.
    """
    try:
        return () if delegation is None else delegation.nearest_first()
    except InvalidPacError as error:
        raise EvidenceRefusedError(str(error), advice=error.advice) from error
