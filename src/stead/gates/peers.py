"""From where somebody comes, as bounds and counts are kept of it."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network
from typing import Final

_HOST_AND_PORT: Final = re.compile(r"(\[[^]]+\]|[^:]+):[0-9]+")
_SITE: Final = 64  # bits of an IPv6 address that tell who it is; the rest are theirs
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")


def place_of(peer: str) -> str:
    """Return where a peer comes from, without what differs at each knock.

    A local peer's process and a remote one's port are left out; so is what of an IPv6
    address anybody may choose who has one at all.

    Args:
        peer: as records name it.
    """
    place = peer.partition(" pid ")[0]
    found = _HOST_AND_PORT.fullmatch(place)
    return _network_of(found[1] if found else place)


def _network_of(host: str) -> str:
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        address = IPv6Address(bare)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address in _TRANSLATED or address.is_loopback:
        return host
    return str(IPv6Network((address, _SITE), strict=False))
