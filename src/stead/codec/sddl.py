"""The security descriptor definition language ([MS-DTYP] 2.5.1).

Reading follows what Windows accepts, recorded character by character, and every error
says where. Printing follows what Windows prints. What was read and printed lately is
kept, within bounds.

>>> write_sddl(read_sddl("D:(A;;0x1f01ff;;;S-1-5-32-544)"))
'D:(A;;FA;;;BA)'
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from stead.codec.ace_types import CONDITIONAL, KINDS, has_object_types, letters_of
from stead.codec.claim_binary import read_claim, write_claim
from stead.codec.claim_text import claim_to_sddl, read_claim_here
from stead.codec.condition_binary import read_condition, write_condition
from stead.codec.condition_text import condition_to_sddl, read_condition_here
from stead.codec.cursor import Cursor
from stead.codec.keeping import Kept
from stead.codec.rights_text import mask_to_sddl, read_mask_here
from stead.codec.sddl_entries import keep_head, read_plain_entries, read_plain_entry
from stead.codec.sid_aliases import sid_to_sddl
from stead.codec.sid_text import read_sid_here
from stead.errors import InvalidAclError, InvalidClaimError, InvalidConditionError
from stead.model.ace import Ace, AceFlags, ObjectAce, Place
from stead.model.acl import ACL_REVISION, Acl, NoAcl, unlooked_at_acl
from stead.model.arguments import require_text
from stead.model.guid import Guid
from stead.model.security_descriptor import (
    ControlFlags,
    SecurityDescriptor,
    checked_descriptor,
)
from stead.model.sid import Sid

_NO_ACCESS_CONTROL: Final = "NO_ACCESS_CONTROL"
# In the order in which Windows prints them.
_DACL_CONTROL: Final[dict[str, int]] = {
    "P": int(ControlFlags.DACL_PROTECTED),
    "AR": int(ControlFlags.DACL_AUTO_INHERIT_REQ),
    "AI": int(ControlFlags.DACL_AUTO_INHERITED),
}
_SACL_CONTROL: Final[dict[str, int]] = {
    "P": int(ControlFlags.SACL_PROTECTED),
    "AR": int(ControlFlags.SACL_AUTO_INHERIT_REQ),
    "AI": int(ControlFlags.SACL_AUTO_INHERITED),
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
_FLAG_BITS: Final = {name: int(bit) for name, bit in _FLAGS.items()}
# A filter audits nothing: the bit means that it protects trust (sddl.h, winnt.h).
_FILTER_FLAG_BITS: Final = {
    "TP" if name == "SA" else name: bit for name, bit in _FLAG_BITS.items()
}
_FLAG_TEXT, _FILTER_FLAG_TEXT = (
    tuple(
        "".join(name for name, bit in bits.items() if number & bit)
        for number in range(256)
    )
    for bits in (_FLAG_BITS, _FILTER_FLAG_BITS)
)
_RESOURCE_ATTRIBUTE: Final = "RA"
_ACCESS_FILTER: Final = "FL"
_PREFIX: Final = re.compile(r"[OGDS]:")
_TYPE: Final = re.compile(r"[a-z]{1,16}", re.IGNORECASE | re.ASCII)
_PAIR: Final = re.compile(r"[a-z]{2}", re.IGNORECASE | re.ASCII)
_GUID: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII
)
_KEPT_TEXT_SIZE: Final = 1024
_KEPT_TEXTS: Final = 1024
_known_texts: Final[Kept[tuple[str, Sid | None], SecurityDescriptor]] = Kept(
    _KEPT_TEXTS
)


@dataclass(slots=True)
class _Parts:
    """What has been read of a descriptor, and the domain its aliases belong to."""

    domain: Sid | None
    sids: dict[str, Sid] = field(default_factory=dict)
    lists: dict[str, Acl | NoAcl] = field(default_factory=dict)
    control: int = 0


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
    require_text("sddl", text)
    known = _known_texts.get((text, domain))
    if known is not None:
        return known
    read = _read_descriptor(text, domain)
    if len(text) <= _KEPT_TEXT_SIZE:
        _known_texts.offer((text, domain), read)
    return read


def _read_descriptor(text: str, domain: Sid | None) -> SecurityDescriptor:
    cursor, parts = Cursor(text), _Parts(domain)
    cursor.skip_spaces()
    while not cursor.at_end:
        _read_part(cursor, parts)
        cursor.skip_spaces()
    return checked_descriptor(
        parts.lists.get("D", NoAcl.ABSENT),
        (parts.sids.get("O"), parts.sids.get("G")),
        parts.lists.get("S", NoAcl.ABSENT),
        parts.control,
        0,
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
    cursor.skip_spaces()
    place = Place.DACL if part == "D" else Place.SACL
    plain = read_plain_entries(cursor, place)
    if plain is not None:
        return unlooked_at_acl(plain, plain.kinds, ACL_REVISION)
    aces: list[Ace] = []
    while cursor.text.startswith("(", cursor.position):
        aces.append(
            read_plain_entry(cursor, place) or _read_ace(cursor, place, parts.domain)
        )
        cursor.skip_spaces()
    try:
        return Acl(tuple(aces))
    except InvalidAclError as error:
        raise cursor.error(str(error), at=start) from error


def _read_control(cursor: Cursor, names: dict[str, int]) -> int:
    control = 0
    while not cursor.text.startswith("(", cursor.position):
        cursor.skip_spaces()
        name = next((name for name in names if cursor.take(name)), None)
        if name is None:
            return control
        control |= names[name]
    return control


def _read_ace(cursor: Cursor, place: Place, domain: Sid | None) -> Ace:
    """Read one ACE with its parentheses ([MS-DTYP] 2.5.1.1).

    Six fields, and a seventh for conditions and resource attributes.
    """
    cursor.take("(")
    begins = cursor.position
    letters = _read_type(cursor, place)
    kind = KINDS[letters]
    flags = _read_flags(cursor, letters)
    cursor.skip_spaces()
    mask = read_mask_here(cursor, kind.type)
    head = cursor.text[begins : cursor.position]
    cursor.expect(";", "expected `;` after the rights")
    guids = {
        name: guid
        for name in ("object_type", "inherited_object_type")
        if (guid := _read_guid(cursor, letters, name)) is not None
    }
    cursor.skip_spaces()
    trustee = _read_trustee(cursor, domain)
    data = _read_data(cursor, letters, domain)
    start = cursor.position
    cursor.expect(")", "expected `)` after the last field")
    try:
        ace = kind(trustee, mask, flags, data, **guids)
    except InvalidAclError as error:
        raise cursor.error(str(error), at=start) from error
    keep_head(head, place, ace)
    return ace


def _read_type(cursor: Cursor, place: Place) -> str:
    cursor.skip_spaces()
    start = cursor.position
    found = cursor.match(_TYPE)
    if found is None:
        raise cursor.error("expected a type of ace")
    letters = found[0].upper()
    kind = KINDS.get(letters)
    if kind is None:
        raise cursor.error(f"`{letters}` is no type of ace", at=start)
    if kind.place is not place:
        raise cursor.error(f"aces of type `{letters}` have no place here", at=start)
    cursor.expect(";", "expected `;` after the type")
    return letters


def _read_flags(cursor: Cursor, letters: str) -> AceFlags:
    names = _FLAG_BITS
    if letters == _ACCESS_FILTER:
        names = {**_FLAG_BITS, **_FILTER_FLAG_BITS}
    flags = 0
    cursor.skip_spaces()
    while not cursor.take(";"):
        start = cursor.position
        found = cursor.match(_PAIR)
        flag = None if found is None else names.get(found[0].upper())
        if flag is None:
            raise cursor.error("expected a flag or `;`", at=start)
        flags |= flag
    return AceFlags(flags)


def _read_guid(cursor: Cursor, letters: str, name: str) -> Guid | None:
    """Read one of the two fields for object types, with its semicolon."""
    cursor.skip_spaces()
    if cursor.take(";"):
        return None
    named = name.replace("_", " ")
    if not has_object_types(KINDS[letters]):
        raise cursor.error(f"an ace of type `{letters}` has no {named}")
    found = cursor.match(_GUID)
    if found is None:
        raise cursor.error(f"expected a guid, the {named}, or `;`")
    cursor.expect(";", f"expected `;` after the {named}")
    return Guid.from_string(found[0])


def _read_trustee(cursor: Cursor, domain: Sid | None) -> Sid:
    """Read whom an ace is about. Spaces may follow an alias, and no SID in numbers."""
    is_alias = not cursor.text.startswith(("S-", "s-"), cursor.position)
    trustee = read_sid_here(cursor, domain)
    if is_alias:
        cursor.skip_spaces()
    return trustee


def _read_data(cursor: Cursor, letters: str, domain: Sid | None) -> bytes:
    """Read the seventh field, if entries of this kind have one."""
    if letters not in CONDITIONAL and letters != _RESOURCE_ATTRIBUTE:
        return b""
    cursor.expect(";", f"an ace of type `{letters}` goes on after its trustee")
    cursor.skip_spaces()
    start = cursor.position
    try:
        if letters == _RESOURCE_ATTRIBUTE:
            return write_claim(read_claim_here(cursor, domain))
        return write_condition(read_condition_here(cursor, domain))
    except (InvalidClaimError, InvalidConditionError) as error:
        raise cursor.error(str(error), at=start) from error


# --- printing ---------------------------------------------------------------------


def write_sddl(sd: SecurityDescriptor, *, domain: Sid | None = None) -> str:
    """Print a descriptor as Windows does: owner, group, DACL, SACL.

    Args:
        sd: the descriptor. SDDL has no words for the DEFAULTED bits, the resource
            manager's byte or an ACL's revision.
        domain: the domain whose RIDs are printed as aliases; None for none.
    """
    kept = sd.kept_sddl
    if kept is not None and kept[0] == domain:
        return kept[1]
    text = _write_descriptor(sd, domain)
    object.__setattr__(sd, "kept_sddl", (domain, text))
    return text


def spelled(sd: SecurityDescriptor) -> str:
    """Spell a descriptor for a record: SDDL, or its bytes in hexadecimal.

    Some entries have no SDDL; what was done to them must be written down all the same.
    """
    try:
        return write_sddl(sd)
    except (InvalidAclError, InvalidClaimError, InvalidConditionError):
        return sd.to_bytes().hex()


def _write_descriptor(sd: SecurityDescriptor, domain: Sid | None) -> str:
    parts = []
    if sd.owner is not None:
        parts.append(f"O:{sid_to_sddl(sd.owner, domain=domain)}")
    if sd.group is not None:
        parts.append(f"G:{sid_to_sddl(sd.group, domain=domain)}")
    control = int(sd.control)
    for letter, acl, names in (
        ("D", sd.dacl, _DACL_CONTROL),
        ("S", sd.sacl, _SACL_CONTROL),
    ):
        if acl is not NoAcl.ABSENT:
            words = "".join([name for name, bit in names.items() if control & bit])
            parts.append(f"{letter}:{words}{_list_to_sddl(acl, domain)}")
    return "".join(parts)


def _list_to_sddl(acl: Acl | NoAcl, domain: Sid | None) -> str:
    if isinstance(acl, NoAcl):
        return _NO_ACCESS_CONTROL
    return "".join([ace_to_sddl(ace, domain=domain) for ace in acl.aces])


def ace_to_sddl(ace: Ace, *, domain: Sid | None = None) -> str:
    """Print one ACE with its parentheses, as Windows does.

    Args:
        ace: the entry.
        domain: the domain whose RIDs are printed as aliases; None for none.

    Raises:
        InvalidAclError: SDDL has no letters for its kind.
        InvalidConditionError: its data is no condition, where SDDL has room for one.
        InvalidClaimError: its data is no resource attribute.
    """
    letters = letters_of(ace)
    if letters is None:
        raise InvalidAclError(f"sddl has no words for an ace of type {ace.number:#04x}")
    texts = _FILTER_FLAG_TEXT if letters == _ACCESS_FILTER else _FLAG_TEXT
    flags = texts[int(ace.flags)]
    mask = mask_to_sddl(int(ace.mask), ace.type)
    guids = _guids_to_sddl(ace) if isinstance(ace, ObjectAce) else ";"
    trustee = sid_to_sddl(ace.trustee, domain=domain)
    data = _data_to_sddl(ace, letters, domain)
    return f"({letters};{flags};{mask};{guids};{trustee}{data})"


def _guids_to_sddl(ace: ObjectAce) -> str:
    return f"{ace.object_type or ''!s};{ace.inherited_object_type or ''!s}"


def _data_to_sddl(ace: Ace, letters: str, domain: Sid | None) -> str:
    if letters in CONDITIONAL:
        condition = read_condition(ace.application_data)
        return f";{condition_to_sddl(condition, domain=domain)}"
    if letters == _RESOURCE_ATTRIBUTE:
        return f";{claim_to_sddl(read_claim(ace.application_data), domain=domain)}"
    return ""
