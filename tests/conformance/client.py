"""Answer the conformance protocol: JSON lines in, JSON lines out.

It only translates. Everything is decided by Stead's public functions; what Stead does
not do yet is answered with `UNSUPPORTED`, never with a guess.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from stead.codec.sid_text import read_sid
from stead.decision.access_check import access_check
from stead.decision.token_ops import adjust_privileges, duplicate_token
from stead.errors import SteadError
from stead.model.access_mask import FILE_MAPPING, GenericMapping
from stead.model.acl import ABSENT_DACL
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

LATER_IN_TOKENS: Final = (
    "restricted",
    "write_restricted",
    "device_groups",
    "user_claims",
    "device_claims",
    "local_claims",
)
LATER_IN_QUESTIONS: Final = (
    "object_types",
    "self_sid",
    "result_list",
    "intent",
    "central_policies",
)


class UnsupportedError(Exception):
    """The question needs something that Stead does not do."""


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


def token_from(message: Message) -> AccessToken:
    if any(message.get(key) for key in LATER_IN_TOKENS):
        raise UnsupportedError
    user = optional_sid(message, "user")
    default_dacl = message.get("default_dacl")
    return AccessToken(
        user=NULL_SID if user is None else user,
        user_is_deny_only=user is None or message.get("user_deny_only", False),
        groups=tuple(group_from(entry) for entry in message.get("groups", ())),
        privileges=tuple(privilege_from(p) for p in message.get("privileges", ())),
        type=TokenType[message.get("type", "impersonation").upper()],
        level=ImpersonationLevel[message.get("level", "impersonation").upper()],
        owner=optional_sid(message, "owner"),
        primary_group=optional_sid(message, "primary_group"),
        default_dacl=SecurityDescriptor.from_sddl(default_dacl).dacl
        if default_dacl
        else ABSENT_DACL,
        integrity=optional_sid(message, "integrity") or MEDIUM_LEVEL,
        mandatory_policy=policy_from(message.get("mandatory_policy", ["NO_WRITE_UP"])),
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


def restrict(_old: AccessToken, _wanted: Message) -> AccessToken:
    raise UnsupportedError


ACTS: Final = {
    "adjust_privileges": adjust,
    "duplicate": duplicate,
    "restrict": restrict,
}


# --- access -------------------------------------------------------------------------


def access(message: Message) -> Message:
    if any(message.get(key) for key in LATER_IN_QUESTIONS):
        raise UnsupportedError
    who = token_from(message["token"])
    if "sd_hex" in message:
        descriptor = SecurityDescriptor.from_bytes(bytes.fromhex(message["sd_hex"]))
    else:
        descriptor = SecurityDescriptor.from_sddl(message["sddl"])
    named = message.get("mapping")
    mapping = GenericMapping(*named) if named else FILE_MAPPING
    decision = access_check(who, descriptor, message["desired"], mapping)
    return {
        "allowed": decision.allowed,
        "granted": decision.granted,
        "privileges_used": [used.value for used in decision.privileges_used],
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
}


def answer(message: Message) -> Message:
    operation = OPERATIONS.get(message["op"])
    if operation is None:
        return {"error": "UNSUPPORTED"}
    try:
        return operation(message)
    except UnsupportedError:
        return {"error": "UNSUPPORTED"}
    except SteadError as error:
        return {"error": error.win32_name}
    except (KeyError, ValueError):
        # The question itself is not in the protocol's form: no such name, no hex.
        return {"error": "ERROR_INVALID_PARAMETER"}


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        reply = {"id": message["id"], **answer(message)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
