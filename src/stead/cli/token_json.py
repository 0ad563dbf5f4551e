"""Tokens and central policies as people write them in JSON, for `stead judge`.

A token is an object of which only `user` must be there:

    {"user": "S-1-5-21-1-2-3-1001",
     "groups": ["BU", {"sid": "BA", "deny_only": true}],
     "privileges": ["SeSecurityPrivilege"], "integrity": "ME",
     "user_claims": [{"name": "Title", "type": "string", "values": ["VP"]}]}

SIDs may be two-letter aliases, in capitals. A group or privilege that is plain text is
enabled. Whatever has another name or another form is refused: a misspelled deny-only
group must not become one that grants.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from stead.codec.condition_text import read_condition_text
from stead.codec.sid_text import read_sid
from stead.errors import InvalidRequestError, SteadError
from stead.model.acl import Acl, NoAcl
from stead.model.claim import Claim, ClaimFlags, ClaimType, ClaimValue
from stead.model.condition import Condition
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

_T = TypeVar("_T")
_CLAIM_TYPES: Final = {
    "int64": ClaimType.INT64,
    "uint64": ClaimType.UINT64,
    "string": ClaimType.STRING,
    "sid": ClaimType.SID,
    "boolean": ClaimType.BOOLEAN,
    "octets": ClaimType.OCTET_STRING,
}
_CLAIM_FLAGS: Final = {
    "case_sensitive": ClaimFlags.VALUE_CASE_SENSITIVE,
    "disabled": ClaimFlags.DISABLED,
    "deny_only": ClaimFlags.USE_FOR_DENY_ONLY,
}
_ALIAS: Final = re.compile(r"[A-Z]{2}")
_ENABLED: Final = GroupAttributes.ENABLED | GroupAttributes.ENABLED_BY_DEFAULT


def read_token(text: str, domain: Sid | None = None) -> AccessToken:
    """Read a token from JSON.

    Args:
        text: the JSON.
        domain: the domain that aliases such as `DA` are relative to.

    Raises:
        InvalidRequestError: it is no token; the error names the part.
        SteadError: its parts do not fit one another.
    """
    return _Reader(domain).token(_parsed(text))


def read_policies(
    text: str, domain: Sid | None = None
) -> tuple[CentralAccessPolicy, ...]:
    """Read central access policies from JSON; raises as `read_token` does.

    Args:
        text: `{"S-1-17-1": [{"dacl": "D:...", "applies_to": "(...)", "name": "..."}]}`;
            a rule may have a `staged_dacl` as well.
        domain: the domain that aliases such as `DA` are relative to.
    """
    reader, found = _Reader(domain), _mapping(_parsed(text), "policies")
    return tuple(
        CentralAccessPolicy(reader.sid(sid, sid), reader.rules(rules, sid))
        for sid, rules in found.items()
    )


def _parsed(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = str(error).partition("\n")[0]
        raise InvalidRequestError(f"this is no json: {said}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that stands twice: which one counts, nobody could see."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequestError(f"`{twice[:80]}` stands twice in one object")
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads parts; `where` names the part in errors.

    Attributes:
        domain: the domain that aliases are relative to.
    """

    domain: Sid | None

    def token(self, value: object) -> AccessToken:
        fields: dict[str, tuple[str, Callable[[object, str], Any]]] = {
            "user": ("user", self.sid),
            "user_deny_only": ("user_is_deny_only", _boolean),
            "groups": ("groups", partial(_list_of, self.group)),
            "privileges": ("privileges", partial(_list_of, _privilege)),
            "type": ("type", partial(_member, TokenType)),
            "level": ("level", partial(_member, ImpersonationLevel)),
            "owner": ("owner", self.sid),
            "primary_group": ("primary_group", self.sid),
            "default_dacl": ("default_dacl", self.dacl),
            "integrity": ("integrity", self.sid),
            "mandatory_policy": ("mandatory_policy", _mandatory_policy),
            "restricted": ("restricting_sids", partial(_list_of, self.sid)),
            "write_restricted": ("is_write_restricted", _boolean),
            "device_groups": ("device_groups", partial(_list_of, self.group)),
            "user_claims": ("user_claims", partial(_list_of, self.claim)),
            "device_claims": ("device_claims", partial(_list_of, self.claim)),
            "local_claims": ("local_claims", partial(_list_of, self.claim)),
            "package": ("package", self.sid),
            "capabilities": ("capabilities", partial(_list_of, self.group)),
            "trust": ("trust", self.sid),
        }
        whole = _mapping(value, "token")
        told = {key: part for key, part in whole.items() if part is not None}
        given = _object(told, "token", required={"user"}, allowed=set(fields))
        made = {fields[key][0]: fields[key][1](given[key], key) for key in given}
        return AccessToken(**made)

    def sid(self, value: object, where: str) -> Sid:
        text = _text(value, where)
        try:
            if _ALIAS.fullmatch(text):
                return read_sid(text, domain=self.domain)
            return Sid.from_string(text)
        except SteadError as error:
            raise InvalidRequestError(
                f"`{where}` is no sid: {error}",
                advice="write a SID such as S-1-1-0, or its alias in capitals, such as "
                "WD; names are not known here",
            ) from None

    def group(self, value: object, where: str) -> TokenGroup:
        if isinstance(value, str):
            value = {"sid": value}
        flags = {"enabled", "deny_only", "mandatory", "owner"}
        given = _object(value, where, required={"sid"}, allowed={"sid", *flags})
        is_set = {
            flag: _boolean(given[flag], f"{where}.{flag}") for flag in flags & {*given}
        }
        deny_only = is_set.get("deny_only", False)
        attributes = GroupAttributes.NONE
        if is_set.get("enabled", not deny_only):
            attributes |= _ENABLED
        if is_set.get("mandatory", True):
            attributes |= GroupAttributes.MANDATORY
        if is_set.get("owner", False):
            attributes |= GroupAttributes.OWNER
        if deny_only:
            attributes |= GroupAttributes.USE_FOR_DENY_ONLY
        return TokenGroup(self.sid(given["sid"], f"{where}.sid"), attributes)

    def claim(self, value: object, where: str) -> Claim:
        required = {"name", "type", "values"}
        given = _object(value, where, required=required, allowed=required | {"flags"})
        kind = _one_of(_CLAIM_TYPES, given["type"], f"{where}.type")
        read = partial(self.claim_value, kind)
        flags = ClaimFlags.NONE
        for flag in _list_of(_text, given.get("flags", []), f"{where}.flags"):
            flags |= _one_of(_CLAIM_FLAGS, flag, f"{where}.flags")
        return Claim(
            _text(given["name"], f"{where}.name"),
            kind,
            _list_of(read, given["values"], f"{where}.values"),
            flags,
        )

    def claim_value(self, kind: ClaimType, value: object, where: str) -> ClaimValue:
        if kind is ClaimType.SID:
            return self.sid(value, where)
        if kind is ClaimType.OCTET_STRING:
            try:
                return bytes.fromhex(_text(value, where))
            except ValueError:
                raise InvalidRequestError(f"`{where}` is no hexadecimal") from None
        if not isinstance(value, str | bool | int):
            raise InvalidRequestError(f"`{where}` is no value of a claim")
        return value

    def dacl(self, value: object, where: str) -> Acl | NoAcl:
        text = _text(value, where)
        return SecurityDescriptor.from_sddl(text, domain=self.domain).dacl

    def rules(self, value: object, where: str) -> tuple[CentralAccessRule, ...]:
        return _list_of(self.rule, value, where)

    def rule(self, value: object, where: str) -> CentralAccessRule:
        optional = {"applies_to", "staged_dacl", "name"}
        allowed = {"dacl", *optional}
        given = _object(value, where, required={"dacl"}, allowed=allowed)
        staged, applies = given.get("staged_dacl"), given.get("applies_to")
        return CentralAccessRule(
            self.dacl(given["dacl"], f"{where}.dacl"),
            None if applies is None else self.condition(applies, f"{where}.applies_to"),
            None if staged is None else self.dacl(staged, f"{where}.staged_dacl"),
            _text(given.get("name", ""), f"{where}.name"),
        )

    def condition(self, value: object, where: str) -> Condition:
        return read_condition_text(_text(value, where), domain=self.domain)


