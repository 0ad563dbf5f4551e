"""Which SIDs a ticket may bring into a machine, and with which bits ([MS-PAC] 4.1.2.2).

>>> may_cross(Sid.from_string("S-1-5-21-1-2-3-1104"))
True
>>> may_cross(Sid.from_string("S-1-5-32-544"))
False
"""

from __future__ import annotations

from functools import cache
from typing import Final

from stead.model.sid import Sid
from stead.model.token import GroupAttributes, TokenGroup

_NT_AUTHORITY: Final = 5
_IN_A_DOMAIN: Final = bytes.fromhex("010500000000000515000000")
"""How the SIDs of accounts and groups begin: five parts, authority 5, the first 21."""
_NEVER_FILTERED_AUTHORITIES: Final = frozenset({4, 10, 11, 12, 18})
"""Non-unique, passport, cloud accounts, and how an identity was asserted."""
_ENTERPRISE_CONTROLLERS: Final = 9
_THIS_ORGANIZATION: Final = 15
_DOMAIN: Final = 21
_RESERVED: Final = 1000
_KEPT_ATTRIBUTES: Final = int(
    GroupAttributes.MANDATORY
    | GroupAttributes.ENABLED_BY_DEFAULT
    | GroupAttributes.ENABLED
    | GroupAttributes.OWNER
    | GroupAttributes.RESOURCE
    | GroupAttributes.USE_FOR_DENY_ONLY
)


def may_cross(sid: Sid, *, local_domain: Sid | None = None) -> bool:
    """Tell whether a ticket may bring a SID into a machine ([MS-PAC] 4.1.2.2).

    Well-known SIDs, built-in groups, logon types and services mean something of the
    machine's own; a ticket that says `S-1-5-18` is not to be believed. Authorities
    that the specification does not name are refused, integrity levels among them.

    Args:
        sid: what the ticket says.
        local_domain: the machine's own account domain, if it has one.
    """
    if sid.startswith(_IN_A_DOMAIN):  # nearly all that tickets bring
        return local_domain is None or not sid.is_within(local_domain)
    if sid.authority != _NT_AUTHORITY:
        return sid.authority in _NEVER_FILTERED_AUTHORITIES
    first = sid.sub_authorities[0]
    if first == _DOMAIN:
        return False  # a domain; or longer, and nothing
    return first in {_ENTERPRISE_CONTROLLERS, _THIS_ORGANIZATION} or first >= _RESERVED


def ticket_group(sid: Sid, attributes: int) -> TokenGroup:
    """Make a group of what a ticket says, without the bits it has no say in.

    [MS-PAC] 2.2.1 knows five bits and ignores the others. Deny-only is kept all the
    same: it can only take away. A logon SID or an integrity level a ticket cannot make.
    """
    return TokenGroup(sid, _attributes(attributes & _KEPT_ATTRIBUTES))


@cache
def _attributes(bits: int) -> GroupAttributes:
    """Return attributes of their number; there are 64 such numbers.

    Others, an enumeration would keep for good, as many as somebody sends.
    """
    return GroupAttributes(bits)
