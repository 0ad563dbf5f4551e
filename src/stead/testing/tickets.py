"""How programs are told of a private Kerberos domain, and how somebody gets a ticket.

It is what `stead.testing.realm` and `stead.testing.domain` have in common. Nothing of
it lies under /etc: `krb5.conf` stands in the domain's own folder, and each program is
told of it by its environment.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from typing import Final, Self

from stead.errors import LogonFailureError
from stead.testing.private_server import PATH, PrivateServer

_KINIT: Final = "kinit"
_SECONDS: Final = 60.0

_CLIENT: Final = """\
[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 forwardable = true
 noaddresses = true
 udp_preference_limit = 1
[realms]
 {realm} = {{
  kdc = {address}:{port}
 }}
{others}[domain_realm]
 localhost = {realm}
 {address} = {realm}
 {domain} = {realm}
 .{domain} = {realm}
{hosts}{ways}"""
_OTHER: Final = """\
 {realm} = {{
  kdc = {address}
 }}
"""
_HOSTS: Final = """\
 {domain} = {realm}
 .{domain} = {realm}
"""
_WAY: Final = " {client} = {{\n{steps} }}\n"
_STEP: Final = "  {service} = {between}\n"


@dataclass(frozen=True, slots=True)
class Way:
    """How clients of one realm come to services of another ([capaths], krb5.conf(5)).

    Attributes:
        client: the realm of the clients.
        service: the realm of the services.
        between: the realms between, in the order in which they are come through; none
            if the two have a key of their own.
    """

    client: str
    service: str
    between: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The other realms that a realm's programs know.

    Attributes:
        centres: where their KDCs listen, `address:port` by the realm's name.
        ways: how clients come from one to another.
    """

    centres: Mapping[str, str] = field(default_factory=dict[str, str])
    ways: frozenset[Way] = frozenset()

    def with_way(self, way: Way, centres: Mapping[str, str]) -> Self:
        """Return them with a way beside the others, and the realms on it."""
        return replace(
            self, centres={**self.centres, **centres}, ways=self.ways | {way}
        )

    def written(self) -> dict[str, str]:
        """Return the parts of `krb5.conf` that tell of them."""
        others = "".join(
            _OTHER.format(realm=name, address=address)
            for name, address in self.centres.items()
        )
        hosts = "".join(
            _HOSTS.format(realm=name, domain=name.lower()) for name in self.centres
        )
        return {"others": others, "hosts": hosts, "ways": self._ways_written()}

    def _ways_written(self) -> str:
        steps: dict[str, str] = {}
        for way in sorted(self.ways, key=lambda way: (way.client, way.service)):
            for between in way.between or (".",):
                step = _STEP.format(service=way.service, between=between)
                steps[way.client] = steps.get(way.client, "") + step
        told = [_WAY.format(client=name, steps=text) for name, text in steps.items()]
        return "".join(["[capaths]\n", *told]) if told else ""


class TicketDomain(PrivateServer):
    """A domain that gives tickets, as its clients and services see it.

    Attributes:
        name: the realm's name, in capitals.
        folder: everything of it; others may pass it and read `krb5.conf`, no more.
    """

    def __init__(self, name: str) -> None:
        """Describe it; nothing is made before `with`."""
        super().__init__()
        self.name: Final = name
        self._surroundings = Surroundings()

    @property
    def configuration(self) -> Path:
        """The `krb5.conf` by which clients and services find the KDC."""
        return self.folder / "krb5.conf"

    def environment(self, cache: str = "MEMORY:none") -> dict[str, str]:
        """Return the variables by which a program finds the domain, and nothing else.

        Args:
            cache: the credential cache that it may use.
        """
        return {
            "KRB5_CONFIG": str(self.configuration),
            "KRB5CCNAME": cache,
            "KRB5_KTNAME": "FILE:/nonexistent",
            "KRB5_CLIENT_KTNAME": "FILE:/nonexistent",
        }

    def log_on(
        self, name: str, password: str, *, owner: int | None = None, options: str = ""
    ) -> str:
        """Get somebody a ticket; return the credential cache that holds it.

        Args:
            name: the principal.
            password: its password.
            owner: whose uid the cache is; ours if not given.
            options: as kinit(1) knows them, such as `-l 2s`.

        Raises:
            LogonFailureError: the KDC refuses.
        """
        file = self.folder / f"{token_hex(8)}.ccache"
        done = subprocess.run(
            [_KINIT, "-c", f"FILE:{file}", *options.split(), f"{name}@{self.name}"],
            input=f"{password}\n", env={"PATH": PATH, **self.environment()}, text=True,
            capture_output=True, check=False, timeout=_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise LogonFailureError(advice=done.stderr.strip())
        if owner is not None:
            os.chown(file, owner, owner)
        return f"FILE:{file}"

    def _write_configuration(self, address: str, port: int) -> None:
        self.configuration.write_text(
            _CLIENT.format(
                realm=self.name,
                address=address,
                port=port,
                domain=self.name.lower(),
                **self._surroundings.written(),
            ),
            encoding="utf-8",
        )
        self.configuration.chmod(0o644)
