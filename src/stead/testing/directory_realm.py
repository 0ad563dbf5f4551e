"""A Kerberos realm whose principals are kept in a directory: for delegation by name.

    with DirectoryRealm() as realm:
        keytab = realm.add_service("HTTP/front.stead.test")
        realm.add_service("HTTP/back.stead.test", keytab=keytab)
        realm.allow_delegation("HTTP/front.stead.test", ["HTTP/back.stead.test"])

MIT's KDC answers S4U2Proxy ([MS-SFU] 3.2.5.2) only where its database can say to whom a
service may delegate (`krbAllowedToDelegateTo`), and its plain one cannot. So a slapd of
the realm's own keeps the principals, on a local socket in the realm's folder. In a test
the fixture `delegating_realm` gives one; a plain `Realm` is up sooner.

It needs the programs of Debian's slapd, ldap-utils and krb5-kdc-ldap beside those that
`stead.testing.realm` names, and no root.
"""

from __future__ import annotations

import gzip
import shutil
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex
from typing import Final

from stead.errors import EnforcementUnavailableError
from stead.testing.private_server import PATH, end, keep
from stead.testing.realm import Realm

_PROGRAMS: Final = ("slapd", "ldapmodify", "kdb5_ldap_util")
_SCHEMAS: Final = Path("/etc/ldap/schema")
_KERBEROS_SCHEMA: Final = Path("/usr/share/doc/krb5-kdc-ldap/kerberos.schema.gz")
_BASE: Final = "dc=stead,dc=test"
_ADMINISTRATOR: Final = f"cn=admin,{_BASE}"
_CONTAINER: Final = f"cn=krb,{_BASE}"
_SECONDS: Final = 60.0
_PAUSE: Final = 0.005

_KEEP: Final = 'slapd -d 0 -f "$1" -h "$2" & slapd=$!; read -r _; kill $slapd; wait'

_SLAPD: Final = """\
include {schemas}/core.schema
include {schemas}/cosine.schema
include {folder}/kerberos.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
database mdb
suffix "{base}"
rootdn "{administrator}"
rootpw {password}
dbnosync
directory {folder}/directory
index objectClass,krbPrincipalName eq
"""
_DATABASE: Final = """\
  db_library = kldap
  ldap_kerberos_container_dn = {container}
  ldap_kdc_dn = {administrator}
  ldap_kadmind_dn = {administrator}
  ldap_service_password_file = {folder}/ldap.stash
  ldap_servers = {uri}"""
_ROOT: Final = f"""\
dn: {_BASE}
changetype: add
objectClass: domain
dc: {_BASE.split(",", maxsplit=1)[0].removeprefix("dc=")}
"""
_ALLOWED: Final = "krbAllowedToDelegateTo"
_OK_TO_IMPERSONATE: Final = "+ok_to_auth_as_delegate"


class DirectoryRealm(Realm):
    """A realm whose services may be allowed to delegate, from `with` to its end."""

    def __init__(self, name: str = "STEAD.TEST") -> None:
        """Describe it; nothing is made before `with`.

        Args:
            name: in capitals, as realms are written.
        """
        super().__init__(name)
        self._slapd: subprocess.Popen[bytes] | None = None
        self._password: Final = token_hex(16)

    def allow_delegation(
        self, service: str, targets: Iterable[str], *, without_password: bool = True
    ) -> None:
        """Say at which services one may act for its clients, and at no others.

        Args:
            service: which one, such as `HTTP/front.stead.test`.
            targets: names of services.
            without_password: whether it may do so for clients who showed it nothing
                (S4U2Self, protocol transition).
        """
        values = "".join(f"{_ALLOWED}: {name}@{self.name}\n" for name in targets)
        self._modify(
            f"dn: krbPrincipalName={service}@{self.name},cn={self.name},{_CONTAINER}\n"
            f"changetype: modify\nreplace: {_ALLOWED}\n{values}"
        )
        sign = "+" if without_password else "-"
        self._administer(f'modprinc {sign}{_OK_TO_IMPERSONATE[1:]} "{service}"')

    # --- how it is made -----------------------------------------------------------

    @property
    def _uri(self) -> str:
        path = str(self._secrets / "ldapi")
        return "ldapi://" + urllib.parse.quote(path, safe="")

    def _stop(self) -> None:
        super()._stop()
        slapd, self._slapd = self._slapd, None
        end(slapd)

    def _database(self) -> str:
        return _DATABASE.format(
            container=_CONTAINER,
            administrator=_ADMINISTRATOR,
            folder=self._secrets,
            uri=self._uri,
        )

    def _create(self) -> None:
        _require_programs()
        self._start_directory()
        self._modify(_ROOT)
        stash, own = str(self._secrets / "ldap.stash"), f"{self._password}\n"
        as_administrator = ["kdb5_ldap_util", "-D", _ADMINISTRATOR, "-H", self._uri]
        self._run(
            [*as_administrator, "stashsrvpw", "-f", stash, _ADMINISTRATOR], own * 3
        )
        self._run(
            [*as_administrator, "create", "-subtrees", _BASE, "-r", self.name, "-s",
             "-P", token_hex(16)], own,
        )  # fmt: skip

    def _start_directory(self) -> None:
        folder = self._secrets
        (folder / "directory").mkdir()
        schema = gzip.decompress(_KERBEROS_SCHEMA.read_bytes())
        (folder / "kerberos.schema").write_bytes(schema)
        (folder / "password").touch(mode=0o600)
        (folder / "password").write_text(self._password, encoding="utf-8")
        configuration = folder / "slapd.conf"
        configuration.write_text(
            _SLAPD.format(
                schemas=_SCHEMAS,
                folder=folder,
                base=_BASE,
                administrator=_ADMINISTRATOR,
                password=self._password,
            ),
            encoding="utf-8",
        )
        self._slapd = keep(
            _KEEP, str(configuration), self._uri, variables=self._variables()
        )
        deadline = time.monotonic() + _SECONDS
        while not _listens(folder / "ldapi"):
            if time.monotonic() > deadline:
                raise EnforcementUnavailableError("slapd does not start")
            time.sleep(_PAUSE)

    def _modify(self, ldif: str) -> None:
        self._run(
            ["ldapmodify", "-x", "-H", self._uri, "-D", _ADMINISTRATOR, "-y",
             str(self._secrets / "password")], ldif,
        )  # fmt: skip


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _require_programs() -> None:
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=PATH)]
    if missing or not _KERBEROS_SCHEMA.exists():
        raise EnforcementUnavailableError(
            f"a realm needs `{(*missing, _KERBEROS_SCHEMA)[0]}`, which is not there",
            advice="apt-get install slapd ldap-utils krb5-kdc-ldap",
        )
