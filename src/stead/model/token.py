"""Access tokens: who somebody is, as a frozen value (Win32: TOKEN_*).

A changed token is a new token (`stead.decision.token_ops`). Tokens hold no
credentials. **Making tokens by hand** is for tests and tools: a server's own come from
its authority, after somebody proved who they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import KEEP, IntEnum, IntFlag
from typing import Final

from stead.errors import SteadError
from stead.model.acl import ABSENT_DACL, Acl, NoAcl
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.sid import Sid
from stead.model.well_known import MEDIUM_LEVEL, is_integrity_level


class TokenType(IntEnum):
    """Primary tokens belong to processes, impersonation tokens to threads."""

    PRIMARY = 1
    IMPERSONATION = 2


class ImpersonationLevel(IntEnum):
    """What a server may do with a client's token; ordered."""

    ANONYMOUS = 0
    IDENTIFICATION = 1
    IMPERSONATION = 2
    DELEGATION = 3

    @property
    def win32_name(self) -> str:
        """The Win32 name, for output and grep."""
        return f"Security{self.name.capitalize()}"


class GroupAttributes(IntFlag, boundary=KEEP):
    """How a token holds a group ([MS-PAC] 2.2.1, SE_GROUP_*)."""

    NONE = 0
    MANDATORY = 0x1
    ENABLED_BY_DEFAULT = 0x2
    ENABLED = 0x4
    OWNER = 0x8
    USE_FOR_DENY_ONLY = 0x10
    INTEGRITY = 0x20
    INTEGRITY_ENABLED = 0x40
    RESOURCE = 0x2000_0000
    LOGON_ID = 0xC000_0000


ENABLED_GROUP: Final = (
    GroupAttributes.MANDATORY
    | GroupAttributes.ENABLED_BY_DEFAULT
    | GroupAttributes.ENABLED
)


class MandatoryPolicy(IntFlag, boundary=KEEP):
    """How integrity binds the token (TOKEN_MANDATORY_POLICY_*)."""

    OFF = 0
    NO_WRITE_UP = 0x1
    NEW_PROCESS_MIN = 0x2


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """A group in a token (Win32: SID_AND_ATTRIBUTES)."""

    sid: Sid
    attributes: GroupAttributes = ENABLED_GROUP

    def __post_init__(self) -> None:
        _require_sid(self.sid)

    @property
    def is_deny_only(self) -> bool:
        """Whether it matches deny entries only."""
        return bool(self.attributes & GroupAttributes.USE_FOR_DENY_ONLY)

    @property
    def is_enabled(self) -> bool:
        """Whether it matches allow entries."""
        return bool(self.attributes & GroupAttributes.ENABLED) and not self.is_deny_only


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Who made the token (Win32: TOKEN_SOURCE).

    Attributes:
        name: up to eight characters.
        identifier: a number of the maker's own.
    """

    name: str
    identifier: Luid = NO_LUID

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= 8:  # noqa: PLR2004 - TOKEN_SOURCE_LENGTH
            raise SteadError(f"token source `{self.name}` has one to eight letters")


STEAD_SOURCE: Final = TokenSource("stead")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Who somebody is, what they may do, and for which logon session.

    Attributes:
        user: the account's SID.
        groups: its groups with attributes, in order.
        privileges: its privileges with attributes.
        type: primary or impersonation.
        level: what a server may do with it; a primary token has DELEGATION's power
            over itself and carries IMPERSONATION here.
        logon_id: the logon session it belongs to.
        token_id: this token's own number.
        source: who made it.
        owner: the default owner of what it creates; the user if not given.
        primary_group: the default group of what it creates; the user if not given.
        default_dacl: the DACL of what it creates where nothing else says.
        integrity: a mandatory label SID (`S-1-16-8192` is medium).
        mandatory_policy: how integrity binds it.
        user_is_deny_only: the user's SID matches deny entries only.
    """

    user: Sid
    groups: tuple[TokenGroup, ...] = ()
    privileges: tuple[TokenPrivilege, ...] = ()
    type: TokenType = TokenType.IMPERSONATION
    level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION
    logon_id: Luid = NO_LUID
    token_id: Luid = NO_LUID
    source: TokenSource = STEAD_SOURCE
    owner: Sid | None = None
    primary_group: Sid | None = None
    default_dacl: Acl | NoAcl = ABSENT_DACL
    integrity: Sid = MEDIUM_LEVEL
    mandatory_policy: MandatoryPolicy = MandatoryPolicy.NO_WRITE_UP
    user_is_deny_only: bool = False
    # What the judge asks by the million, worked out once.
    enabled_sids: frozenset[Sid] = field(init=False, repr=False, compare=False)
    deny_sids: frozenset[Sid] = field(init=False, repr=False, compare=False)
    enabled_privileges: frozenset[Privilege] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        object.__setattr__(self, "privileges", tuple(self.privileges))
        _require_sid(self.user)
        _require_sid(self.integrity)
        if self.owner is not None:
            _require_sid(self.owner)
        if self.primary_group is not None:
            _require_sid(self.primary_group)
        if not is_integrity_level(self.integrity):
            raise SteadError(f"`{self.integrity}` is not an integrity level")
        if self.type is TokenType.PRIMARY and (
            self.level < ImpersonationLevel.IMPERSONATION
        ):
            raise SteadError("a primary token is never below level impersonation")
        allow, deny = _sids(self)
        object.__setattr__(self, "enabled_sids", allow)
        object.__setattr__(self, "deny_sids", deny)
        object.__setattr__(
            self,
            "enabled_privileges",
            frozenset(p.privilege for p in self.privileges if p.is_enabled),
        )

    @property
    def default_owner(self) -> Sid:
        """The owner of what this token creates."""
        return self.user if self.owner is None else self.owner

    @property
    def default_group(self) -> Sid:
        """The primary group of what this token creates."""
        return self.user if self.primary_group is None else self.primary_group

    def has_privilege(self, privilege: Privilege) -> bool:
        """Tell whether the token holds a privilege, and holds it enabled."""
        return privilege in self.enabled_privileges

    def group(self, sid: Sid) -> TokenGroup | None:
        """Return the token's entry for a group, or None."""
        return next((group for group in self.groups if group.sid == sid), None)


def _sids(token: AccessToken) -> tuple[frozenset[Sid], frozenset[Sid]]:
    """Return the SIDs that match allow entries, and those that match deny entries.

    A SID that is listed twice, enabled and deny-only, is deny-only: deny-only is
    irreversible, so no second mention may undo it.
    """
    deny_only = {group.sid for group in token.groups if group.is_deny_only}
    allow = {group.sid for group in token.groups if group.is_enabled}
    if token.user_is_deny_only:
        deny_only.add(token.user)
    else:
        allow.add(token.user)
    allow -= deny_only
    return frozenset(allow), frozenset(allow | deny_only)


def _require_sid(sid: Sid) -> None:
    # Text in a SID's place would equal no SID: deny entries would never match it.
    if not isinstance(sid, Sid):
        raise SteadError("a token holds each identity as a `Sid`")
