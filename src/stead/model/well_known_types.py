"""The SIDs that Windows numbers (winnt.h, WELL_KNOWN_SID_TYPE; CreateWellKnownSid).

Four numbers have no SID here: 7 and 83 stand for an authority without any
sub-authority, 21 for logon SIDs, of which every session has its own, and Windows makes
none for 80.

>>> str(well_known_sid(26))
'S-1-5-32-544'
"""

from __future__ import annotations

from typing import Final

from stead.errors import InvalidSidError
from stead.model.sid import Sid

_DOMAIN_AUTHORITY: Final = 5
_DOMAIN_ROOT: Final = 21
_FEWEST_DOMAIN_PARTS: Final = 4

_FIXED: Final[dict[int, str]] = {
    0: "S-1-0-0",
    1: "S-1-1-0",
    2: "S-1-2-0",
    3: "S-1-3-0",
    4: "S-1-3-1",
    5: "S-1-3-2",
    6: "S-1-3-3",
    8: "S-1-5-1",
    9: "S-1-5-2",
    10: "S-1-5-3",
    11: "S-1-5-4",
    12: "S-1-5-6",
    13: "S-1-5-7",
    14: "S-1-5-8",
    15: "S-1-5-9",
    16: "S-1-5-10",
    17: "S-1-5-11",
    18: "S-1-5-12",
    19: "S-1-5-13",
    20: "S-1-5-14",
    22: "S-1-5-18",
    23: "S-1-5-19",
    24: "S-1-5-20",
    25: "S-1-5-32",
    **{
        number: f"S-1-5-32-{rid}"
        for number, rid in (
            *enumerate(range(544, 553), start=26),  # Administrators to Replicator
            *enumerate(range(554, 557), start=35),
            *enumerate(range(557, 563), start=56),
            (62, 568),
            (64, 569),
            (76, 573),
            (78, 574),
            *enumerate(range(575, 578), start=95),  # the remote desktop roles
            (99, 578),
            (101, 579),
            (102, 580),
            (111, 581),
            (112, 582),
            (119, 583),
        )
    },
    51: "S-1-5-64-10",
    52: "S-1-5-64-21",
    53: "S-1-5-64-14",
    54: "S-1-5-15",
    55: "S-1-5-1000",
    63: "S-1-5-17",
    65: "S-1-16-0",
    66: "S-1-16-4096",
    67: "S-1-16-8192",
    68: "S-1-16-12288",
    69: "S-1-16-16384",
    70: "S-1-5-33",
    71: "S-1-3-4",
    74: "S-1-5-22",
    79: "S-1-16-8448",
    81: "S-1-2-1",
    82: "S-1-5-65-1",
    84: "S-1-15-2-1",
    **{
        number: f"S-1-15-3-{capability}"
        for number, capability in (
            *enumerate(range(1, 8), start=85),
            (92, 9),
            (93, 8),
            (94, 10),
            (108, 11),
            (109, 12),
        )
    },
    98: "S-1-5-84-0-0-0-0-0",
    103: "S-1-18-1",
    104: "S-1-18-2",
    105: "S-1-5-113",
    106: "S-1-5-114",
    115: "S-1-18-4",
    116: "S-1-18-5",
    117: "S-1-18-6",
    118: "S-1-18-3",
}

_IN_DOMAIN: Final[dict[int, int]] = {
    38: 500,
    39: 501,
    40: 502,
    **dict(enumerate(range(512, 521), start=41)),  # Domain Admins to Policy Admins
    50: 553,
    72: 571,
    73: 572,
    75: 521,
    77: 498,
    100: 522,
    107: 525,
    110: 503,
    113: 526,
    114: 527,
}

_SIDS: Final[dict[int, Sid]] = {
    number: Sid.from_string(text) for number, text in _FIXED.items()
}


def well_known_sid(number: int, *, domain: Sid | None = None) -> Sid:
    """Return the SID that Windows gives a WELL_KNOWN_SID_TYPE.

    Args:
        number: 0 to 119.
        domain: the domain's SID, `S-1-5-21-x-y-z`, or longer: Windows does not count
            its parts; needed where the SID is an account's or a group's of a domain.

    Raises:
        InvalidSidError: no SID has this number, or it needs a domain.
    """
    known = _SIDS.get(number)
    if known is not None:
        return known
    rid = _IN_DOMAIN.get(number)
    if rid is None:
        raise InvalidSidError(f"`{number}` is no well-known sid")
    if domain is None or not _is_domain(domain):
        raise InvalidSidError(f"well-known sid `{number}` needs a domain's sid")
    return domain.with_rid(rid)


def _is_domain(sid: Sid) -> bool:
    parts = sid.sub_authorities
    return (
        sid.authority == _DOMAIN_AUTHORITY
        and len(parts) >= _FEWEST_DOMAIN_PARTS
        and parts[0] == _DOMAIN_ROOT
    )