# --- forms ----------------------------------------------------------------------------


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"`{where}` is no json object")
    return value


def _object(
    value: object, where: str, *, required: set[str], allowed: set[str]
) -> Mapping[str, object]:
    """Return an object that has what it must and nothing that nobody knows."""
    given = _mapping(value, where)
    for key in given:
        if key not in allowed:
            raise InvalidRequestError(
                f"`{where}` has no part `{key[:80]}`",
                advice=f"there are {', '.join(sorted(allowed))}",
            )
    for key in sorted(required - {*given}):
        raise InvalidRequestError(f"`{where}` lacks `{key}`")
    return given


def _list_of(
    read: Callable[[object, str], _T], value: object, where: str
) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise InvalidRequestError(f"`{where}` is no list")
    return tuple(read(item, f"{where}[{at}]") for at, item in enumerate(value))


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"`{where}` is no text")
    return value


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"`{where}` is neither true nor false")
    return value


def _one_of(known: Mapping[str, _T], value: object, where: str) -> _T:
    found = known.get(_text(value, where))
    if found is None:
        raise InvalidRequestError(
            f"`{where}` cannot be `{str(value)[:80]}`",
            advice=f"there are {', '.join(known)}",
        )
    return found


def _member(
    kind: type[TokenType | ImpersonationLevel], value: object, where: str
) -> TokenType | ImpersonationLevel:
    return _one_of({member.name.lower(): member for member in kind}, value, where)


def _mandatory_policy(value: object, where: str) -> MandatoryPolicy:
    policy = MandatoryPolicy.OFF
    known = {str(one.name): one for one in MandatoryPolicy}
    for name in _list_of(_text, value, where):
        policy |= _one_of(known, name, where)
    return policy


def _privilege(value: object, where: str) -> TokenPrivilege:
    if isinstance(value, str):
        value = {"name": value}
    allowed = {"name", "enabled"}
    given = _object(value, where, required={"name"}, allowed=allowed)
    known = {privilege.value: privilege for privilege in Privilege}
    enabled = _boolean(given.get("enabled", True), f"{where}.enabled")
    state = PrivilegeAttributes.ENABLED if enabled else PrivilegeAttributes.NONE
    return TokenPrivilege(_one_of(known, given["name"], f"{where}.name"), state)
