"""What an accepted message proves: who the client is, and what it handed over.

The library verifies the message; this reads what came of it, and refuses what the
library lets pass. Nothing here is believed that the library did not verify.

1. The Kerberos mechanism was used, whatever was negotiated around it.
2. The client bound its message to the channel, where the channel can be told.
3. It has a name, which is no service's own: what comes back to its sender is no client.
4. Its realm is one that is believed, it came through no realm that may not say who
   that one's clients are, and its ticket says what that realm's tickets say.
5. Whom it came through, its ticket says as well, also where it tells no groups.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import gssapi
from gssapi.raw import display_name, get_name_attribute, inquire_name
from gssapi.raw.misc import GSSError
from gssapi.raw.named_tuples import AcceptSecContextResult
from gssapi.raw.names import Name as RawName

from stead.adapters.kerberos_way import realms_between
from stead.authority.packages import AssertedSids
from stead.authority.ticket_clients import (
    actors_of,
    asserted_by,
    is_verified_by_service,
)
from stead.codec.delegation_info import read_delegation_info
from stead.codec.pac import read_pac
from stead.errors import (
    EvidenceRefusedError,
    InvalidPacError,
    UnsafeConfigurationError,
)
from stead.model.delegation_info import DelegationInfo
from stead.model.pac import Pac
from stead.model.principal import name_and_realm

_KERBEROS: Final = gssapi.MechType.kerberos
_CHANNEL_BOUND: Final = 0x800  # gssapi_ext.h, GSS_C_CHANNEL_BOUND_FLAG
_ANONYMOUS: Final = int(gssapi.RequirementFlag.anonymity)
_LOGON_INFO: Final = b"urn:mspac:logon-info"
_DELEGATION: Final = b"urn:mspac:delegation-info"
_WHOLE_PAC: Final = b"urn:mspac:"
_LONGEST_NAME: Final = 256
_NOT_VERIFIED: Final = "what the ticket says of its client is not verified"
_NEVER: Final = frozenset({0, 0x7FFF_FFFF_FFFF_FFFF})
_EPOCH: Final = 116_444_736_000_000_000  # 1970 as a FILETIME


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRealm:
    """A realm whose clients are believed.

    Attributes:
        name: as tickets spell it, such as `EXAMPLE.COM`.
        requires_pac: whether its tickets must tell groups, as Active Directory's do.
            A client can ask for a ticket without; who has no groups is in no group
            that is denied something, either. MIT's realms tell none.
        through: the realms that its clients' tickets may come through, beside it and
            this server's own. Each of them says who its clients are, as it does itself;
            a trust between realms adds none.
    """

    name: str
    requires_pac: bool = True
    through: Collection[str] = ()

    def __post_init__(self) -> None:
        """Refuse what could not be meant; raises `UnsafeConfigurationError`."""
        if isinstance(self.through, str):
            raise UnsafeConfigurationError(
                "realms are named one by one", advice='write `through=["EXAMPLE.COM"]`'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a server believes.

    Attributes:
        realms: those whose clients are believed, by name.
        own: the principals whose keys it has.
        keytab: where these keys are.
        own_realms: the realms of these principals, whose KDCs write its tickets.
    """

    realms: Mapping[str, TrustedRealm]
    own: Collection[str]
    keytab: str
    own_realms: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Read the realms of its principals."""
        realms = frozenset(name_and_realm(each)[1] for each in self.own)
        object.__setattr__(self, "own_realms", realms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Who a client is, proved.

    Attributes:
        name: the client's name in its realm, or in its domain where that says one.
        realm: the realm that says so.
        principal: the whole name in the ticket.
        flags: of the established context (RFC 2744 5.19).
        is_bound: whether the client tied its message to the channel.
        pac: what the realm says of the client, verified; None if it says nothing.
        delegation: whom the client's identity came through (S4U2Proxy), verified; None
            if the realm says nothing of that.
    """

    name: str
    realm: str
    principal: str
    flags: int
    is_bound: bool
    pac: Pac | None
    delegation: DelegationInfo | None

    @property
    def sids(self) -> AssertedSids | None:
        """What the realm says of the client in SIDs.

        Raises:
            EvidenceRefusedError: it says what no realm may.
        """
        return None if self.pac is None else asserted_by(self.pac)

    @property
    def is_verified_by_service(self) -> bool:
        """Whether nothing says that the client showed something of its own (S4U)."""
        sids = () if self.pac is None else self.pac.group_sids
        return is_verified_by_service(sids, self.delegation)

    @property
    def kicked_off(self) -> int | None:
        """Nanoseconds since the epoch at which the realm wants the client off."""
        if self.pac is None or self.pac.logon.kick_off_time in _NEVER:
            return None
        return (self.pac.logon.kick_off_time - _EPOCH) * 100

    @property
    def actors(self) -> tuple[str, ...]:
        """The services through which the client's identity came, the nearest first.

        Raises:
            EvidenceRefusedError: they are not told, or too many.
        """
        return actors_of(self.delegation)


