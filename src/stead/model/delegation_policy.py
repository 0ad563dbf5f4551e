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

What shows a password to the machine itself is a way of its own, and named so:
`postgres+scram://db.example`, `smb+ntlm://files.example`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final, Self

from stead.errors import InvalidRequestError
from stead.model.arguments import several
from stead.model.limits import Host

GSS: Final = "gss"
"""What is reached by a service's name alone, over whatever its program connected."""

PORTS: Final[Mapping[str, int]] = MappingProxyType({
    "http": 80, "https": 443, "smb": 445, "postgres": 5432,
})  # fmt: skip
"""What can be reached, and where it listens unless somebody says otherwise."""


class PasswordWay(StrEnum):
    """How a machine is shown that somebody knows a password, with no realm between."""

    SCRAM = "scram"
    NTLM = "ntlm"

    @property
    def protocol(self) -> str:
        """Which protocol it belongs to."""
        return "postgres" if self is PasswordWay.SCRAM else "smb"

    @property
    def mechanism(self) -> str:
        """What it is, as records name it."""
        return "scram-sha-256" if self is PasswordWay.SCRAM else "ntlmv2"


class PasswordOrigin(StrEnum):
    """What a password was handed to this server for."""

    THIS_SERVER = "it was typed for this server"
    OTHER_MACHINES = "it was handed in for other machines, and names none"
    THAT_MACHINE = "it was handed in for that machine"


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

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, and nothing goes over a wire."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

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

    def by(self, way: PasswordWay) -> str:
        """Return how a policy names it for passwords that are shown this way."""
        return f"{way.protocol}+{way}{str(self).removeprefix(self.protocol)}"

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
        by_password: which of them may be shown a password, and how.
    """

    targets: frozenset[NetworkTarget] | None
    by_password: frozenset[tuple[PasswordWay, NetworkTarget]] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the policy that names these and no others.

        Raises:
            InvalidRequestError: one is no target, or they are one text.
        """
        plain, ways = [], []
        for text in several("targets", texts, str, 'write `["https://..."]`'):
            protocol, plus, rest = text.partition("+")
            way, mark, place = rest.partition("://")
            if plus and mark and "://" not in protocol:
                target = NetworkTarget.read(f"{protocol}://{place}")
                ways.append((_way(protocol, way), target))
            else:
                plain.append(NetworkTarget.read(text))
        return cls(frozenset(plain), frozenset(ways))

    def allows(self, target: NetworkTarget) -> bool:
        """Tell whether a service is among them.

        A `gss` target that is named without a port is meant on all of them. What is
        named for passwords is not named for tickets.
        """
        if self.targets is None or target in self.targets:
            return True
        anywhere = (
            NetworkTarget(target.protocol, target.host, 0, target.service)
            if target.protocol == GSS
            else target
        )
        return anywhere in self.targets

    def why_no_password(
        self,
        target: NetworkTarget,
        way: PasswordWay,
        origin: PasswordOrigin,
        *,
        is_clear: bool = False,
    ) -> str:
        """Return why a machine must not be shown a password; nothing if it may.

        Somebody has to have named the machine for that password: whoever handed it in,
        or the operator.

        1. The operator names the machine and the way: then any password goes that was
           handed in for others, and by SCRAM the one typed for this server, too.
        2. A password that was handed in for that one machine goes there by SCRAM.
        3. Where TLS does not protect it, it goes to this machine alone, and named so.

        Args:
            target: the service.
            way: how.
            origin: what the password was handed in for.
            is_clear: whether nothing protects the channel.
        """
        is_named = (way, target) in self.by_password
        if is_clear and not (is_named and target.is_loopback):
            return "without TLS a password goes to this machine alone, and named so"
        if way is PasswordWay.NTLM and origin is PasswordOrigin.THIS_SERVER:
            return f"{origin}, and is not shown by NTLM to any other"
        if is_named:
            return ""
        if way is PasswordWay.NTLM:
            return "nothing names that machine for NTLM"
        if origin is not PasswordOrigin.THAT_MACHINE:
            return str(origin)
        return "" if self.allows(target) else "nothing names that machine"

    def __str__(self) -> str:
        if self.targets is None:
            return "every service"
        ways = [target.by(way) for way, target in self.by_password]
        return ", ".join(sorted([*map(str, self.targets), *ways])) or "none"


def _way(protocol: str, word: str) -> PasswordWay:
    for way in PasswordWay:
        if (way.protocol, way.value) == (protocol, word):
            return way
    raise InvalidRequestError(
        f"`{protocol[:20]!a}+{word[:20]!a}` is no way to show a password",
        advice="those are `postgres+scram` and `smb+ntlm`; Basic over HTTP hands it "
        "over to whoever answers, and is none",
    )


UNCONSTRAINED: Final = DelegationPolicy(None)
"""Every service: what limits a server is what its clients hand over."""
