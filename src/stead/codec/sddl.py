"""The security descriptor definition language ([MS-DTYP] 2.5.1).

Reading follows what Windows accepts, recorded character by character, and every error
says where. Printing follows what Windows prints. The kinds of ACE that Stead does not
judge are refused by name, never dropped.

>>> write_sddl(read_sddl("D:(A;;0x1f01ff;;;S-1-5-32-544)"))
'D:(A;;FA;;;BA)'
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from stead.codec.ace_types import LETTERS, SUPPORTED, name_letters
from stead.codec.cursor import Cursor
from stead.codec.rights_text import mask_to_sddl, read_mask_here
from stead.codec.sid_aliases import sid_to_sddl
from stead.codec.sid_text import read_sid_here
from stead.errors import InvalidAclError
from stead.model.ace import ACE_CLASSES, Ace, AceFlags, AceType
from stead.model.acl import Acl, NoAcl
from stead.model.security_descriptor import (
    DACL_KINDS,
    SACL_KINDS,
    ControlFlags,
    SecurityDescriptor,
)
from stead.model.sid import Sid

_NO_ACCESS_CONTROL: Final = "NO_ACCESS_CONTROL"
# In the order in which Windows prints them.
_DACL_CONTROL: Final[dict[str, ControlFlags]] = {
    "P": ControlFlags.DACL_PROTECTED,
    "AR": ControlFlags.DACL_AUTO_INHERIT_REQ,
    "AI": ControlFlags.DACL_AUTO_INHERITED,
}
_SACL_CONTROL: Final[dict[str, ControlFlags]] = {
    "P": ControlFlags.SACL_PROTECTED,
    "AR": ControlFlags.SACL_AUTO_INHERIT_REQ,
    "AI": ControlFlags.SACL_AUTO_INHERITED,
}
_FLAGS: Final[dict[str, AceFlags]] = {
    "OI": AceFlags.OBJECT_INHERIT,
    "CI": AceFlags.CONTAINER_INHERIT,
    "NP": AceFlags.NO_PROPAGATE_INHERIT,
    "IO": AceFlags.INHERIT_ONLY,
    "ID": AceFlags.INHERITED,
    "CR": AceFlags.CRITICAL,
    "SA": AceFlags.SUCCESSFUL_ACCESS,
    "FA": AceFlags.FAILED_ACCESS,
}
_PREFIX: Final = re.compile(r"[OGDS]:")
_TYPE: Final = re.compile(r"[a-z]{1,16}", re.IGNORECASE | re.ASCII)
_PAIR: Final = re.compile(r"[a-z]{2}", re.IGNORECASE | re.ASCII)


@dataclass(slots=True)
class _Parts:
    """What has been read of a descriptor, and the domain its aliases belong to."""

    domain: Sid | None
    sids: dict[str, Sid] = field(default_factory=dict)
    lists: dict[str, Acl | NoAcl] = field(default_factory=dict)
    control: ControlFlags = ControlFlags.NONE


# --- reading ----------------------------------------------------------------------


def read_sddl(text: str, *, domain: Sid | None = None) -> SecurityDescriptor:
    """Read a descriptor.

    Args:
        text: owner `O:`, group `G:`, lists `D:` and `S:`, each at most once, in any
            order; what is not there is absent.
        domain: the domain that aliases such as `DA` are relative to.

    Raises:
        InvalidSddlError: the text is wrong; it says where and why.
    """
    cursor, parts = Cursor(text), _Parts(domain)
    cursor.skip_spaces()
    while not cursor.at_end:
        _read_part(cursor, parts)
        cursor.skip_spaces()
    return SecurityDescriptor(
        owner=parts.sids.get("O"),
        group=parts.sids.get("G"),
        dacl=parts.lists.get("D", NoAcl.ABSENT),
        sacl=parts.lists.get("S", NoAcl.ABSENT),
        control=parts.control,
    )


def _read_part(cursor: Cursor, parts: _Parts) -> None:
    start = cursor.position
    found = cursor.match(_PREFIX)
    if found is None:
        raise cursor.error("expected `O:`, `G:`, `D:` or `S:`")
    part = found[0][0]
    if part in parts.sids or part in parts.lists:
        raise cursor.error(f"`{part}:` stands here a second time", at=start)
    if part in "OG":
        parts.sids[part] = read_sid_here(cursor, parts.domain)
    else:
        parts.lists[part] = _read_list(cursor, parts, part)


def _read_list(cursor: Cursor, parts: _Parts, part: str) -> Acl | NoAcl:
    start = cursor.position
    parts.control |= _read_control(
        cursor, _DACL_CONTROL if part == "D" else _SACL_CONTROL
    )
    if cursor.take(_NO_ACCESS_CONTROL):
        return NoAcl.NULL
    aces: list[Ace] = []
    cursor.skip_spaces()
    while cursor.take("("):
        aces.append(_read_ace(cursor, part, parts.domain))
        cursor.skip_spaces()
    try:
        return Acl(tuple(aces))
    except InvalidAclError as error:
        raise cursor.error(str(error), at=start) from error


def _read_control(cursor: Cursor, names: dict[str, ControlFlags]) -> ControlFlags:
    control = ControlFlags.NONE
    while True:
        cursor.skip_spaces()
        name = next((name for name in names if cursor.take(name)), None)
        if name is None:
            return control
        control |= names[name]


def _read_ace(cursor: Cursor, part: str, domain: Sid | None) -> Ace:
    """Read one ACE after its opening parenthesis: six fields ([MS-DTYP] 2.5.1.1)."""
    kind = _read_type(cursor, part)
    flags = _read_flags(cursor)
    cursor.skip_spaces()
    mask = read_mask_here(cursor, kind)
    cursor.expect(";", "expected `;` after the rights")
    for _guid in ("object type", "inherited object type"):
        cursor.skip_spaces()
        cursor.expect(";", f"an ace of type `{LETTERS[kind]}` has no {_guid}")
    cursor.skip_spaces()
    trustee = read_sid_here(cursor, domain)
    cursor.expect(")", "expected `)` after the trustee")
    return ACE_CLASSES[kind](trustee, mask, flags)


def _read_type(cursor: Cursor, part: str) -> AceType:
    cursor.skip_spaces()
    start = cursor.position
    found = cursor.match(_TYPE)
    if found is None:
        raise cursor.error("expected a type of ace")
    letters = found[0].upper()
    kind = SUPPORTED.get(letters)
    if kind is None:
        raise cursor.error(name_letters(letters), at=start)
    if ACE_CLASSES[kind] not in (DACL_KINDS if part == "D" else SACL_KINDS):
        raise cursor.error(f"aces of type `{letters}` have no place here", at=start)
    cursor.expect(";", "expected `;` after the type")
    return kind


def _read_flags(cursor: Cursor) -> AceFlags:
    flags = AceFlags.NONE
    cursor.skip_spaces()
    while not cursor.take(";"):
        start = cursor.position
        found = cursor.match(_PAIR)
        flag = None if found is None else _FLAGS.get(found[0].upper())
        if flag is None:
            raise cursor.error("expected a flag or `;`", at=start)
        flags |= flag
    return flags


# --- printing ---------------------------------------------------------------------


def write_sddl(sd: SecurityDescriptor, *, domain: Sid | None = None) -> str:
    """Print a descriptor as Windows does: owner, group, DACL, SACL.

    Args:
        sd: the descriptor. SDDL has no words for the DEFAULTED bits, the resource
            manager's byte or an ACL's revision.
        domain: the domain whose RIDs are printed as aliases; None for none.
    """
    parts = []
    if sd.owner is not None:
        parts.append(f"O:{sid_to_sddl(sd.owner, domain=domain)}")
    if sd.group is not None:
        parts.append(f"G:{sid_to_sddl(sd.group, domain=domain)}")
    for letter, acl, names in (
        ("D", sd.dacl, _DACL_CONTROL),
        ("S", sd.sacl, _SACL_CONTROL),
    ):
        if acl is not NoAcl.ABSENT:
            control = "".join(n for n, bit in names.items() if sd.control & bit)
            parts.append(f"{letter}:{control}{_list_to_sddl(acl, domain)}")
    return "".join(parts)


def _list_to_sddl(acl: Acl | NoAcl, domain: Sid | None) -> str:
    if isinstance(acl, NoAcl):
        return _NO_ACCESS_CONTROL
    return "".join(ace_to_sddl(ace, domain=domain) for ace in acl)


def ace_to_sddl(ace: Ace, *, domain: Sid | None = None) -> str:
    """Print one ACE with its parentheses, as Windows does.

    Args:
        ace: the entry.
        domain: the domain whose RIDs are printed as aliases; None for none.
    """
    flags = "".join(name for name, bit in _FLAGS.items() if ace.flags & bit)
    mask = mask_to_sddl(ace.mask, ace.type)
    trustee = sid_to_sddl(ace.trustee, domain=domain)
    return f"({LETTERS[ace.type]};{flags};{mask};;;{trustee})"