def read_proof(
    accepted: AcceptSecContextResult,
    messages: Sequence[bytes],
    rules: Rules,
    *,
    must_be_bound: bool,
) -> Proof:
    """Return what an established context proves; the numbers are the module's.

    Args:
        accepted: what the library made of the client's last message.
        messages: all that the client showed.
        rules: what this server believes.
        must_be_bound: whether the channel can be told.

    Raises:
        EvidenceRefusedError: it is no proof of a client's identity.
    """
    # 1.
    if accepted.mech != _KERBEROS:
        raise EvidenceRefusedError("another mechanism than kerberos was used")
    # 2.
    flags = int(accepted.flags)
    is_bound = bool(flags & _CHANNEL_BOUND)
    if must_be_bound and not is_bound:
        raise EvidenceRefusedError(
            "the client's message is not bound to the channel",
            advice="the client's software must send channel bindings",
        )
    # 3.
    if accepted.initiator_name is None or flags & _ANONYMOUS:
        raise EvidenceRefusedError("the client has no name")
    try:
        principal = principal_of(accepted.initiator_name)
        if principal in rules.own:
            raise EvidenceRefusedError(f"`{principal}` is this server itself")
        # 4. Whom a realm calls its own, its own KDC knows.
        name, realm = _split(principal, rules.realms)
        if rules.own_realms != {realm.name}:
            _require_way(principal, realm, realms_between(messages, rules.keytab))
        # 5.
        pac, delegation = _said_of(accepted.initiator_name)
    except GSSError as error:
        raise EvidenceRefusedError("the client's name cannot be read") from error
    if realm.requires_pac and pac is None:
        raise EvidenceRefusedError(
            f"the ticket of `{principal}` does not tell its groups",
            advice="a domain's tickets have a PAC; of a realm of MIT's, which tells "
            "none, say `TrustedRealm(requires_pac=False)`",
        )
    return Proof(
        name=(pac and pac.logon.account_name) or name,
        realm=realm.name,
        principal=principal,
        flags=flags,
        is_bound=is_bound,
        pac=pac,
        delegation=delegation,
    )


def principal_of(name: RawName) -> str:
    """Return a name as text.

    Raises:
        EvidenceRefusedError: it is none that can be written down.
    """
    try:
        principal = display_name(name, name_type=False).name.decode()
    except UnicodeDecodeError as error:
        raise EvidenceRefusedError("the client's name is no text") from error
    if not principal.isprintable() or len(principal) > _LONGEST_NAME:
        raise EvidenceRefusedError("the client's name cannot be written down")
    return principal


def _split(
    principal: str, realms: Mapping[str, TrustedRealm]
) -> tuple[str, TrustedRealm]:
    """Return a principal's name and its realm, if that is believed."""
    name, realm = name_and_realm(principal)
    if not name or realm not in realms:
        raise EvidenceRefusedError(
            f"`{principal}` is of a realm that is not believed",
            advice="a realm is believed when it is configured, trusts do not count",
        )
    return name, realms[realm]


def _require_way(principal: str, realm: TrustedRealm, between: Iterable[str]) -> None:
    """Refuse a client that came through a realm which may not say who it is."""
    for each in sorted(between):
        if each not in realm.through:
            raise EvidenceRefusedError(
                f"`{principal}` comes through the realm `{each}`, which may not say "
                f"who clients of `{realm.name}` are",
                advice="have the two realms trust each other directly; or, if it may, "
                f'say `TrustedRealm(name="{realm.name}", through=["{each}"])`',
            )


def _said_of(name: RawName) -> tuple[Pac | None, DelegationInfo | None]:
    """Return what the realm says of a client, and of whom it came through."""
    attributes = inquire_name(name, mech_name=False).attrs or ()
    if _WHOLE_PAC not in attributes:
        return None, None
    whole = _verified(name, _WHOLE_PAC)
    try:
        if _LOGON_INFO in attributes:
            pac = read_pac(whole)
            return pac, pac.delegation
        if _DELEGATION in attributes:
            return None, read_delegation_info(_verified(name, _DELEGATION))
    except InvalidPacError as error:
        raise EvidenceRefusedError(f"the ticket's PAC is none: {error}") from error
    return None, None


def _verified(name: RawName, attribute: bytes) -> bytes:
    """Return what the realm says; raises `EvidenceRefusedError` of what is not its."""
    try:
        found = get_name_attribute(name, attribute)
    except GSSError as error:
        # It names what it could not verify, and does not give it.
        raise EvidenceRefusedError(_NOT_VERIFIED) from error
    if not (found.authenticated and found.complete and found.values):
        raise EvidenceRefusedError(_NOT_VERIFIED)
    return found.values[0]
