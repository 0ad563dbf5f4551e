"""Answer the conformance protocol: JSON lines in, JSON lines out.

It only translates. Everything is decided by Stead's public functions; an operation that
the protocol does not have is answered with `UNSUPPORTED`, never with a guess.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from stead.codec.condition_text import condition_to_sddl, read_condition_text
from stead.codec.pac import read_pac
from stead.codec.sid_text import read_sid
from stead.decision.access_check import access_check
from stead.decision.auto_inherit_flags import AutoInheritFlags
from stead.decision.callbacks import condition_context
from stead.decision.conditional import evaluate
from stead.decision.new_object import create_object_descriptor
from stead.decision.restricting import restrict_token, split_token
from stead.decision.token_ops import adjust_groups, adjust_privileges, duplicate_token
from stead.errors import InvalidSddlError, SteadError
from stead.model.access_mask import FILE_MAPPING, GenericMapping
from stead.model.acl import ABSENT_DACL
from stead.model.claim import Claim, ClaimFlags, ClaimType, ClaimValue
from stead.model.decision import Intent, ObjectType
from stead.model.guid import Guid
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    MandatoryPolicy,
    TokenGroup,
    TokenType,
)
from stead.model.well_known import MEDIUM_LEVEL, NULL_SID
from stead.model.well_known_types import well_known_sid

Message = dict[str, Any]

# --- descriptors and SIDs -----------------------------------------------------------


def domain_of(message: Message) -> Sid | None:
    text = message.get("domain_sid")
    return Sid.from_string(text) if text else None


def sddl2bin(message: Message) -> Message:
    read = SecurityDescriptor.from_sddl(message["sddl"], domain=domain_of(message))
    return {"hex": read.to_bytes().hex()}


def bin2sddl(message: Message) -> Message:
    read = SecurityDescriptor.from_bytes(bytes.fromhex(message["hex"]))
    return {"sddl": read.to_sddl(domain=domain_of(message))}


def sddl2sddl(message: Message) -> Message:
    domain = domain_of(message)
    read = SecurityDescriptor.from_sddl(message["sddl"], domain=domain)
    return {"sddl": read.to_sddl(domain=domain)}


def repack(message: Message) -> Message:
    read = SecurityDescriptor.from_bytes(bytes.fromhex(message["hex"]))
    return {"hex": read.to_bytes().hex()}


def sid(message: Message) -> Message:
    return {"sid": str(read_sid(message["sid"], domain=domain_of(message)))}


def sid2bin(message: Message) -> Message:
    read = read_sid(message["sid"], domain=domain_of(message))
    return {"hex": read.to_bytes().hex()}


def bin2sid(message: Message) -> Message:
    return {"sid": str(Sid.from_bytes(bytes.fromhex(message["hex"])))}


def well_known(message: Message) -> Message:
    return {"sid": str(well_known_sid(message["type"], domain=domain_of(message)))}


# --- tokens -------------------------------------------------------------------------


def group_from(entry: str | Message) -> TokenGroup:
    if isinstance(entry, str):
        entry = {"sid": entry}
    attributes = GroupAttributes.NONE
    for key, default, bits in (
        ("mandatory", True, GroupAttributes.MANDATORY),
        (
            "enabled",
            not entry.get("deny_only", False),
            GroupAttributes.ENABLED | GroupAttributes.ENABLED_BY_DEFAULT,
        ),
        ("deny_only", False, GroupAttributes.USE_FOR_DENY_ONLY),
        ("owner", False, GroupAttributes.OWNER),
    ):
        if entry.get(key, default):
            attributes |= bits
    return TokenGroup(read_sid(entry["sid"]), attributes)


def privilege_from(entry: str | Message) -> TokenPrivilege:
    if isinstance(entry, str):
        entry = {"name": entry}
    enabled = entry.get("enabled", True)
    return TokenPrivilege(
        Privilege(entry["name"]),
        PrivilegeAttributes.ENABLED if enabled else PrivilegeAttributes.NONE,
    )


def optional_sid(message: Message, key: str) -> Sid | None:
    text = message.get(key)
    return read_sid(text) if text else None


def policy_from(names: list[str]) -> MandatoryPolicy:
    policy = MandatoryPolicy.OFF
    for name in names:
        policy |= MandatoryPolicy[name]
    return policy


def octets(value: str) -> bytes:
    return bytes.fromhex(value)


CLAIM_TYPES: Final[dict[str, tuple[ClaimType, Callable[[Any], ClaimValue]]]] = {
    "int64": (ClaimType.INT64, int),
    "uint64": (ClaimType.UINT64, int),
    "string": (ClaimType.STRING, str),
    "sid": (ClaimType.SID, read_sid),
    "boolean": (ClaimType.BOOLEAN, bool),
    "octets": (ClaimType.OCTET_STRING, octets),
}
CLAIM_FLAGS: Final = {
    "case_sensitive": ClaimFlags.VALUE_CASE_SENSITIVE,
    "disabled": ClaimFlags.DISABLED,
    "deny_only": ClaimFlags.USE_FOR_DENY_ONLY,
}


def claim_from(entry: Message) -> Claim:
    kind = entry["type"]
    if isinstance(kind, int):
        kind = {number: name for name, (number, _) in CLAIM_TYPES.items()}[kind]
    number, convert = CLAIM_TYPES[kind]
    named = entry.get("flags") or ()
    flags = ClaimFlags(named if isinstance(named, int) else 0)
    for name in () if isinstance(named, int) else named:
        flags |= CLAIM_FLAGS[name]
    if entry.get("case_sensitive"):
        flags |= ClaimFlags.VALUE_CASE_SENSITIVE
    values = entry.get("values", ())
    if isinstance(values, dict):
        values = range(*values["range"])
    return Claim(entry["name"], number, tuple(convert(v) for v in values), flags)


def claim_to(claim: Claim) -> Message:
    names = {kind: name for name, (kind, _) in CLAIM_TYPES.items()}
    return {
        "name": claim.name,
        "type": names[claim.type],
        "values": [
            value.hex()
            if claim.type is ClaimType.OCTET_STRING and isinstance(value, bytes)
            else str(value)
            if claim.type is ClaimType.SID
            else value
            for value in claim.values
        ],
        "flags": int(claim.flags),
    }


def is_possible(entry: Message) -> bool:
    """Tell whether a token can hold a claim: no boolean is neither true nor false."""
    is_boolean = entry["type"] in {"boolean", int(ClaimType.BOOLEAN)}
    return not is_boolean or {0, 1}.issuperset(entry.get("values", ()))


def claims(message: Message, key: str) -> tuple[Claim, ...]:
    entries = message.get(key) or ()
    return tuple(claim_from(entry) for entry in entries if is_possible(entry))


def groups(message: Message, key: str) -> tuple[TokenGroup, ...]:
    return tuple(group_from(entry) for entry in message.get(key) or ())


def restricting_from(message: Message) -> tuple[Sid, ...]:
    entries = message.get("restricted") or ()
    return tuple(read_sid(e if isinstance(e, str) else e["sid"]) for e in entries)


def token_from(message: Message) -> AccessToken:
    user = optional_sid(message, "user")
    default_dacl = message.get("default_dacl")
    return AccessToken(
        user=NULL_SID if user is None else user,
        user_is_deny_only=user is None or message.get("user_deny_only", False),
        groups=groups(message, "groups"),
        privileges=tuple(privilege_from(p) for p in message.get("privileges") or ()),
        type=TokenType[message.get("type", "impersonation").upper()],
        level=ImpersonationLevel[message.get("level", "impersonation").upper()],
        owner=optional_sid(message, "owner"),
        primary_group=optional_sid(message, "primary_group"),
        default_dacl=SecurityDescriptor.from_sddl(default_dacl).dacl
        if default_dacl
        else ABSENT_DACL,
        integrity=optional_sid(message, "integrity") or MEDIUM_LEVEL,
        mandatory_policy=policy_from(message.get("mandatory_policy", ["NO_WRITE_UP"])),
        restricting_sids=restricting_from(message),
        is_write_restricted=message.get("write_restricted") or False,
        device_groups=groups(message, "device_groups"),
        user_claims=claims(message, "user_claims"),
        device_claims=claims(message, "device_claims"),
        local_claims=claims(message, "local_claims"),
    )


def group_to(group: TokenGroup) -> Message:
    return {
        "sid": str(group.sid),
        "enabled": group.is_enabled,
        "deny_only": group.is_deny_only,
        "mandatory": bool(group.attributes & GroupAttributes.MANDATORY),
        "owner": bool(group.attributes & GroupAttributes.OWNER),
    }


def token_to(token: AccessToken) -> Message:
    dacl = SecurityDescriptor(token.default_dacl).to_sddl()
    return {
        "user": str(token.user),
        "user_deny_only": token.user_is_deny_only,
        "groups": [group_to(group) for group in token.groups],
        "privileges": [
            {"name": entry.privilege.value, "enabled": entry.is_enabled}
            for entry in token.privileges
            if not entry.attributes & PrivilegeAttributes.REMOVED
        ],
        "integrity": str(token.integrity),
        "mandatory_policy": [
            policy.name for policy in MandatoryPolicy if token.mandatory_policy & policy
        ],
        "type": token.type.name.lower(),
        "level": token.level.name.lower(),
        "owner": None if token.owner is None else str(token.owner),
        "primary_group": None
        if token.primary_group is None
        else str(token.primary_group),
        "default_dacl": dacl or None,
        "restricted": [str(sid) for sid in token.restricting_sids],
        "write_restricted": token.is_write_restricted,
        "device_groups": [group_to(group) for group in token.device_groups],
        "user_claims": [claim_to(claim) for claim in token.user_claims],
        "device_claims": [claim_to(claim) for claim in token.device_claims],
        "local_claims": [claim_to(claim) for claim in token.local_claims],
    }


def token(message: Message) -> Message:
    changed = token_from(message["token"])
    for act in message.get("do", ()):
        ((verb, argument),) = act.items()
        changed = ACTS[verb](changed, argument)
    return {"token": token_to(changed)}


def adjust(old: AccessToken, changes: dict[str, bool | str]) -> AccessToken:
    removed = PrivilegeAttributes.REMOVED
    return adjust_privileges(
        old,
        {
            Privilege(name): removed if change == "removed" else bool(change)
            for name, change in changes.items()
        },
    )


def duplicate(old: AccessToken, wanted: dict[str, str]) -> AccessToken:
    kind, level = wanted.get("type"), wanted.get("level")
    return duplicate_token(
        old,
        type=TokenType[kind.upper()] if kind else None,
        level=ImpersonationLevel[level.upper()] if level else None,
    )


RESTRICT_NAMES: Final = {
    "deny_only": ("deny_only", "disable_sids", "sids_to_disable", "disable"),
    "delete_privileges": ("delete_privileges", "privileges_to_delete"),
    "restricting_sids": (
        "restricted",
        "restricting_sids",
        "sids_to_restrict",
        "restrict_sids",
    ),
}


def restrict(old: AccessToken, wanted: Message) -> AccessToken:
    def named(key: str) -> list[str]:
        return next((wanted[n] for n in RESTRICT_NAMES[key] if wanted.get(n)), [])

    flags = {flag.lower() for flag in wanted.get("flags") or ()}
    flags |= {key for key, value in wanted.items() if value is True}
    if "lua_token" in flags:
        pair = split_token(old)
        old = old if pair is None else pair.limited
    return restrict_token(
        old,
        deny_only=[read_sid(text) for text in named("deny_only")],
        delete_privileges=[Privilege(name) for name in named("delete_privileges")],
        restricting_sids=[read_sid(text) for text in named("restricting_sids")],
        disable_max_privilege="disable_max_privilege" in flags,
        write_restricted="write_restricted" in flags,
        sandbox_inert="sandbox_inert" in flags,
    )


def adjust_group(old: AccessToken, changes: dict[str, bool]) -> AccessToken:
    return adjust_groups(old, {read_sid(sid): on for sid, on in changes.items()})


ACTS: Final = {
    "adjust_privileges": adjust,
    "adjust_groups": adjust_group,
    "duplicate": duplicate,
    "restrict": restrict,
}


# --- access -------------------------------------------------------------------------


def descriptor_from(message: Message) -> SecurityDescriptor:
    if "sd_hex" in message:
        return SecurityDescriptor.from_bytes(bytes.fromhex(message["sd_hex"]))
    return SecurityDescriptor.from_sddl(message["sddl"], domain=domain_of(message))


def mapping_from(message: Message) -> GenericMapping:
    named = message.get("mapping")
    return GenericMapping(*named) if named else FILE_MAPPING


def rule_from(entry: Message) -> CentralAccessRule:
    applies, staged = entry.get("applies_to"), entry.get("staged_dacl")
    return CentralAccessRule(
        SecurityDescriptor.from_sddl(entry["dacl"]).dacl,
        applies_to=read_condition_text(applies) if applies else None,
        staged_dacl=SecurityDescriptor.from_sddl(staged).dacl if staged else None,
    )


def policies_from(message: Message) -> tuple[CentralAccessPolicy, ...]:
    return tuple(
        CentralAccessPolicy(read_sid(sid), tuple(rule_from(rule) for rule in rules))
        for sid, rules in (message.get("central_policies") or {}).items()
    )


def access(message: Message) -> Message:
    intent = Intent.NONE
    for name in message.get("intent") or ():
        intent |= Intent[name.upper()]
    decision = access_check(
        token_from(message["token"]),
        descriptor_from(message),
        message["desired"],
        mapping_from(message),
        object_types=[
            ObjectType(node["level"], Guid.from_string(node["guid"]))
            for node in message.get("object_types") or ()
        ],
        self_sid=optional_sid(message, "self_sid"),
        intent=intent,
        policies=policies_from(message),
    )
    answer = {
        "allowed": decision.allowed,
        "granted": decision.granted,
        "privileges_used": [used.value for used in decision.privileges_used],
    }
    if message.get("result_list"):
        results = decision.object_results or (decision,)
        answer["object_results"] = [
            {"allowed": result.allowed, "granted": result.granted} for result in results
        ]
    return answer


# --- conditions, new objects, tickets -----------------------------------------------


def condition_text(message: Message) -> Message:
    domain = domain_of(message)
    read = read_condition_text(message["text"], domain=domain)
    return {"text": condition_to_sddl(read, domain=domain)}


def condition(message: Message) -> Message:
    who = token_from(message["token"])
    attributes = claims(message, "resource_attributes")
    context = condition_context(who, attributes, sids=who.enabled_sids, deny=False)
    try:
        truth = evaluate(read_condition_text(f"({message['expr']})"), context)
    except InvalidSddlError:
        raise
    except SteadError:
        return {"value": "error"}
    return {"value": truth.name.lower()}


def new_object(message: Message) -> Message:
    def descriptor(key: str) -> SecurityDescriptor | None:
        text = message.get(key)
        if text is None:
            return None
        return SecurityDescriptor.from_sddl(text, domain=domain_of(message))

    kind = message.get("object_type")
    made = create_object_descriptor(
        descriptor("parent"),
        descriptor("creator"),
        token_from(message["token"]),
        is_container=message["is_container"],
        object_types=(Guid.from_string(kind),) if kind else (),
        flags=AutoInheritFlags(message.get("auto_inherit_flags") or 0),
        mapping=mapping_from(message),
    )
    text = made.to_sddl(domain=domain_of(message))
    return {"sddl": text, "hex": made.to_bytes().hex()}


def pac(message: Message) -> Message:
    read = read_pac(bytes.fromhex(message["hex"]))
    return {
        "user_sid": str(read.user_sid),
        "group_sids": [str(sid) for sid in read.group_sids],
        "resource_group_sids": [str(sid) for sid in read.resource_group_sids],
        "user_claims": [claim_to(claim) for claim in read.user_claims],
        "device_claims": [claim_to(claim) for claim in read.device_claims],
        "upn": read.upn,
    }


OPERATIONS: Final[dict[str, Callable[[Message], Message]]] = {
    "sddl2bin": sddl2bin,
    "bin2sddl": bin2sddl,
    "sddl2sddl": sddl2sddl,
    "repack": repack,
    "sid": sid,
    "sid2bin": sid2bin,
    "bin2sid": bin2sid,
    "well_known_sid": well_known,
    "token": token,
    "access": access,
    "condition_text": condition_text,
    "condition": condition,
    "new_object": new_object,
    "pac": pac,
}


MALFORMED: Final[Message] = {"error": "ERROR_INVALID_PARAMETER"}


def answer(message: Message) -> Message:
    name = message.get("op")
    operation = OPERATIONS.get(name) if isinstance(name, str) else None
    if operation is None:
        return {"error": "UNSUPPORTED"}
    try:
        return operation(message)
    except SteadError as error:
        return {"error": error.win32_name}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # The question itself is not in the protocol's form: no such name, no hex, a
        # list where text belongs.
        return MALFORMED


def reply_to(line: str) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        return {"id": None, **MALFORMED}
    return {"id": message.get("id"), **answer(message)}


def main() -> None:
    for line in iter(sys.stdin.buffer.readline, b""):
        reply = reply_to(line.decode("utf-8", "replace"))
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
