"""Access tokens: who somebody is, as a frozen value (Win32: TOKEN_*).

A changed token is a new token (`stead.decision.token_ops`). Tokens hold no
credentials. **Making tokens by hand** is for tests and tools: a server's own come from
its authority, after somebody proved who they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import KEEP, IntEnum, IntFlag
from typing import Final

from stead.errors import SteadError
from stead.model.acl import ABSENT_DACL, Acl, NoAcl
from stead.model.claim import Claim
from stead.model.limits import TokenLimits
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import (
    MEDIUM_LEVEL,
    is_integrity_level,
    is_package,
    is_trust_level,
)


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


# Asked of each group of each token: the flags' own `&` makes another flag each time.
_and: Final = int.__and__
_ENABLED: Final = int(GroupAttributes.ENABLED)
_DENY_ONLY: Final = int(GroupAttributes.USE_FOR_DENY_ONLY)


class MandatoryPolicy(IntFlag, boundary=KEEP):
    """How integrity binds the token (TOKEN_MANDATORY_POLICY_*)."""

    OFF = 0
    NO_WRITE_UP = 0x1
    NEW_PROCESS_MIN = 0x2


class ElevationType(IntEnum):
    """Whether a token is one of a linked pair (Win32: TOKEN_ELEVATION_TYPE)."""

    DEFAULT = 1
    FULL = 2
    LIMITED = 3


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
        return bool(_and(self.attributes, _DENY_ONLY))

    @property
    def is_enabled(self) -> bool:
        """Whether it matches allow entries."""
        return _and(self.attributes, _ENABLED | _DENY_ONLY) == _ENABLED


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
        origin: the logon session that logged the user on with credentials; 0 for none
            (Win32: TokenOrigin).
        owner: the default owner of what it creates; the user if not given.
        primary_group: the default group of what it creates; the user if not given.
        default_dacl: the DACL of what it creates where nothing else says.
        integrity: a mandatory label SID (`S-1-16-8192` is medium).
        mandatory_policy: how integrity binds it.
        user_is_deny_only: the user's SID matches deny entries only.
        restricting_sids: if there are any, whatever is granted must be granted to
            these as well (Win32: TokenRestrictedSids).
        is_write_restricted: the restricting SIDs are asked about writing only.
        device_groups: groups of the machine that the user came from.
        user_claims: attributes of the user, for conditions.
        device_claims: attributes of the machine that the user came from.
        local_claims: attributes that the local system gave the token.
        package: the AppContainer's SID, `S-1-15-2-...`; None outside of one.
        capabilities: what the AppContainer may reach.
        trust: the process trust level, `S-1-19-<type>-<level>`; None for none.
        elevation: whether it is one of a linked pair.
        is_sandbox_inert: made with SANDBOX_INERT; the judge does not ask.
        security: who may do what with the token itself; None where nobody has said.
        limits: what it may reach at most; None for no limits. It holds no privilege
            beyond them.
        kept_standing: what the judge worked out about it; no part of the value.
        kept_digest: the digest of its text (`stead.codec.token_text`), likewise.
    """

    user: Sid
    groups: tuple[TokenGroup, ...] = ()
    privileges: tuple[TokenPrivilege, ...] = ()
    type: TokenType = TokenType.IMPERSONATION
    level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION
    logon_id: Luid = NO_LUID
    token_id: Luid = NO_LUID
    source: TokenSource = STEAD_SOURCE
    origin: Luid = NO_LUID
    owner: Sid | None = None
    primary_group: Sid | None = None
    default_dacl: Acl | NoAcl = ABSENT_DACL
    integrity: Sid = MEDIUM_LEVEL
    mandatory_policy: MandatoryPolicy = MandatoryPolicy.NO_WRITE_UP
    user_is_deny_only: bool = False
    restricting_sids: tuple[Sid, ...] = ()
    is_write_restricted: bool = False
    device_groups: tuple[TokenGroup, ...] = ()
    user_claims: tuple[Claim, ...] = ()
    device_claims: tuple[Claim, ...] = ()
    local_claims: tuple[Claim, ...] = ()
    package: Sid | None = None
    capabilities: tuple[TokenGroup, ...] = ()
    trust: Sid | None = None
    elevation: ElevationType = ElevationType.DEFAULT
    is_sandbox_inert: bool = False
    security: SecurityDescriptor | None = None
    limits: TokenLimits | None = None
    # What the judge asks by the million, worked out once.
    enabled_sids: frozenset[Sid] = field(init=False, repr=False, compare=False)
    deny_sids: frozenset[Sid] = field(init=False, repr=False, compare=False)
    enabled_privileges: frozenset[Privilege] = field(
        init=False, repr=False, compare=False
    )
    kept_standing: object = field(init=False, repr=False, compare=False, default=None)
    kept_digest: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        for name in _TUPLES:
            if type(given := getattr(self, name)) is not tuple:
                object.__setattr__(self, name, tuple(given))
        _require_kinds(self)
        if self.limits is not None:
            object.__setattr__(self, "privileges", _left(self.privileges, self.limits))
        _require_identities(self)
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
            frozenset([p.privilege for p in self.privileges if p.is_enabled]),
        )

    def __reduce__(self) -> tuple[object, ...]:
        # What is kept stays behind: a copy works it out for itself.
        values = (getattr(self, part.name) for part in fields(self) if part.init)
        return type(self), tuple(values)

    @property
    def is_restricted(self) -> bool:
        """Whether it holds restricting SIDs (Win32: IsTokenRestricted)."""
        return bool(self.restricting_sids)

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


