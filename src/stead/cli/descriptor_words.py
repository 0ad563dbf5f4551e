"""Security descriptors in words and as plain data: what `stead sddl` prints.

It is a value's words, and no answer to who may do what: `stead check` and `stead judge`
give that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stead.cli.right_names import RightsKind, spell_rights
from stead.codec.claim_binary import read_claim
from stead.codec.claim_text import claim_to_sddl
from stead.codec.condition_binary import read_condition
from stead.codec.condition_text import condition_to_sddl
from stead.codec.sid_aliases import sid_to_sddl
from stead.decision.ace_order import is_canonical
from stead.errors import InvalidClaimError, InvalidConditionError, SteadError
from stead.model.access_mask import format_mask, name_rights
from stead.model.ace import (
    AccessFilterAce,
    Ace,
    AceFlags,
    MandatoryLabelAce,
    MandatoryLabelPolicy,
    ObjectAce,
    OpaqueAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
)
from stead.model.ace_kinds import ALLOW_KINDS, AUDIT_KINDS, CALLBACK_KINDS, DENY_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import NAMES

_POLICIES: Final = {str(one.name): int(one) for one in MandatoryLabelPolicy}


# --- in words -------------------------------------------------------------------------


def lines_of(
    sd: SecurityDescriptor, kind: RightsKind, domain: Sid | None
) -> Iterator[str]:
    """Yield a descriptor as lines, entry by entry."""
    yield f"owner    {_somebody(sd.owner, domain)}"
    yield f"group    {_somebody(sd.group, domain)}"
    yield f"control  {' '.join(_flag_names(sd.control)) or 'none'}"
    if sd.control & ControlFlags.RM_CONTROL_VALID:
        yield f"resource manager's byte  {sd.resource_manager_control:#04x}"
    yield f"DACL     {_dacl_state(sd.dacl)}"
    yield from _entries(sd.dacl, kind, domain)
    yield f"SACL     {_sacl_state(sd.sacl)}"
    yield from _entries(sd.sacl, kind, domain)


def _dacl_state(dacl: Acl | NoAcl) -> str:
    if dacl is NoAcl.NULL:
        return "NULL: everybody may do everything"
    if isinstance(dacl, NoAcl):
        return "absent: everybody may do everything, unless one is inherited"
    if not dacl.aces:
        return "empty: nobody may do anything but what owners may"
    order = "in" if is_canonical(dacl) else "not in"
    return f"{_counted(dacl)}, {order} the preferred order"


def _sacl_state(sacl: Acl | NoAcl) -> str:
    return sacl.value if isinstance(sacl, NoAcl) else _counted(sacl)


def _counted(acl: Acl) -> str:
    return f"{len(acl)} {'entry' if len(acl) == 1 else 'entries'}"


def _entries(acl: Acl | NoAcl, kind: RightsKind, domain: Sid | None) -> Iterator[str]:
    if isinstance(acl, Acl):
        for position, ace in enumerate(acl, 1):
            yield f"  {position}. {ace_in_words(ace, kind, domain)}"


def ace_in_words(ace: Ace, kind: RightsKind, domain: Sid | None = None) -> str:
    """Say one entry in one line."""
    if isinstance(ace, OpaqueAce):
        what = f"of unknown type {ace.number:#04x}, {ace.size} bytes"
        return f"{what}: refuses whatever it could have refused"
    said = f"{_act(ace)} {_somebody(ace.trustee, domain)}"
    rights = _rights(ace, kind)
    parts = [f"{said}: {rights}" if rights else said, *_about(ace)]
    parts += [_data(ace, domain), *_flag_words(ace.flags)]
    return ", ".join(part for part in parts if part)


def _act(ace: Ace) -> str:
    named = {
        MandatoryLabelAce: "label",
        ResourceAttributeAce: "attribute for",
        ScopedPolicyIdAce: "central access policy",
        ProcessTrustLabelAce: "process trust label",
        AccessFilterAce: "filter for",
    }
    if type(ace) in ALLOW_KINDS:
        return "allow"
    if type(ace) in DENY_KINDS:
        return "deny"
    return named.get(type(ace), "") or _recording(ace)


def _recording(ace: Ace) -> str:
    act = "audit" if type(ace) in AUDIT_KINDS else "alarm"
    outcomes = {
        "success": AceFlags.SUCCESSFUL_ACCESS,
        "failure": AceFlags.FAILED_ACCESS,
    }
    asked = [name for name, flag in outcomes.items() if ace.flags & flag]
    return f"{act} {' and '.join(asked) or 'nothing'} of"


def _rights(ace: Ace, kind: RightsKind) -> str:
    if isinstance(ace, MandatoryLabelAce):
        return name_rights(ace.mask, _POLICIES)
    if isinstance(ace, ResourceAttributeAce | ScopedPolicyIdAce) and not ace.mask:
        return ""
    rights = spell_rights(ace.mask, kind)
    if isinstance(ace, ProcessTrustLabelAce | AccessFilterAce):
        return f"leaves others {rights}"
    return rights


def _about(ace: Ace) -> Iterator[str]:
    if isinstance(ace, ObjectAce):
        if ace.object_type is not None:
            yield f"on {ace.object_type}"
        if ace.inherited_object_type is not None:
            yield f"inherited by {ace.inherited_object_type}"


def _data(ace: Ace, domain: Sid | None) -> str:
    data = data_of(ace, domain)
    if "condition" in data:
        return f"if {data['condition']}"
    if "attribute" in data:
        return str(data["attribute"])
    if "data" not in data:
        return ""
    size = len(ace.application_data)
    if ace.is_conditional:
        return f"if a condition that cannot be read ({size} bytes)"
    if type(ace) in CALLBACK_KINDS:
        return f"if the application says so ({size} bytes)"
    return f"with {size} bytes of data"


def _flag_words(flags: AceFlags) -> Iterator[str]:
    heirs = {
        "objects": AceFlags.OBJECT_INHERIT,
        "containers": AceFlags.CONTAINER_INHERIT,
    }
    below = " and ".join(name for name, flag in heirs.items() if flags & flag)
    only = bool(flags & AceFlags.INHERIT_ONLY)
    if below:
        depth = " one level" if flags & AceFlags.NO_PROPAGATE_INHERIT else ""
        yield f"{'only' if only else 'also'} on {below}{depth} below"
    elif only:
        yield "on nothing"
    if flags & AceFlags.INHERITED:
        yield "inherited"
    if flags & AceFlags.CRITICAL:
        yield "critical"


def _somebody(sid: Sid | None, domain: Sid | None) -> str:
    if sid is None:
        return "nobody"
    name = name_of(sid, domain)
    return f"{name} ({sid})" if name else str(sid)


def name_of(sid: Sid, domain: Sid | None) -> str:
    """Return the name that is the same everywhere, or SDDL's alias, or nothing."""
    known = NAMES.get(sid)
    if known is None:
        alias = sid_to_sddl(sid, domain=domain)
        return "" if alias == str(sid) else alias
    return known


