"""A PAC's buffers in NDR that name accounts: logon, device ([MS-PAC] 2.5, 2.12).

Each is one pointer to one structure. A structure's fixed part is read first, then what
its pointers point at, in the order of the pointers.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final, NamedTuple

from stead.codec.keeping import Kept
from stead.codec.logon_name import LOGON
from stead.codec.ndr import ArrayHeader, NdrReader
from stead.errors import InvalidPacError
from stead.model.pac import DeviceInfo, LogonInfo, UserFlags
from stead.model.pac_sids import ticket_group
from stead.model.sid import Sid
from stead.model.token import TokenGroup

_MEMBERSHIP: Final = struct.Struct("<8s")  # a RID and attributes
_SID_HEAD: Final = struct.Struct("<4s4s")  # a pointer and attributes
_LONG_SIZE: Final = 4
_NOTHING: Final = bytes(_LONG_SIZE)  # a pointer to it
_DOMAIN_GROUPS_SIZE: Final = 12

_EXTRA_SIDS: Final = int(UserFlags.EXTRA_SIDS)
_RESOURCE_GROUPS: Final = int(UserFlags.RESOURCE_GROUPS)
_KEPT_FLAGS: Final = int(UserFlags.GUEST) | _EXTRA_SIDS | _RESOURCE_GROUPS
_KEPT_GROUPS: Final = 4096
_known_groups: Final[Kept[bytes, TokenGroup]] = Kept(_KEPT_GROUPS)
"""Groups by their SID and attributes: those of a domain are in all of its tickets."""


class _Account(NamedTuple):
    """What the logon and the device structure both say about an account."""

    rid: int
    primary_rid: int
    domain: Sid | None
    memberships: list[bytes]
    extra_groups: list[TokenGroup]


# --- KERB_VALIDATION_INFO -----------------------------------------------------------


def read_logon_info(binary: bytes) -> LogonInfo:
    """Read a serialized KERB_VALIDATION_INFO ([MS-PAC] 2.5).

    Raises:
        InvalidPacError: it contradicts itself, or names no account.
        InvalidSidError: it holds a SID that is none.
    """
    reader = NdrReader.of_pointer(binary)
    (
        logon_time, logoff_time, kick_off_time, _, _, _,
        account_name, full_name, *other_names,
        rid, primary_rid, group_count, groups, user_flags,
        logon_server, domain_name, domain_pointer, account_control,
        extra_count, extra, resource_pointer, resource_count, resources,
    ) = reader.fixed(LOGON)  # fmt: skip
    _require_flags(user_flags, extra_count, resource_count)
    names = [
        reader.unicode_text(each) for each in (account_name, full_name, *other_names)
    ]
    memberships = _memberships(reader, ArrayHeader(group_count, groups != 0))
    server_text = reader.unicode_text(logon_server)
    domain_text = reader.unicode_text(domain_name)
    domain = reader.sid() if domain_pointer else None
    extra_groups = _sids_and_attributes(reader, ArrayHeader(extra_count, extra != 0))
    elsewhere = reader.sid() if resource_pointer else None
    resource_groups = _memberships(reader, ArrayHeader(resource_count, resources != 0))
    reader.finish()
    account = _Account(rid, primary_rid, domain, memberships, extra_groups)
    user_sid, primary, own = _identify(account)
    return LogonInfo(
        user_sid=user_sid,
        groups=own,
        resource_groups=tuple(_domain_groups(elsewhere, resource_groups)),
        domain_sid=domain,
        primary_group=primary,
        account_name=names[0],
        full_name=names[1],
        domain_name=domain_text,
        logon_server=server_text,
        user_flags=_flags(user_flags & _KEPT_FLAGS),
        account_control=account_control,
        logon_time=logon_time,
        logoff_time=logoff_time,
        kick_off_time=kick_off_time,
    )


def _require_flags(user_flags: int, extra_count: int, resource_count: int) -> None:
    """Refuse SIDs that the flags deny: left out, entries that deny would miss them."""
    if extra_count and not user_flags & _EXTRA_SIDS:
        raise InvalidPacError("extra sids are there and the flags say there are none")
    if resource_count and not user_flags & _RESOURCE_GROUPS:
        raise InvalidPacError("resource groups are there and the flags deny it")


@cache
def _flags(bits: int) -> UserFlags:
    """Return flags of their number, of the few that have a name.

    Others, an enumeration would keep for good, as many as somebody sends.
    """
    return UserFlags(bits)


# --- PAC_DEVICE_INFO ----------------------------------------------------------------


def read_device_info(binary: bytes) -> DeviceInfo:
    """Read a serialized PAC_DEVICE_INFO ([MS-PAC] 2.12).

    Raises:
        InvalidPacError: it contradicts itself, or names no account.
        InvalidSidError: it holds a SID that is none.
    """
    reader = NdrReader.of_pointer(binary)
    rid, primary_rid = reader.u32(), reader.u32()
    has_domain = reader.pointer()
    groups, extra_sids, domains = (reader.array_header() for _ in range(3))
    domain = reader.sid() if has_domain else None
    memberships = _memberships(reader, groups)
    extra = _sids_and_attributes(reader, extra_sids)
    elsewhere = _groups_by_domain(reader, domains)
    reader.finish()
    account = _Account(rid, primary_rid, domain, memberships, extra)
    device_sid, _, own = _identify(account)
    return DeviceInfo(device_sid, (*own, *elsewhere))


def _groups_by_domain(reader: NdrReader, header: ArrayHeader) -> list[TokenGroup]:
    """Read deferred DOMAIN_GROUP_MEMBERSHIPs ([MS-PAC] 2.2.3)."""
    heads = [
        (reader.pointer(), reader.array_header())
        for _ in reader.array(header, size=_DOMAIN_GROUPS_SIZE)
    ]
    groups: list[TokenGroup] = []
    for has_domain, rids in heads:
        domain = reader.sid() if has_domain else None
        groups += _domain_groups(domain, _memberships(reader, rids))
    return groups


# --- parts that they share ----------------------------------------------------------


def _memberships(reader: NdrReader, header: ArrayHeader) -> list[bytes]:
    """Read deferred GROUP_MEMBERSHIPs ([MS-PAC] 2.2.2): RIDs with attributes."""
    return [each for (each,) in reader.elements(header, _MEMBERSHIP)]


def _sids_and_attributes(reader: NdrReader, header: ArrayHeader) -> list[TokenGroup]:
    """Read deferred KERB_SID_AND_ATTRIBUTES ([MS-PAC] 2.2.1)."""
    groups: list[TokenGroup] = []
    for pointer, attributes in reader.elements(header, _SID_HEAD):
        if pointer == _NOTHING:
            raise InvalidPacError("an extra sid is announced and none follows")
        groups.append(_group(reader.sid() + attributes))
    return groups


def _domain_groups(domain: Sid | None, memberships: list[bytes]) -> list[TokenGroup]:
    if not memberships:
        return []
    if domain is None:
        raise InvalidPacError("groups are there and their domain is not")
    begins = domain.with_rid(0)[:-_LONG_SIZE]
    return [_group(begins + membership) for membership in memberships]


def _group(said: bytes) -> TokenGroup:
    """Make a group of the bytes of its SID, followed by those of its attributes."""
    known = _known_groups.get(said)
    if known is None:
        sid, attributes = Sid(said[:-_LONG_SIZE]), said[-_LONG_SIZE:]
        known = ticket_group(sid, int.from_bytes(attributes, "little"))
        _known_groups.offer(said, known)
    return known


def _identify(account: _Account) -> tuple[Sid, Sid | None, tuple[TokenGroup, ...]]:
    """Return an account's SID, its primary group, and its groups, that one among them.

    An account with RID 0 is of no domain, and the first extra SID is its own.
    """
    domain, primary = account.domain, None
    groups = _domain_groups(domain, account.memberships)
    if domain is not None and account.primary_rid:
        primary = domain.with_rid(account.primary_rid)
        if all(group.sid != primary for group in groups):
            groups.insert(0, TokenGroup(primary))
    if account.rid:
        if domain is None:
            raise InvalidPacError("an account is there and its domain is not")
        user_sid = domain.with_rid(account.rid)
        return user_sid, primary, (*groups, *account.extra_groups)
    if not account.extra_groups:
        raise InvalidPacError("there is no account")
    first, *others = account.extra_groups
    return first.sid, primary, (*groups, *others)
