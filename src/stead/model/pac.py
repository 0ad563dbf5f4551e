"""What a Kerberos ticket says about its client, as values ([MS-PAC] 2).

**A `Pac` is hearsay.** It is what somebody wrote into a ticket; that a domain
controller wrote it is proved by signatures that nothing here verifies. The Kerberos
library verifies them; only then may anybody look at `Pac.token_parts`, which still
leaves out what no ticket may bring into a machine ([MS-PAC] 4.1.2.2).

Times are FILETIMEs: ints, in 100 ns since 1601; 0 and 0x7FFFFFFFFFFFFFFF mean never.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import KEEP, IntEnum, IntFlag

from stead.errors import InvalidPacError
from stead.model.claim import Claim
from stead.model.delegation_info import DelegationInfo
from stead.model.guid import Guid
from stead.model.pac_sids import may_cross
from stead.model.sid import Sid
from stead.model.token import TokenGroup


class PacBufferType(IntEnum):
    """What a buffer of a PAC holds ([MS-PAC] 2.4, ulType)."""

    LOGON_INFO = 1
    CREDENTIALS = 2
    SERVER_CHECKSUM = 6
    KDC_CHECKSUM = 7
    CLIENT_INFO = 10
    DELEGATION_INFO = 11
    UPN_DNS_INFO = 12
    CLIENT_CLAIMS = 13
    DEVICE_INFO = 14
    DEVICE_CLAIMS = 15
    TICKET_CHECKSUM = 16
    ATTRIBUTES_INFO = 17
    REQUESTOR_SID = 18
    EXTENDED_KDC_CHECKSUM = 19
    REQUESTOR_GUID = 20


class UserFlags(IntFlag, boundary=KEEP):
    """How the logon went ([MS-PAC] 2.5, UserFlags)."""

    NONE = 0
    GUEST = 0x1
    EXTRA_SIDS = 0x20
    RESOURCE_GROUPS = 0x200


class PacAttributes(IntFlag, boundary=KEEP):
    """How the client came by the PAC ([MS-PAC] 2.14, Flags)."""

    NONE = 0
    WAS_REQUESTED = 0x1
    WAS_GIVEN_IMPLICITLY = 0x2


@dataclass(frozen=True, slots=True)
class LogonInfo:
    """Who the client is (KERB_VALIDATION_INFO, [MS-PAC] 2.5).

    Attributes:
        user_sid: the account.
        groups: its domain groups, the primary one among them, then the extra SIDs.
        resource_groups: its groups in the resource's domain.
        domain_sid: the account's domain; None where the account is an extra SID.
        primary_group: None where there is no domain.
        account_name: the account's name (EffectiveName).
        full_name: the person's name.
        domain_name: the domain's NetBIOS name.
        logon_server: the domain controller's NetBIOS name.
        user_flags: how the logon went.
        account_control: the account's bits ([MS-SAMR] 2.2.1.12).
        logon_time: when the account logged on.
        logoff_time: when its time ends.
        kick_off_time: when it is to be disconnected.
    """

    user_sid: Sid
    groups: tuple[TokenGroup, ...] = ()
    resource_groups: tuple[TokenGroup, ...] = ()
    domain_sid: Sid | None = None
    primary_group: Sid | None = None
    account_name: str = ""
    full_name: str = ""
    domain_name: str = ""
    logon_server: str = ""
    user_flags: UserFlags = UserFlags.NONE
    account_control: int = 0
    logon_time: int = 0
    logoff_time: int = 0
    kick_off_time: int = 0


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The machine that the client came from (PAC_DEVICE_INFO, [MS-PAC] 2.12).

    Attributes:
        device_sid: the machine's account.
        groups: its groups, the primary one among them.
    """

    device_sid: Sid
    groups: tuple[TokenGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class UpnInfo:
    """The client's names (UPN_DNS_INFO, [MS-PAC] 2.10).

    Attributes:
        upn: the user principal name.
        dns_domain: the domain's DNS name.
        is_constructed: the account has no UPN of its own, and this one was made up.
        sam_name: the account's SAM name, where the extended form gives one.
        sid: the account, where the extended form gives it.
    """

    upn: str
    dns_domain: str
    is_constructed: bool = False
    sam_name: str | None = None
    sid: Sid | None = None


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The ticket's client (PAC_CLIENT_INFO, [MS-PAC] 2.7).

    Attributes:
        name: the client's name in the ticket.
        authenticated_at: when the ticket-granting ticket was asked for.
    """

    name: str
    authenticated_at: int


@dataclass(frozen=True, slots=True)
class PacSignature:
    """A signature, **not verified** (PAC_SIGNATURE_DATA, [MS-PAC] 2.8).

    Attributes:
        kind: whose signature, over what.
        checksum_type: the Kerberos checksum type, which may be negative.
        checksum: the bytes.
        rodc_identifier: which read-only domain controller made it, or None.
    """

    kind: PacBufferType
    checksum_type: int
    checksum: bytes
    rodc_identifier: int | None = None


@dataclass(frozen=True, slots=True)
class PacBuffer:
    """A buffer that is kept as it came: encrypted, or of a type that is not known."""

    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TokenParts:
    """What a PAC gives to a token; the names are those of `AccessToken`."""

    user: Sid
    groups: tuple[TokenGroup, ...]
    primary_group: Sid | None
    user_claims: tuple[Claim, ...]
    device_groups: tuple[TokenGroup, ...]
    device_claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Pac:
    """The authorization data of a ticket, **not verified** ([MS-PAC] 2.3).

    Attributes:
        logon: who the client is.
        client: the ticket's client, if said.
        names: the client's names, if said.
        delegation: whom its identity came through, if said.
        device: the machine that the client came from, if said.
        user_claims: attributes of the client.
        device_claims: attributes of that machine.
        attributes: how the client came by the PAC, if said.
        requestor_sid: who asked for the ticket, if said.
        requestor_guid: that one's directory object, if said.
        signatures: the signatures, in the order in which they stand.
        other_buffers: credentials and what is of no known type.
    """

    logon: LogonInfo
    client: ClientInfo | None = None
    names: UpnInfo | None = None
    delegation: DelegationInfo | None = None
    device: DeviceInfo | None = None
    user_claims: tuple[Claim, ...] = ()
    device_claims: tuple[Claim, ...] = ()
    attributes: PacAttributes | None = None
    requestor_sid: Sid | None = None
    requestor_guid: Guid | None = None
    signatures: tuple[PacSignature, ...] = ()
    other_buffers: tuple[PacBuffer, ...] = ()

    @property
    def user_sid(self) -> Sid:
        """The account."""
        return self.logon.user_sid

    @property
    def groups(self) -> tuple[TokenGroup, ...]:
        """Its domain groups, the primary one among them, then the extra SIDs."""
        return self.logon.groups

    @property
    def group_sids(self) -> tuple[Sid, ...]:
        """The SIDs of `groups`."""
        return tuple(group.sid for group in self.logon.groups)

    @property
    def resource_groups(self) -> tuple[TokenGroup, ...]:
        """Its groups in the resource's domain."""
        return self.logon.resource_groups

    @property
    def resource_group_sids(self) -> tuple[Sid, ...]:
        """The SIDs of `resource_groups`."""
        return tuple(group.sid for group in self.logon.resource_groups)

    @property
    def device_groups(self) -> tuple[TokenGroup, ...]:
        """The groups of the machine that the client came from."""
        return () if self.device is None else self.device.groups

    @property
    def upn(self) -> str | None:
        """The user principal name, if said."""
        return None if self.names is None else self.names.upn

    @property
    def dns_domain(self) -> str | None:
        """The domain's DNS name, if said."""
        return None if self.names is None else self.names.dns_domain

    @property
    def sam_name(self) -> str | None:
        """The account's SAM name, if said."""
        return None if self.names is None else self.names.sam_name

    def token_parts(self, *, local_domain: Sid | None = None) -> TokenParts:
        """Return what a token may take from this PAC, **once it is verified**.

        SIDs that no domain may hand to a machine are left out, and so are those of the
        machine's own account domain ([MS-PAC] 4.1.2.2, member boundary).

        Args:
            local_domain: the machine's own account domain, if it has one.

        Raises:
            InvalidPacError: the user itself would be left out.
        """
        if not may_cross(self.user_sid, local_domain=local_domain):
            raise InvalidPacError(f"`{self.user_sid}` cannot be a ticket's user")
        primary = self.logon.primary_group
        if primary is not None and not may_cross(primary, local_domain=local_domain):
            primary = None
        device = () if self.device is None else (TokenGroup(self.device.device_sid),)
        return TokenParts(
            user=self.user_sid,
            groups=_crossing(self.groups + self.resource_groups, local_domain),
            primary_group=primary,
            user_claims=self.user_claims,
            device_groups=_crossing(device + self.device_groups, local_domain),
            device_claims=self.device_claims,
        )


def _crossing(
    groups: tuple[TokenGroup, ...], local_domain: Sid | None
) -> tuple[TokenGroup, ...]:
    return tuple([g for g in groups if may_cross(g.sid, local_domain=local_domain)])