_TUPLES: Final = (
    "groups", "privileges", "restricting_sids", "device_groups", "user_claims",
    "device_claims", "local_claims", "capabilities",
)  # fmt: skip


def _sids(token: AccessToken) -> tuple[frozenset[Sid], frozenset[Sid]]:
    """Return the SIDs that match allow entries, and those that match deny entries.

    A SID that is listed twice, enabled and deny-only, is deny-only: deny-only is
    irreversible, so no second mention may undo it.
    """
    allow, deny_only = set(), set()
    for group in token.groups:
        bits = _and(group.attributes, _ENABLED | _DENY_ONLY)
        if bits == _ENABLED:
            allow.add(group.sid)
        elif bits:
            deny_only.add(group.sid)
    if token.user_is_deny_only:
        deny_only.add(token.user)
    else:
        allow.add(token.user)
    allow -= deny_only
    return frozenset(allow), frozenset(allow | deny_only)


def _left(
    held: tuple[TokenPrivilege, ...], limits: TokenLimits
) -> tuple[TokenPrivilege, ...]:
    """Return the privileges that limits leave: the others are gone for good."""
    kept = limits.kept_privileges
    return tuple(entry for entry in held if entry.privilege in kept)


def _require_sid(sid: Sid) -> None:
    # Text in a SID's place would equal no SID: deny entries would never match it.
    if not isinstance(sid, Sid):
        raise SteadError("a token holds each identity as a `Sid`")


def _require_kinds(token: AccessToken) -> None:
    """Refuse what is no group among the groups, and no claim among the claims."""
    for group in (*token.groups, *token.device_groups, *token.capabilities):
        if not isinstance(group, TokenGroup):
            raise SteadError("a token holds each group as a `TokenGroup`")
    for claim in (*token.user_claims, *token.device_claims, *token.local_claims):
        if not isinstance(claim, Claim):
            raise SteadError("a token holds each claim as a `Claim`")


def _require_identities(token: AccessToken) -> None:
    """Refuse SIDs of the wrong kind in the places that have one."""
    for sid in (token.user, token.integrity, *token.restricting_sids):
        _require_sid(sid)
    for named in (token.owner, token.primary_group, token.package, token.trust):
        if named is not None:
            _require_sid(named)
    if not is_integrity_level(token.integrity):
        raise SteadError(f"`{token.integrity}` is not an integrity level")
    if token.package is not None and not is_package(token.package):
        raise SteadError(f"`{token.package}` is not a package's sid")
    if token.trust is not None and not is_trust_level(token.trust):
        raise SteadError(f"`{token.trust}` is not a process trust level")
    if token.capabilities and token.package is None:
        raise SteadError("only an appcontainer's token holds capabilities")
    if token.is_write_restricted and not token.restricting_sids:
        raise SteadError("a write-restricted token has restricting sids")
