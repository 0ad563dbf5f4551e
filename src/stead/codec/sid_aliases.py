"""The two-letter names of SIDs in SDDL ([MS-DTYP] 2.5.1.1).

Some mean the same everywhere; the others are a RID within a domain and mean nothing
until somebody says which domain.
"""

from __future__ import annotations

from typing import Final

from stead.model.sid import Sid

_ALIASES: Final[dict[str, str]] = {
    "WD": "S-1-1-0",
    "CO": "S-1-3-0",
    "CG": "S-1-3-1",
    "OW": "S-1-3-4",
    "NU": "S-1-5-2",
    "IU": "S-1-5-4",
    "SU": "S-1-5-6",
    "AN": "S-1-5-7",
    "ED": "S-1-5-9",
    "PS": "S-1-5-10",
    "AU": "S-1-5-11",
    "RC": "S-1-5-12",
    "SY": "S-1-5-18",
    "LS": "S-1-5-19",
    "NS": "S-1-5-20",
    "WR": "S-1-5-33",
    "BA": "S-1-5-32-544",
    "BU": "S-1-5-32-545",
    "BG": "S-1-5-32-546",
    "PU": "S-1-5-32-547",
    "AO": "S-1-5-32-548",
    "SO": "S-1-5-32-549",
    "PO": "S-1-5-32-550",
    "BO": "S-1-5-32-551",
    "RE": "S-1-5-32-552",
    "RU": "S-1-5-32-554",
    "RD": "S-1-5-32-555",
    "NO": "S-1-5-32-556",
    "MU": "S-1-5-32-558",
    "LU": "S-1-5-32-559",
    "IS": "S-1-5-32-568",
    "CY": "S-1-5-32-569",
    "ER": "S-1-5-32-573",
    "CD": "S-1-5-32-574",
    "RA": "S-1-5-32-575",
    "ES": "S-1-5-32-576",
    "MS": "S-1-5-32-577",
    "HA": "S-1-5-32-578",
    "AA": "S-1-5-32-579",
    "RM": "S-1-5-32-580",
    "UD": "S-1-5-84-0-0-0-0-0",
    "AC": "S-1-15-2-1",
    "LW": "S-1-16-4096",
    "ME": "S-1-16-8192",
    "MP": "S-1-16-8448",
    "HI": "S-1-16-12288",
    "SI": "S-1-16-16384",
    "AS": "S-1-18-1",
    "SS": "S-1-18-2",
}

ALIASES: Final[dict[str, Sid]] = {
    alias: Sid.from_string(text) for alias, text in _ALIASES.items()
}

DOMAIN_RIDS: Final[dict[str, int]] = {
    "RO": 498,
    "LA": 500,
    "LG": 501,
    "DA": 512,
    "DU": 513,
    "DG": 514,
    "DC": 515,
    "DD": 516,
    "CA": 517,
    "SA": 518,
    "EA": 519,
    "PA": 520,
    "CN": 522,
    "AP": 525,
    "KA": 526,
    "EK": 527,
    "RS": 553,
}

_NAMES: Final[dict[Sid, str]] = {sid: alias for alias, sid in ALIASES.items()}
_RID_NAMES: Final[dict[int, str]] = {rid: alias for alias, rid in DOMAIN_RIDS.items()}


def sid_to_sddl(sid: Sid, *, domain: Sid | None = None) -> str:
    """Print a SID as SDDL does: its alias if it has one, its numbers if not.

    Args:
        sid: the SID.
        domain: the domain whose RIDs have aliases; None if there is none.
    """
    alias = _NAMES.get(sid)
    if alias is None and domain is not None and sid.is_within(domain):
        alias = _RID_NAMES.get(sid.rid)
    if alias is not None:
        return alias
    # The one difference to `str`: SDDL has a large authority's digits in capitals.
    return str(sid).upper().replace("X", "x")
