"""A PAC's buffers in NDR: logon, device, delegation ([MS-PAC] 2.5, 2.9, 2.12).

Each is one pointer to one structure. A structure's fixed part is read first, then what
its pointers point at, in the order of the pointers.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from stead.codec.ndr import ArrayHeader, NdrReader, UnicodeHeader, unicode_header
from stead.errors import InvalidPacError
from stead.model.pac import DelegationInfo, DeviceInfo, LogonInfo, UserFlags
from stead.model.pac_sids import ticket_group
from stead.model.sid import Sid
from stead.model.token import TokenGroup

_GROUP: Final = struct.Struct("<4sI")
_RID_SIZE: Final = 4
_NOTHING: Final = bytes(4)  # a pointer to it
_DOMAIN_GROUPS_SIZE: Final = 12
_UNICODE_SIZE: Final = 8
_LOGON: Final = struct.Struct(
    "<6Q"  # when: pairs of 32 bits, so that they are aligned as those are
    "HHI HHI HHI HHI HHI HHI"  # account, full, script, profile, home, drive
    "4x 2I 2I I"  # LogonCount and BadPasswordCount; the RIDs; groups; UserFlags
    "16x HHI HHI I"  # UserSessionKey; LogonServer, LogonDomainName, LogonDomainId
    "8x I 28x"  # Reserved1; UserAccountControl; SubAuthStatus to Reserved3
    "2I I 2I"  # ExtraSids; ResourceGroupDomainSid; resource groups
)
"""The fixed part of KERB_VALIDATION_INFO, read at once: it is most of a PAC."""


class _Account(NamedTuple):
    """What the logon and the device structure both say about an account."""

    rid: int
    primary_rid: int
    domain: Sid | None
    group_rids: list[tuple[bytes, int]]
    extra_groups: list[TokenGroup]


class _LogonHead(NamedTuple):
    """The fixed part of KERB_VALIDATION_INFO, as far as anything follows of it."""

    times: tuple[int, ...]
    names: list[UnicodeHeader]
    rid: int
    primary_rid: int
    groups: ArrayHeader
    user_flags: UserFlags
    logon_server: UnicodeHeader
    domain_name: UnicodeHeader
    has_domain: bool
    account_control: int
    extra_sids: ArrayHeader
    has_resource_domain: bool
    resource_groups: ArrayHeader


# --- KERB_VALIDATION_INFO -----------------------------------------------------------


def read_logon_info(binary: bytes) -> LogonInfo:
    """Read a serialized KERB_VALIDATION_INFO ([MS-PAC] 2.5).

    Raises:
        InvalidPacError: it contradicts itself, or names no account.
        InvalidSidError: it holds a SID that is none.
    """
    reader = _open(binary)
    head = _logon_head(reader)
    _require_flags(head)
    names = [reader.unicode_text(name) for name in head.names]
    group_rids = _rids(reader, head.groups)
    logon_server = reader.unicode_text(head.logon_server)
    domain_name = reader.unicode_text(head.domain_name)
    domain = reader.sid() if head.has_domain else None
    extra = _sids_and_attributes(reader, head.extra_sids)
    resource_domain = reader.sid() if head.has_resource_domain else None
    resource_rids = _rids(reader, head.resource_groups)
    reader.finish()
    account = _Account(head.rid, head.primary_rid, domain, group_rids, extra)
    primary = _primary_group(account)
    user_sid, groups = _identify(account, primary)
    return LogonInfo(
        user_sid=user_sid,
        groups=groups,
        resource_groups=tuple(_domain_groups(resource_domain, resource_rids)),
        domain_sid=domain,
        primary_group=primary,
        account_name=names[0],
        full_name=names[1],
        domain_name=domain_name,
        logon_server=logon_server,
        user_flags=head.user_flags,
        account_control=head.account_control,
        logon_time=head.times[0],
        logoff_time=head.times[1],
        kick_off_time=head.times[2],
    )


def _logon_head(reader: NdrReader) -> _LogonHead:
    said = reader.fixed(_LOGON)
    names = [unicode_header(*said[at : at + 3]) for at in range(6, 24, 3)]
    rid, primary_rid, group_count, groups, user_flags = said[24:29]
    server, domain_name = unicode_header(*said[29:32]), unicode_header(*said[32:35])
    domain, account_control, extra_count, extra, resource_domain = said[35:40]
    return _LogonHead(
        times=said[:3],
        names=names,
        rid=rid,
        primary_rid=primary_rid,
        groups=ArrayHeader(group_count, groups != 0),
        user_flags=UserFlags(user_flags),
        logon_server=server,
        domain_name=domain_name,
        has_domain=domain != 0,
        account_control=account_control,
        extra_sids=ArrayHeader(extra_count, extra != 0),
        has_resource_domain=resource_domain != 0,
        resource_groups=ArrayHeader(said[40], said[41] != 0),
    )


def _require_flags(head: _LogonHead) -> None:
    """Refuse SIDs that the flags deny: left out, entries that deny would miss them."""
    if head.extra_sids.length and not head.user_flags & UserFlags.EXTRA_SIDS:
        raise InvalidPacError("extra sids are there and the flags say there are none")
    if head.resource_groups.length and not head.user_flags & UserFlags.RESOURCE_GROUPS:
        raise InvalidPacError("resource groups are there and the flags deny it")


# --- PAC_DEVICE_INFO ----------------------------------------------------------------


def read_device_info(binary: bytes) -> DeviceInfo:
    """Read a serialized PAC_DEVICE_INFO ([MS-PAC] 2.12).

    Raises:
        InvalidPacError: it contradicts itself, or names no account.
        InvalidSidError: it holds a SID that is none.
    """
    reader = _open(binary)
    rid, primary_rid = reader.u32(), reader.u32()
    has_domain = reader.pointer()
    groups, extra_sids, domains = (reader.array_header() for _ in range(3))
    domain = reader.sid() if has_domain else None
    group_rids = _rids(reader, groups)
    extra = _sids_and_attributes(reader, extra_sids)
    elsewhere = _groups_by_domain(reader, domains)
    reader.finish()
    account = _Account(rid, primary_rid, domain, group_rids, extra)
    device_sid, own = _identify(account, _primary_group(account))
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
        groups += _domain_groups(domain, _rids(reader, rids))
    return groups


# --- S4U_DELEGATION_INFO ------------------------------------------------------------


def read_delegation_info(binary: bytes) -> DelegationInfo:
    """Read a serialized S4U_DELEGATION_INFO ([MS-PAC] 2.9).

    Raises:
        InvalidPacError: it contradicts itself.
    """
    reader = _open(binary)
    target_head, services = reader.unicode_header(), reader.array_header()
    target = reader.unicode_text(target_head)
    heads = [
        reader.unicode_header() for _ in reader.array(services, size=_UNICODE_SIZE)
    ]
    transited = tuple(reader.unicode_text(head) for head in heads)
    reader.finish()
    return DelegationInfo(target, transited)


# --- parts that they share ----------------------------------------------------------


def _open(binary: bytes) -> NdrReader:
    reader = NdrReader.from_serialized(binary)
    if not reader.pointer():
        raise InvalidPacError("a buffer points at nothing")
    return reader


def _rids(reader: NdrReader, header: ArrayHeader) -> list[tuple[bytes, int]]:
    """Read deferred GROUP_MEMBERSHIPs ([MS-PAC] 2.2.2): RIDs with attributes."""
    return reader.elements(header, _GROUP)


def _sids_and_attributes(reader: NdrReader, header: ArrayHeader) -> list[TokenGroup]:
    """Read deferred KERB_SID_AND_ATTRIBUTES ([MS-PAC] 2.2.1)."""
    groups: list[TokenGroup] = []
    for pointer, attributes in reader.elements(header, _GROUP):
        if pointer == _NOTHING:
            raise InvalidPacError("an extra sid is announced and none follows")
        groups.append(ticket_group(reader.sid(), attributes))
    return groups


def _domain_groups(
    domain: Sid | None, rids: list[tuple[bytes, int]]
) -> list[TokenGroup]:
    if not rids:
        return []
    if domain is None:
        raise InvalidPacError("groups are there and their domain is not")
    begins = domain.with_rid(0)[:-_RID_SIZE]
    return [ticket_group(Sid(begins + rid), bits) for rid, bits in rids]


def _identify(
    account: _Account, primary: Sid | None
) -> tuple[Sid, tuple[TokenGroup, ...]]:
    """Return an account's SID and its groups, the primary one among them.

    An account with RID 0 is of no domain, and the first extra SID is its own.
    """
    groups = _domain_groups(account.domain, account.group_rids)
    if primary is not None and all(group.sid != primary for group in groups):
        groups.insert(0, TokenGroup(primary))
    if account.rid:
        if account.domain is None:
            raise InvalidPacError("an account is there and its domain is not")
        user_sid = account.domain.with_rid(account.rid)
        return user_sid, (*groups, *account.extra_groups)
    if not account.extra_groups:
        raise InvalidPacError("there is no account")
    first, *others = account.extra_groups
    return first.sid, (*groups, *others)


def _primary_group(account: _Account) -> Sid | None:
    if account.domain is None or not account.primary_rid:
        return None
    return account.domain.with_rid(account.primary_rid)
