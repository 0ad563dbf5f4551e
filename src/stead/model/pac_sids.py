"""Which SIDs a ticket may bring into a machine, and with which bits ([MS-PAC] 4.1.2.2).

>>> may_cross(Sid.from_string("S-1-5-21-1-2-3-1104"))
True
>>> may_cross(Sid.from_string("S-1-5-32-544"))
False
"""

from __future__ import annotations

from typing import Final

from stead.model.sid import Sid
from stead.model.token import GroupAttributes, TokenGroup

_NT_AUTHORITY: Final = 5
_NEVER_FILTERED_AUTHORITIES: Final = frozenset({4, 10, 11, 12, 18})
"""Non-unique, passport, cloud accounts, and how an identity was asserted."""
_ENTERPRISE_CONTROLLERS: Final = 9
_THIS_ORGANIZATION: Final = 15
_DOMAIN: Final = 21
_DOMAIN_PARTS: Final = 5
_RESERVED: Final = 1000
_KEPT_ATTRIBUTES: Final = (
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
    if sid.authority != _NT_AUTHORITY:
        return sid.authority in _NEVER_FILTERED_AUTHORITIES
    first, *rest = sid.sub_authorities
    if first == _DOMAIN:
        # An account or group of a domain; shorter is a domain, longer is nothing.
        is_local = local_domain is not None and sid.is_within(local_domain)
        return len(rest) == _DOMAIN_PARTS - 1 and not is_local
    return first in {_ENTERPRISE_CONTROLLERS, _THIS_ORGANIZATION} or first >= _RESERVED


def ticket_group(sid: Sid, attributes: int) -> TokenGroup:
    """Make a group of what a ticket says, without the bits it has no say in.

    [MS-PAC] 2.2.1 knows five bits and ignores the others. Deny-only is kept all the
    same: it can only take away. A logon SID or an integrity level a ticket cannot make.
    """
    return TokenGroup(sid, GroupAttributes(attributes) & _KEPT_ATTRIBUTES)
