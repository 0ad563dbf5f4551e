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

from stead.authority.packages import AssertedSids
from stead.errors import EvidenceRefusedError, InvalidPacError
from stead.model import well_known
from stead.model.pac import Pac


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


def is_verified_by_service(pac: Pac) -> bool:
    """Tell whether the client showed nothing, and a service said who it is (S4U).

    Who holds the ticket then need not have met the client ([MS-SFU] 3.2.5.1.2).
    """
    return well_known.SERVICE_ASSERTED_IDENTITY in pac.group_sids


def actors_of(pac: Pac) -> tuple[str, ...]:
    """Return the services through which the client's identity came, nearest first."""
    return () if pac.delegation is None else pac.delegation.transited[::-1]
