"""Building tokens ([MS-LSAD]; Win32: access tokens, well-known SIDs).

A network logon yields an impersonation token whose privileges are enabled from the
start, as Windows does it: nobody sits at the other end who could enable them. The other
types yield a primary token that holds most of its privileges disabled, but for
NETWORK_CLEARTEXT, which comes from the network as well.
"""

from __future__ import annotations

import hashlib
from typing import Final

from stead.authority.asserted_identity import asserted_groups
from stead.authority.identity import Identity
from stead.authority.logon_rules import LOGON_RULES
from stead.model import well_known
from stead.model.access_mask import AccessMask
from stead.model.ace import AccessAllowedAce
from stead.model.acl import ACL_REVISION, Acl, checked_acl
from stead.model.logon_record import LogonType
from stead.model.luid import NO_LUID, Luid
from stead.model.privilege import (
    ENABLED_PRIVILEGE,
    Privilege,
    PrivilegeAttributes,
    TokenPrivilege,
)
from stead.model.sid import Sid
from stead.model.token import (
    ENABLED_GROUP,
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    MandatoryPolicy,
    TokenGroup,
    TokenSource,
    TokenType,
)

EVERYBODY_HOLDS: Final = (Privilege.CHANGE_NOTIFY,)
SERVER_HOLDS: Final = (
    Privilege.TCB,
    Privilege.IMPERSONATE,
    Privilege.AUDIT,
    Privilege.ASSIGN_PRIMARY_TOKEN,
    Privilege.INCREASE_QUOTA,
    Privilege.CHANGE_NOTIFY,
)
"""What a server's process token holds unless it is told otherwise (see the ADR)."""

_ENABLED_EVERYWHERE: Final = frozenset({
    Privilege.CHANGE_NOTIFY, Privilege.IMPERSONATE, Privilege.CREATE_GLOBAL,
})  # fmt: skip
"""What a primary token holds enabled, as on Windows; the rest is enabled when used."""


_FROM_THE_NETWORK: Final = frozenset({
    LogonType.NETWORK, LogonType.NETWORK_CLEARTEXT,
})  # fmt: skip
"""Nobody sits at the other end who could enable privileges: all are, from the start."""

# What every token is made of, made once: each request of a client may ask for one.
_ENABLED: Final = {p.value: TokenPrivilege(p) for p in Privilege}
_HELD: Final = {
    p.value: TokenPrivilege(
        p,
        ENABLED_PRIVILEGE if p in _ENABLED_EVERYWHERE else PrivilegeAttributes.NONE,
    )
    for p in Privilege
}
_EVERYBODY_HOLDS: Final = tuple(p.value for p in EVERYBODY_HOLDS)
_EVERYONE: Final = TokenGroup(well_known.EVERYONE)
_AUTHENTICATED_USERS: Final = TokenGroup(well_known.AUTHENTICATED_USERS)
_USERS: Final = TokenGroup(well_known.USERS)
_SENT: Final = TokenGroup(well_known.SERVICE_ASSERTED_IDENTITY)
_WAYS: Final = {way: TokenGroup(rule.sid) for way, rule in LOGON_RULES.items()}
_SESSION: Final = ENABLED_GROUP | GroupAttributes.LOGON_ID
_OWNING: Final = ENABLED_GROUP | GroupAttributes.OWNER
_EVERYTHING: Final = int(AccessMask.GENERIC_ALL)
_SYSTEM_MAY: Final = AccessAllowedAce(well_known.LOCAL_SYSTEM, _EVERYTHING)
_SOURCE: Final = TokenSource("Stead")


def client_token(
    identity: Identity,
    *,
    level: ImpersonationLevel,
    logon_id: Luid,
    token_id: Luid,
    origin: Luid = NO_LUID,
) -> AccessToken:
    """Return the token of a client that was just logged on.

    It is an impersonation token for a logon from the network, else a primary one.

    Args:
        identity: who the client is.
        level: how far it lets the server go.
        logon_id: its session.
        token_id: the token's own number.
        origin: the session that logged it on with credentials, if one did.
    """
    if level is ImpersonationLevel.ANONYMOUS:
        return anonymous_token(logon_id=logon_id, token_id=token_id)
    is_network = identity.logon_type in _FROM_THE_NETWORK
    groups = _session_groups(identity.logon_type, logon_id)
    groups += [_USERS] if identity.account is not None else []
    groups += [TokenGroup(sid) for sid in identity.unix_sids if sid != identity.user]
    groups += [_store_group(m.group.sid) for m in identity.memberships]
    groups += [_SENT] if identity.is_sent else []
    said = identity.asserted
    groups += asserted_groups(said, identity.user)
    by_sid = {group.sid: group for group in groups}
    is_admin = well_known.ADMINISTRATORS in by_sid
    return AccessToken(
        user=identity.user,
        groups=tuple(by_sid.values()),
        privileges=_privileges(identity.rights, all_enabled=is_network),
        type=_type_of(identity.logon_type),
        level=level,
        logon_id=logon_id,
        token_id=token_id,
        source=_SOURCE,
        origin=origin,
        primary_group=_primary_group(identity),
        default_dacl=default_dacl(identity.user),
        integrity=well_known.HIGH_LEVEL if is_admin else well_known.MEDIUM_LEVEL,
        device_groups=() if said is None else said.device_groups,
        user_claims=() if said is None else said.user_claims,
        device_claims=() if said is None else said.device_claims,
    )


