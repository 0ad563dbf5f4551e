"""Which services of other machines a server may reach as its clients, as a value.

Win32 has it as an attribute of the service's account (msDS-AllowedToDelegateTo). A
target is written as a URL, and means that one service: no pattern, no whole machine.

>>> policy = DelegationPolicy.of(["https://files.example", "postgres://db.example"])
>>> policy.allows(NetworkTarget("postgres", "db.example", 5432))
True
>>> policy.allows(NetworkTarget("postgres", "other.example", 5432))
False
>>> str(NetworkTarget.read("smb://Files.Example"))
'smb://files.example:445'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

from stead.errors import InvalidRequestError
from stead.model.limits import Host

GSS: Final = "gss"
"""What is reached by a service's name alone, over whatever its program connected."""

PORTS: Final[Mapping[str, int]] = MappingProxyType({
    "http": 80, "https": 443, "smb": 445, "postgres": 5432,
})  # fmt: skip
"""What can be reached, and where it listens unless somebody says otherwise."""


@dataclass(frozen=True, slots=True)
class NetworkTarget:
    """A service of another machine.

    Attributes:
        protocol: one of `PORTS`, or `gss`.
        host: the machine, as it is called; compared without regard to case.
        port: where it listens; 0 for `gss`, where its program does not say.
        service: for `gss`, the service's name, such as `ldap`.
    """

    protocol: str
    host: str
    port: int
    service: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no service; raises `InvalidRequestError`."""
        is_gss = self.protocol == GSS
        if not is_gss and self.protocol not in PORTS:
            raise InvalidRequestError(
                f"`{self.protocol[:20]!a}` is no protocol of a second hop",
                advice=f"those are {', '.join(PORTS)} and {GSS}",
            )
        if is_gss is not self.service.isidentifier():
            raise InvalidRequestError(
                "a service is named for `gss`, and there alone",
                advice="write `gss://ldap@dc1.example`",
            )
        name = Host(self.host, self.port if self.port or not is_gss else 1).name
        if set(name) & set("/@?#\\[]"):
            raise InvalidRequestError(f"`{name[:80]!a}` is no host")
        object.__setattr__(self, "host", name)

    @property
    def machine(self) -> Host | None:
        """Host and port, as limits name them; None where the port is not known."""
        return Host(self.host, self.port) if self.port else None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `protocol://host[:port]`, or `gss://service@host[:port]`.

        Raises:
            InvalidRequestError: it is neither.
        """
        protocol, mark, rest = text.partition("://")
        service, at, place = rest.rpartition("@")
        host, colon, port = _split(place)
        if not mark or (colon and not port.isdecimal()) or bool(at) != bool(service):
            raise InvalidRequestError(
                f"`{text[:80]!a}` is no target",
                advice="write it as `https://files.example:8443`, without a path",
            )
        number = int(port[:6]) if port else PORTS.get(protocol, 0)
        return cls(protocol, host, number, service)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        who = f"{self.service}@" if self.service else ""
        where = f":{self.port}" if self.port else ""
        return f"{self.protocol}://{who}{host}{where}"


def _split(place: str) -> tuple[str, str, str]:
    """Return host, colon and port; an IPv6 address stands in brackets."""
    if place.startswith("["):
        host, end, rest = place[1:].partition("]")
        return (host if end else ""), rest[:1], rest.removeprefix(":")
    host, colon, port = place.partition(":")
    return host, colon, port


@dataclass(frozen=True, slots=True)
class DelegationPolicy:
    """Which services a server may reach as its clients.

    Attributes:
        targets: those, each by itself; None for all (Windows: unconstrained).
    """

    targets: frozenset[NetworkTarget] | None

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the policy that names these and no others.

        Raises:
            InvalidRequestError: one is no target, or they are one text.
        """
        if isinstance(texts, str):
            raise InvalidRequestError(
                "targets are named one by one", advice='write `["https://..."]`'
            )
        return cls(frozenset(map(NetworkTarget.read, texts)))

    def allows(self, target: NetworkTarget) -> bool:
        """Tell whether a service is among them.

        A `gss` target that is named without a port is meant on all of them.
        """
        if self.targets is None or target in self.targets:
            return True
        anywhere = (
            NetworkTarget(target.protocol, target.host, 0, target.service)
            if target.protocol == GSS
            else target
        )
        return anywhere in self.targets

    def __str__(self) -> str:
        if self.targets is None:
            return "every service"
        return ", ".join(sorted(map(str, self.targets))) or "none"


UNCONSTRAINED: Final = DelegationPolicy(None)
"""Every service: what limits a server is what its clients hand over."""
