"""How programs are told of a private Kerberos domain, and how somebody gets a ticket.

It is what `stead.testing.realm` and `stead.testing.domain` have in common. Nothing of
it lies under /etc: `krb5.conf` stands in the domain's own folder, and each program is
told of it by its environment.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from secrets import token_hex
from typing import Final

from stead.errors import LogonFailureError
from stead.testing.private_server import PATH, PrivateServer

_KINIT: Final = "kinit"
_SECONDS: Final = 30.0

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
[domain_realm]
 localhost = {realm}
 {address} = {realm}
 {domain} = {realm}
 .{domain} = {realm}
"""


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
                realm=self.name, address=address, port=port, domain=self.name.lower()
            ),
            encoding="utf-8",
        )
        self.configuration.chmod(0o644)