def _type_of(logon_type: LogonType) -> TokenType:
    is_network = logon_type is LogonType.NETWORK
    return TokenType.IMPERSONATION if is_network else TokenType.PRIMARY


def anonymous_token(*, logon_id: Luid, token_id: Luid) -> AccessToken:
    """Return the token of a client that told the server not to know it."""
    return AccessToken(
        user=well_known.ANONYMOUS_LOGON,
        groups=(TokenGroup(well_known.EVERYONE), TokenGroup(well_known.NETWORK)),
        level=ImpersonationLevel.ANONYMOUS,
        logon_id=logon_id,
        token_id=token_id,
        source=_SOURCE,
        integrity=well_known.UNTRUSTED_LEVEL,
    )


def nobodys_token(*, logon_id: Luid, token_id: Luid) -> AccessToken:
    """Return the token of whoever acts as nobody (Win32: ImpersonateAnonymousToken).

    As on Windows unless it is told otherwise, Everyone does not include nobody.
    """
    return AccessToken(
        user=well_known.ANONYMOUS_LOGON,
        groups=(TokenGroup(well_known.NETWORK),),
        level=ImpersonationLevel.IMPERSONATION,
        logon_id=logon_id,
        token_id=token_id,
        source=_SOURCE,
        integrity=well_known.UNTRUSTED_LEVEL,
    )


def server_token(
    name: str,
    *,
    logon_id: Luid,
    token_id: Luid,
    privileges: tuple[Privilege, ...] = SERVER_HOLDS,
) -> AccessToken:
    """Return a server's own primary token, for the service SID of its name."""
    user = service_sid(name)
    return AccessToken(
        user=user,
        groups=tuple(_session_groups(LogonType.SERVICE, logon_id)),
        privileges=tuple(TokenPrivilege(privilege) for privilege in privileges),
        type=TokenType.PRIMARY,
        logon_id=logon_id,
        token_id=token_id,
        source=_SOURCE,
        default_dacl=default_dacl(user),
        integrity=well_known.SYSTEM_LEVEL,
        mandatory_policy=MandatoryPolicy.NO_WRITE_UP | MandatoryPolicy.NEW_PROCESS_MIN,
    )


def service_sid(name: str) -> Sid:
    """Return a service's SID: the SHA-1 of its upper-case name in UTF-16.

    SHA-1 names the service as Windows names it; nothing is protected by it.
    """
    digest = hashlib.sha1(
        name.upper().encode("utf-16-le", "surrogatepass"), usedforsecurity=False
    ).digest()
    a, b, c, d, e = (
        int.from_bytes(digest[i : i + 4], "little") for i in range(0, 20, 4)
    )
    return well_known.service_sid((a, b, c, d, e))


def default_dacl(user: Sid) -> Acl:
    """Return the DACL of what somebody makes where nothing else says: theirs alone."""
    return checked_acl((AccessAllowedAce(user, _EVERYTHING), _SYSTEM_MAY), ACL_REVISION)


def _session_groups(logon_type: LogonType, logon_id: Luid) -> list[TokenGroup]:
    logon = well_known.logon_sid(logon_id.high, logon_id.low)
    return [
        _EVERYONE,
        _WAYS[logon_type],
        _AUTHENTICATED_USERS,
        TokenGroup(logon, _SESSION),
    ]


def _store_group(sid: Sid) -> TokenGroup:
    owns = sid == well_known.ADMINISTRATORS
    return TokenGroup(sid, _OWNING if owns else ENABLED_GROUP)


def _primary_group(identity: Identity) -> Sid:
    if identity.posix is not None:
        return well_known.unix_group(identity.posix.gid)
    if identity.asserted is not None and identity.asserted.primary_group is not None:
        return identity.asserted.primary_group
    return well_known.USERS


def _privileges(
    rights: frozenset[str], *, all_enabled: bool
) -> tuple[TokenPrivilege, ...]:
    made = _ENABLED if all_enabled else _HELD
    held = rights.union(_EVERYBODY_HOLDS)
    return tuple([made[name] for name in made if name in held])
