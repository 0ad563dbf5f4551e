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
import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

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

_LONGEST: Final = 1 << 20
_SHORTEST_SILENCE: Final = 5  # a monitor says something every other second
_MOST_MAPPED: Final = 32  # they travel in one small datagram
_LARGEST_UID: Final = 0xFFFF_FFFE
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_EVERYBODY_ELSE: Final = stat.S_IRWXG | stat.S_IRWXO

_T = TypeVar("_T")


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


def load(path: str | os.PathLike[str], *, owner: int = 0) -> BrokerConfig:
    """Read the configuration.

    1. Nobody but its owner can change the file, or any folder above it.
    2. What is read is what was looked at: one descriptor, no link at its end.
    3. Every word is known, and has the kind of value that belongs to it.
    4. The broker's keys are nobody else's, and the rules for names are root's.

    Args:
        path: absolute.
        owner: who may own the file and the folders, beside root.

    Raises:
        UnsafeConfigurationError: one of these does not hold; it says which.
    """
    place = Path(path)
    if not place.is_absolute():
        raise UnsafeConfigurationError(f"`{place}` is no absolute path")
    _require_safe_folders(place, owner)
    try:
        number = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UnsafeConfigurationError(
            f"`{place}` cannot be read: {error.strerror}"
        ) from error
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode):
        os.close(number)
        raise UnsafeConfigurationError(f"`{place}` is no file")
    with os.fdopen(number, "rb") as file:
        _require_safe(place, status, owner)
        text = file.read(_LONGEST)
    try:
        config = from_document(tomllib.loads(text.decode()))
    except (ValueError, RecursionError) as error:
        raise UnsafeConfigurationError(f"`{place}` cannot be read: {error}") from error
    if config.kerberos is not None:
        _require_kerberos(config.kerberos, owner)
    return config


def _require_kerberos(kerberos: Kerberos, owner: int) -> None:
    """Refuse keys that others have, and rules that others write."""
    keytab = Path(kerberos.keytab)
    try:
        status = keytab.stat()
    except OSError as error:
        raise UnsafeConfigurationError(
            f"`{keytab}` cannot be read: {error.strerror}",
            advice="make it by `kadmin ktadd -k`, or leave `[kerberos]` out",
        ) from error
    _require_safe(keytab, status, owner)
    if status.st_mode & _EVERYBODY_ELSE:
        raise UnsafeConfigurationError(
            f"others may read `{keytab}`", advice=f"chmod 0600 {keytab}"
        )
    rules = Path(kerberos.configuration)
    if rules.exists():
        _require_safe(rules, rules.stat(), owner)
    for place in (keytab, rules):
        _require_safe_folders(place, owner)


def _require_safe_folders(place: Path, owner: int) -> None:
    folder = place.parent.resolve()
    for each in (folder, *folder.parents):
        _require_safe(each, each.stat(), owner)


def from_document(document: Mapping[str, Any]) -> BrokerConfig:
    """Return the configuration that a parsed file holds; raises as `load`."""
    found = dict(document)
    services = {}
    for name, words in _table(found.pop("services", {}), "services").items():
        service = _service(name, _table(words, name))
        if service.uid in services:
            raise _wrong(name, f"another service has uid {service.uid}")
        services[service.uid] = service
    if not services:
        raise UnsafeConfigurationError(
            "no service is named", advice="add `[services.NAME]` with its `uid`"
        )
    limits = _made(Limits, _table(found.pop("limits", {}), "limits"), "limits")
    words = {
        "services": MappingProxyType(services),
        "limits": limits,
        "allowed_system_uids": frozenset(
            _list(found.pop("allowed_system_uids", []), int, "allowed_system_uids")
        ),
        "worker_modules": _list(found.pop("worker_modules", []), str, "worker_modules"),
    }
    if "kerberos" in found:
        told = _table(found.pop("kerberos"), "kerberos")
        told["realms"] = _list(told.pop("realms", []), str, "realms")
        words["kerberos"] = _made(Kerberos, told, "kerberos")
    for name, kind in (("socket", str), ("guard_uid", int)):
        if name in found and type(found[name]) is not kind:
            raise UnsafeConfigurationError(f"`{name}` is something else")
    return _made(BrokerConfig, words | found, "the configuration")


def _service(name: str, words: dict[str, Any]) -> Service:
    lists = {
        each: _list(words.pop(each, []), str, each)
        for each in ("gates", "ticket_gates", "open_roots", "may")
    }
    groups = frozenset(_list(words.pop("mapped_groups", []), int, "mapped_groups"))
    sets = {"may": frozenset(lists["may"]), "mapped_groups": groups}
    return _made(Service, {**words, **lists, **sets, "name": name}, name)


def _made(kind: type[_T], words: Mapping[str, Any], where: str) -> _T:
    known = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]  # each is a dataclass
    for name in words:
        if name not in known:
            raise UnsafeConfigurationError(f"`{name}` means nothing in {where}")
    for name, each in known.items():
        has_default = {each.default, each.default_factory} != {dataclasses.MISSING}
        if name not in words and not has_default:
            raise UnsafeConfigurationError(f"`{where}` lacks `{name}`")
    return kind(**words)


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnsafeConfigurationError(f"`{name}` is no table")
    return dict(value)


def _list(value: object, kind: type[_T], name: str) -> tuple[_T, ...]:
    if not isinstance(value, list) or any(type(each) is not kind for each in value):
        raise UnsafeConfigurationError(f"`{name}` is no list of {kind.__name__}")
    return tuple(value)


def _is_plain(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def _wrong(service: str, why: str) -> UnsafeConfigurationError:
    return UnsafeConfigurationError(f"`{service}`: {why}")


def _require_safe(path: Path, status: os.stat_result, owner: int) -> None:
    if status.st_uid not in {0, owner}:
        raise UnsafeConfigurationError(
            f"`{path}` belongs to uid {status.st_uid}", advice=f"chown root {path}"
        )
    # In a sticky folder others may add names, but neither move nor remove ours.
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & _OTHERS and not is_sticky:
        raise UnsafeConfigurationError(
            f"others may write `{path}`", advice=f"chmod go-w {path}"
        )
