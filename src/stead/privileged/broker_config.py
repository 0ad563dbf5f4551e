"""What the broker is told, by a file that only root may write.

    guard_uid = 65530
    socket = "/run/stead/broker"

    [services.notes]
    uid = 990
    gates = ["/run/stead/notes"]
    may = ["start", "worker", "open", "log_on"]
    open_roots = ["/srv/notes"]
    ticket_gates = ["/run/stead/notes-tickets"]

    [kerberos]
    keytab = "/etc/stead/broker.keytab"
    realms = ["EXAMPLE.COM"]

Each service has a uid of its own: who asks is known by that uid and by nothing that is
said. What is not known here is refused, a misspelt word above all: a bound that nobody
reads bounds nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stead.errors import UnsafeConfigurationError
from stead.model.system_ids import owner_of
from stead.privileged.system_uids import DEFAULT_GUARD_UID, DEFAULT_VERIFIER_UID

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PATH: Final = "/etc/stead/broker.toml"
DEFAULT_SOCKET: Final = "/run/stead/broker"
ACTS: Final = frozenset({"start", "worker", "open", "log_on"})
"""What a service may be allowed to ask for."""

MAPPINGS: Final = frozenset({"name", "auth_to_local"})
"""By which rule a principal is an account."""

_SHORTEST_SILENCE: Final = 5  # a monitor says something every other second
_MOST_MAPPED: Final = 32  # they travel in one small datagram
_LARGEST_UID: Final = 0xFFFF_FFFE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much there may be of everything; each is at least 1.

    Attributes:
        servers: connections of servers in all.
        servers_per_service: of one service.
        connections_per_minute: how often one service may connect.
        clients: of one server's connection.
        connections_per_client: of one uid among these.
        processes: of one server's connection.
        processes_per_client: of one uid among these.
        passwords_per_minute: how many one service may try.
        passwords_at_once: how many of one server's are looked at at once.
        lease_seconds: how long a client that came by password stays, unless renewed.
        open_seconds: how long an opening may take.
        tickets_at_once: how many tickets of one server's clients are looked at at once.
        tickets_per_client: of those that one uid shows.
        ticket_seconds: how long a client may take to show one.
        password_seconds: how long looking at a password may take.
        failure_seconds: when a wrong one is answered; whatever was wrong with it.
        ending_seconds: how long a keeper may take to end a tree, before that is done
            without it.
        silence_seconds: how long a monitor may be silent before it is ended, with all
            below it.
    """

    servers: int = 32
    servers_per_service: int = 4
    connections_per_minute: int = 60
    clients: int = 1000
    connections_per_client: int = 64
    processes: int = 512
    processes_per_client: int = 64
    passwords_per_minute: int = 20
    passwords_at_once: int = 4
    lease_seconds: int = 300
    open_seconds: int = 10
    tickets_at_once: int = 8
    tickets_per_client: int = 2
    ticket_seconds: int = 10
    password_seconds: int = 30
    failure_seconds: int = 3
    ending_seconds: int = 10
    silence_seconds: int = 60

    def __post_init__(self) -> None:
        """Refuse what bounds nothing; raises `UnsafeConfigurationError`."""
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if type(value) is not int or value < 1:
                raise UnsafeConfigurationError(f"`{each.name}` is a number from 1")
        if self.silence_seconds < _SHORTEST_SILENCE:
            raise UnsafeConfigurationError(
                f"`silence_seconds` is a number from {_SHORTEST_SILENCE}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service that may ask, by its uid.

    Attributes:
        name: what messages call it.
        uid: under which its servers run, and nothing else.
        gates: where its clients connect; absolute.
        ticket_gates: likewise, where they are who their Kerberos tickets say.
        mode: who may connect there, as permission bits.
        may: what it may ask for.
        open_roots: folders beneath which it may have files opened; absolute.
        mapped_groups: gids that it may say its clients have beside their own; never
            the system's.
    """

    name: str
    uid: int
    gates: tuple[str, ...] = ()
    ticket_gates: tuple[str, ...] = ()
    mode: int = 0o666
    may: frozenset[str] = field(default_factory=frozenset)
    open_roots: tuple[str, ...] = ()
    mapped_groups: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises `UnsafeConfigurationError`."""
        if type(self.uid) is not int or not 0 < self.uid <= _LARGEST_UID:
            raise _wrong(self.name, "`uid` is a number, and not 0")
        for path in (*self.all_gates, *self.open_roots):
            if not _is_plain(path):
                raise _wrong(self.name, f"`{path}` is no absolute path without `..`")
        if type(self.mode) is not int or self.mode & ~0o777:
            raise _wrong(self.name, "`mode` is no mode of a socket")
        unknown = self.may - ACTS
        if unknown:
            raise _wrong(self.name, f"`{min(unknown)}` is nothing that it may do")
        systems = [gid for gid in self.mapped_groups if owner_of(gid) is not None]
        if systems or len(self.mapped_groups) > _MOST_MAPPED:
            raise _wrong(self.name, "`mapped_groups` are few, and none is the system's")

    @property
    def all_gates(self) -> tuple[str, ...]:
        """Every gate, in the order of their numbers."""
        return (*self.gates, *self.ticket_gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kerberos:
    """By what tickets are checked, and whose they are.

    Attributes:
        keytab: the file of the broker's own keys; root's, and readable by nobody else.
        realms: whose principals are accounts of this host; no other's are anybody.
        mapping: `name`, and `alice@REALM` is account `alice`; or `auth_to_local`, and
            it is what the rules of `configuration` say.
        principal: whose key must have been used; empty for whichever `keytab` holds.
        configuration: the library's file.
        requires_pac: whether a ticket must say what its client's account is called.
        uid: as whom a ticket is looked at.
    """

    keytab: str
    realms: tuple[str, ...]
    mapping: str = "name"
    principal: str = ""
    configuration: str = "/etc/krb5.conf"
    requires_pac: bool = True
    uid: int = DEFAULT_VERIFIER_UID

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises `UnsafeConfigurationError`."""
        for path in (self.keytab, self.configuration):
            if not isinstance(path, str) or not _is_plain(path):
                raise _wrong("kerberos", f"`{path}` is no absolute path without `..`")
        if not all(self.realms) or not self.realms:
            raise _wrong("kerberos", "`realms` names whose principals are accounts")
        if self.mapping not in MAPPINGS or not isinstance(self.principal, str):
            what = "`principal` is a name, and `mapping` one of "
            raise _wrong("kerberos", what + ", ".join(sorted(MAPPINGS)))
        if type(self.requires_pac) is not bool:
            raise _wrong("kerberos", "`requires_pac` is true or false")
        if type(self.uid) is not int or not 0 < self.uid <= _LARGEST_UID:
            raise _wrong("kerberos", "`uid` is a number, and not 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """All of it.

    Attributes:
        services: by their uids.
        socket: where servers connect.
        guard_uid: the uid that is nobody.
        allowed_system_uids: system and service uids that may be clients; never 0.
        worker_modules: modules that workers find loaded; imported as root, so nobody
            but root names them.
        limits: how much there may be.
        kerberos: by what tickets are checked; None if none are.
    """

    services: Mapping[int, Service]
    socket: str = DEFAULT_SOCKET
    guard_uid: int = DEFAULT_GUARD_UID
    allowed_system_uids: frozenset[int] = frozenset()
    worker_modules: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    kerberos: Kerberos | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises `UnsafeConfigurationError`."""
        ids = (self.guard_uid, *self.allowed_system_uids)
        if any(type(uid) is not int or not 0 < uid <= _LARGEST_UID for uid in ids):
            raise UnsafeConfigurationError("a uid is a number, and never 0")
        nobodys = {self.guard_uid} | ({self.kerberos.uid} if self.kerberos else set())
        if not nobodys.isdisjoint({*self.services, *self.allowed_system_uids}):
            raise UnsafeConfigurationError(
                "the guard's uid is nobody's, and so is the verifiers'"
            )
        if self.kerberos is not None and self.kerberos.uid == self.guard_uid:
            raise UnsafeConfigurationError("a verifier is not the guard")
        has_ticket_gates = any(one.ticket_gates for one in self.services.values())
        if has_ticket_gates and self.kerberos is None:
            raise UnsafeConfigurationError(
                "there are `ticket_gates`, and nothing to check tickets by",
                advice="add `[kerberos]` with its `keytab` and `realms`",
            )
        gates = [path for one in self.services.values() for path in one.all_gates]
        if len({*gates, self.socket}) < len(gates) + 1:
            raise UnsafeConfigurationError("two sockets have one path")


def _is_plain(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def _wrong(service: str, why: str) -> UnsafeConfigurationError:
    return UnsafeConfigurationError(f"`{service}`: {why}")