def in_order(sd: SecurityDescriptor) -> bool:
    """Tell whether a DACL is in the preferred order; what is no list is."""
    return isinstance(sd.dacl, NoAcl) or is_canonical(sd.dacl)


# --- as data --------------------------------------------------------------------------


def data_of_descriptor(
    sd: SecurityDescriptor, kind: RightsKind, domain: Sid | None
) -> dict[str, Any]:
    """Return a descriptor as plain data, for JSON."""
    try:
        text: str | None = sd.to_sddl(domain=domain)
    except SteadError:
        text = None  # it has an entry that SDDL has no words for
    return {
        "sddl": text,
        "owner": None if sd.owner is None else str(sd.owner),
        "group": None if sd.group is None else str(sd.group),
        "control": _flag_names(sd.control),
        "resource_manager_control": sd.resource_manager_control,
        "is_canonical": in_order(sd),
        "dacl": _list_data(sd.dacl, kind, domain),
        "sacl": _list_data(sd.sacl, kind, domain),
    }


def _list_data(acl: Acl | NoAcl, kind: RightsKind, domain: Sid | None) -> Any:
    """Return a list's entries, or which of the two states that are none."""
    if isinstance(acl, NoAcl):
        return acl.value
    return [_ace_data(ace, kind, domain) for ace in acl]


def _ace_data(ace: Ace, kind: RightsKind, domain: Sid | None) -> dict[str, Any]:
    data: dict[str, Any] = {"words": ace_in_words(ace, kind, domain)}
    if isinstance(ace, OpaqueAce):
        return data | {"type": ace.number, "body": ace.body.hex()}
    data |= {
        "type": ace.type.name,
        "flags": _flag_names(ace.flags),
        "mask": format_mask(ace.mask),
        "rights": _rights(ace, kind),
        "trustee": str(ace.trustee),
        "name": name_of(ace.trustee, domain),
    }
    if isinstance(ace, ObjectAce):
        types = (ace.object_type, ace.inherited_object_type)
        data["object_type"], data["inherited_object_type"] = (
            None if guid is None else str(guid) for guid in types
        )
    return data | data_of(ace, domain)


def data_of(ace: Ace, domain: Sid | None) -> dict[str, str]:
    """Return what follows an entry's trustee: a condition, an attribute, or bytes."""
    binary = ace.application_data
    try:
        if ace.is_conditional:
            condition = read_condition(binary)
            return {"condition": condition_to_sddl(condition, domain=domain)}
        if isinstance(ace, ResourceAttributeAce):
            return {"attribute": claim_to_sddl(read_claim(binary), domain=domain)}
    except (InvalidConditionError, InvalidClaimError):
        pass  # shown as the bytes that they are
    return {"data": binary.hex()} if binary else {}


def _flag_names(flags: AceFlags | ControlFlags) -> list[str]:
    return [str(flag.name) for flag in type(flags) if flags & flag]
