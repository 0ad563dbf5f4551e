"""Whom an entry is about: a token by its SIDs, by its restricting ones, by its package.

Three askers walk the same list, and each has its own idea of who it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.spec.naive_masks import bits

from stead.model.sid import Sid
from stead.model.token import AccessToken, TokenGroup

OWNER_RIGHTS, PRINCIPAL_SELF = "S-1-3-4", "S-1-5-10"
ALL_PACKAGES, ALL_RESTRICTED_PACKAGES = "S-1-15-2-1", "S-1-15-2-2"
NO_ALL_PACKAGES = "WIN://NOALLAPPPKG"


@dataclass(frozen=True)
class Stand:
    """For whom OWNER RIGHTS and PRINCIPAL_SELF stand on this object."""

    owner: Sid
    self_sid: Sid | None

    def meant_by(self, trustee: Sid) -> Sid | None:
        """The SID that an entry is about; None where that is nobody."""
        if str(trustee) == OWNER_RIGHTS:
            return self.owner
        if str(trustee) == PRINCIPAL_SELF:
            return self.self_sid
        return trustee


class ByItself:
    """The token by its user and groups ([MS-DTYP] 2.5.3.1.1)."""

    def __init__(self, token: AccessToken) -> None:
        self.token = token

    def allows(self, sid: Sid) -> bool:
        """Whether an allow entry for this SID means the token."""
        return is_allowed_as(self.token, sid)

    def denies(self, sid: Sid) -> bool:
        """Whether a deny entry for this SID means the token."""
        return is_denied_as(self.token, sid)


class ByRestriction:
    """The token by its restricting SIDs, which count by being there."""

    def __init__(self, token: AccessToken) -> None:
        self.token = token

    def allows(self, sid: Sid) -> bool:
        is_stand_in = str(sid) in (OWNER_RIGHTS, PRINCIPAL_SELF)
        return sid in self.token.restricting_sids and not is_stand_in

    def denies(self, sid: Sid) -> bool:
        return self.allows(sid)


class ByPackage:
    """An AppContainer by its package, its capabilities and the SIDs of all packages."""

    def __init__(self, token: AccessToken) -> None:
        self.token = token

    def allows(self, sid: Sid) -> bool:
        if any(g.sid == sid and is_deny_only(g) for g in self.token.capabilities):
            return False
        return self._is_package(sid) or any(
            g.sid == sid and is_enabled(g) for g in self.token.capabilities
        )

    def denies(self, sid: Sid) -> bool:
        return self._is_package(sid) or any(
            g.sid == sid and (is_enabled(g) or is_deny_only(g))
            for g in self.token.capabilities
        )

    def _is_package(self, sid: Sid) -> bool:
        if self.token.package is None:
            return False
        if sid == self.token.package or str(sid) == ALL_RESTRICTED_PACKAGES:
            return True
        return str(sid) == ALL_PACKAGES and not self._is_less_privileged()

    def _is_less_privileged(self) -> bool:
        names = [claim.name.upper() for claim in self.token.local_claims]
        return NO_ALL_PACKAGES in names


Asker = ByItself | ByRestriction | ByPackage


def is_allowed_as(token: AccessToken, sid: Sid) -> bool:
    if str(sid) in (OWNER_RIGHTS, PRINCIPAL_SELF):
        return False  # in a token it means nothing
    if any(g.sid == sid and is_deny_only(g) for g in token.groups):
        return False
    if sid == token.user:
        return not token.user_is_deny_only
    return any(g.sid == sid and is_enabled(g) for g in token.groups)


def is_denied_as(token: AccessToken, sid: Sid) -> bool:
    if str(sid) in (OWNER_RIGHTS, PRINCIPAL_SELF):
        return False
    return sid == token.user or any(
        g.sid == sid and (is_enabled(g) or is_deny_only(g)) for g in token.groups
    )


def is_enabled(group: TokenGroup) -> bool:
    return 2 in bits(int(group.attributes))


def is_deny_only(group: TokenGroup) -> bool:
    return 4 in bits(int(group.attributes))
