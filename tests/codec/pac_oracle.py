"""Who a PAC says that its client is, as impacket reads it: an oracle for our reading.

It reads no bit of what we refuse: it believes lengths, counts and kinds. Where it reads
another thing than stands there, this says what does: it prints the last byte alone of a
SID's authority, so that is taken from the bytes; attributes keep the bits that
[MS-PAC] 2.2.1 knows; the primary group, which need not stand among the groups, is one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from impacket.dcerpc.v5.rpcrt import TypeSerialization1
from impacket.krb5 import pac as library

_LOGON_INFO = 1
_EXTRA_SIDS = 0x20
_RESOURCE_GROUPS = 0x200
_KNOWN_BITS = 0x2000001F


class Said(NamedTuple):
    """What is compared; SIDs as text, attributes by SID."""

    user: str
    primary_group: str
    groups: dict[str, int]
    resource_groups: dict[str, int]
    account_name: str


def read(binary: bytes) -> Said:
    """Read one; raises whatever impacket does of what it cannot read."""
    info = _logon_info(binary)
    domain = _sid(info["LogonDomainId"])
    primary = f"{domain}-{info['PrimaryGroupId']}"
    groups = _members(domain, info["GroupIds"])
    if info["UserFlags"] & _EXTRA_SIDS:
        groups |= {_sid(e["Sid"]): e["Attributes"] for e in info["ExtraSids"] or ()}
    resources: dict[str, int] = {}
    if info["UserFlags"] & _RESOURCE_GROUPS and info["ResourceGroupIds"]:
        where = _sid(info["ResourceGroupDomainSid"])
        resources = _members(where, info["ResourceGroupIds"])
    groups.setdefault(primary, 7)
    return Said(
        user=f"{domain}-{info['UserId']}",
        primary_group=primary,
        groups={sid: bits & _KNOWN_BITS for sid, bits in groups.items()},
        resource_groups={sid: bits & _KNOWN_BITS for sid, bits in resources.items()},
        account_name=info["EffectiveName"],
    )


def _logon_info(binary: bytes) -> Any:
    whole = library.PACTYPE(binary)
    table = whole["Buffers"]
    for _ in range(whole["cBuffers"]):
        entry = library.PAC_INFO_BUFFER(table)
        table = table[len(entry) :]
        if entry["ulType"] == _LOGON_INFO:
            start = entry["Offset"]
            data = binary[start : start + entry["cbBufferSize"]]
            body = data[len(TypeSerialization1(data)) + 4 :]
            info = library.KERB_VALIDATION_INFO()
            info.fromString(body)
            info.fromStringReferents(body[len(info.getData()) :])
            return info
    raise LookupError("no logon information")


def _members(domain: str, rows: Any) -> dict[str, int]:
    return {f"{domain}-{row['RelativeId']}": row["Attributes"] for row in rows or ()}


def _sid(said: Any) -> str:
    authority = int.from_bytes(bytes(said["IdentifierAuthority"]), "big")
    spelled = authority if authority < 1 << 32 else f"0x{authority:x}"
    return f"S-1-{spelled}-" + "-".join(str(n) for n in said["SubAuthority"])
