"""An Active Directory domain of a test run's own: a real domain controller, Samba's.

    with Domain() as domain:
        cache = domain.log_on("alice", domain.password_of("alice"))
        keytab = domain.add_service("notes", "HTTP/localhost", delegates_to=["cifs/x"])
        subprocess.run([...], env={**os.environ, **domain.environment(cache)})

    domain.trust(other)     # its clients come to services of this one

In a test the fixture `active_directory` gives the run's one. It lives on a loopback
address of its own, in namespaces of its own, with nothing under /etc and /var; several
live side by side. It is stopped with the `with` statement, and also if this process
dies. A finished domain is kept in the user's cache folder: the first start takes about
ten seconds, others about two.

It needs root and Debian's samba, samba-ad-dc, samba-ad-provision, samba-dsdb-modules,
samba-vfs-modules, winbind, python3-samba and krb5-user. These accounts are in it:

- `alice`, in `inner`, which is in `outer`, which is in `local` (a domain-local group);
  `bob`, in none of these; `Administrator`, as in every domain;
- `protected`, whose identity is never delegated;
- `disabled`, `expired`, `mustchange` (another password first) and `nohours` (no hour of
  the week), none of whom logs on;
- `front`, for `HTTP/front.<domain>`, which may act for others, also without their
  passwords, at `HTTP/back.<domain>` and the file server; `back`, for the former.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stead.errors import EnforcementUnavailableError
from stead.model.sid import Sid
from stead.testing import samba_running as running
from stead.testing.domain_accounts import (
    AccountControl,
    DomainAccounts,
    random_password,
)
from stead.testing.private_server import PATH
from stead.testing.tickets import Way

_PACKAGES: Final = (
    "samba samba-ad-dc samba-ad-provision samba-dsdb-modules samba-vfs-modules "
    "winbind python3-samba krb5-user"
)
_PROGRAMS: Final = ("samba", "smbd", "winbindd", "unshare", "tar", "kinit")
_KEPT: Final = 3
_KDC: Final = 88  # its port
_SECONDS: Final = 180.0
_CONFIGURATION: Final = """\
[global]
 netbios name = DC1
 workgroup = {short_name}
 realm = {realm}
 server role = active directory domain controller
 server services = ldap, cldap, kdc, rpc, s3fs, winbindd
 interfaces = {address}/8
 bind interfaces only = yes
 private dir = {folder}/private
 state directory = {folder}/state
 cache directory = {folder}/cache
 lock directory = {folder}/lock
 pid directory = {folder}/run
 ncalrpc dir = {folder}/ncalrpc
 ntp signd socket directory = {folder}/run/ntp
 binddns dir = {folder}/bind-dns
 usershare path =
 logging = file
 log file = {folder}/log/log.%m
 tls enabled = no
 load printers = no
 printing = bsd
 printcap name = /dev/null
 disable spoolss = yes
 panic action =
[sysvol]
 path = {folder}/state/sysvol
 read only = no
[netlogon]
 path = {folder}/state/sysvol/scripts
 read only = no
"""
_SHARE: Final = """\
[{name}]
 path = {{folder}}/shares/{name}
 read only = no
"""
_SEEN_AS: Final = {"smb.conf": running.INSIDE, "administration.conf": ""}
"""The controller's configuration, and that of what changes its database."""


class Domain(DomainAccounts):
    """A domain and its controller, from `with` to its end.

    Attributes:
        name: the realm's name; the DNS domain in small letters is the same.
        short_name: the domain's NetBIOS name.
        folder: everything of it.
        address: the controller's, of the loopback; `cifs/<address>` names its files.
        sid: the domain's, by which its accounts and groups are told from others'.
        shares: the folders that its file server shares, by name.
    """

    _prefix = "stead-domain-"

    def __init__(
        self,
        name: str = "AD.STEAD.TEST",
        short_name: str = "STEADAD",
        *,
        shares: Iterable[str] = ("data",),
        cache: Path | None = None,
    ) -> None:
        """Describe it; nothing is made before `with`.

        Args:
            name: the realm's name, in capitals.
            short_name: the domain's NetBIOS name.
            shares: the names of the folders that its file server shares.
            cache: the folder in which the finished domain is kept; the user's if none.
        """
        super().__init__(name)
        self.short_name: Final = short_name
        self.address = ""
        self.shares: dict[str, Path] = dict.fromkeys(shares, Path())
        self._cache: Final = cache
        self._controller: running.Controller | None = None

    @property
    def centre(self) -> str:
        """Where its KDC listens, `address:port`."""
        return f"{self.address}:{_KDC}"

    def trust(self, other: Domain) -> None:
        """Let the clients of another domain come to the services of this one.

        It is a forest trust, of one direction; the other way round it is another one.
        Samba's KDC (4.17) believes whatever SIDs come with such clients, ours among
        them. It is said before clients and services are at work.
        """
        secret, way = random_password(), Way(other.name, self.name)
        self._know(other, way, secret, is_trusting=True)
        other._know(self, way, secret, is_trusting=False)

    # --- how it is made -----------------------------------------------------------

    def _make(self) -> None:
        _require_programs()
        self.folder.chmod(0o711)
        self._controller = running.Controller(self.folder, self._variables())
        self.address = running.free_address()
        running.lay_out(self.folder)
        self._configure()
        self._fill()
        self._adapt()
        self._controller.start(self.address)

    def _know(self, other: Domain, way: Way, secret: str, *, is_trusting: bool) -> None:
        """Have the controller and the domain's programs know another domain."""
        self._ask(
            "trust",
            address=self.address,
            password=self.password_of("Administrator"),
            other={
                "name": other.dns_name,
                "short_name": other.short_name,
                "sid": str(other.sid),
            },
            secret=secret,
            is_trusting=is_trusting,
        )
        self._surroundings = self._surroundings.with_way(
            way, {other.name: other.centre}
        )
        self._write_configuration(self.address, _KDC)

    def _stop(self) -> None:
        if self._administration is not None:
            self._administration.close()
            self._administration = None
        if self._controller is not None:
            self._controller.close()
            self._controller = None

    def _configure(self) -> None:
        self._write_configuration(self.address, _KDC)
        for name in self.shares:
            self.shares[name] = path = self.folder / "shares" / name
            path.mkdir(parents=True)
            path.chmod(0o777)  # the descriptors of Windows judge
        (self.folder / "keytabs").mkdir(mode=0o700)
        shares = "".join(_SHARE.format(name=name) for name in self.shares)
        for file, folder in _SEEN_AS.items():
            text = (_CONFIGURATION + shares).format(
                short_name=self.short_name,
                realm=self.name,
                address=self.address,
                folder=folder or self.folder,
            )
            (self.folder / file).write_text(text, encoding="utf-8")

    def _fill(self) -> None:
        """Take the database from the cache, or make it and leave it there."""
        kept = running.kept_in(self._cache)
        tar = kept and kept / f"domain-{self._recipe()}.tar"
        if tar and tar.exists():
            _run("tar", "xf", str(tar), "-C", str(self.folder))
            tar.touch()
        self._administration = running.Administration(
            self.folder / "administration.conf", self._variables()
        )
        if not (self.folder / "passwords.json").exists():
            self._seed()
            if tar:
                self._keep(tar)
        said = (self.folder / "passwords.json").read_text("utf-8")
        self._passwords = json.loads(said)
        self.sid = Sid.from_string(self._ask("domain_sid"))

    def _keep(self, tar: Path) -> None:
        """Keep what was made, whole or not at all, and few of what others made."""
        new = tar.with_suffix(f".{secrets.token_hex(4)}")
        new.touch(mode=0o600)
        _run("tar", "cf", str(new), "-C", str(self.folder),
             "private", "state", "passwords.json")  # fmt: skip
        new.replace(tar)
        found = sorted(
            tar.parent.glob("domain-*.tar"), key=lambda p: -p.stat().st_mtime
        )
        for old in found[_KEPT:]:
            old.unlink(missing_ok=True)

    def _recipe(self) -> str:
        """Return what tells one way of making the domain from another."""
        version = _run("samba", "--version")
        folder = Path(__file__).parent
        sources = sorted([*folder.glob("domain*.py"), *folder.glob("samba_*.py")])
        what = (version, self.name, self.short_name, *(p.read_text() for p in sources))
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def _seed(self) -> None:
        """Make the domain and the accounts that everybody's tests may use."""
        administrator = random_password()
        self._passwords["Administrator"] = administrator
        self._ask("provision", realm=self.name, domain=self.short_name,
                  password=administrator)  # fmt: skip
        for name in ("alice", "bob", *_TROUBLED):
            self.add_user(name)
        self.add_group("inner", ["alice"])
        self.add_group("outer", ["inner"])
        self.add_group("local", ["outer"], scope="domain local")
        for name, attributes in _TROUBLED.items():
            self.replace(name, attributes)
        for name in ("front", "back"):
            self.add_service(name, f"HTTP/{name}.{self.dns_name}")
        file = self.folder / "passwords.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(self._passwords), encoding="utf-8")
        shutil.rmtree(self.folder / "keytabs")
        (self.folder / "keytabs").mkdir(mode=0o700)

    def _adapt(self) -> None:
        """Tell the database of this run's address."""
        files = f"cifs/{self.address}"
        self.add_service_names("DC1$", [files])
        others = [f"HTTP/back.{self.dns_name}", f"cifs/dc1.{self.dns_name}"]
        self.set_delegation("front", [*others, files])

    def _variables(self) -> dict[str, str]:
        return {"PATH": PATH, "LC_ALL": "C.UTF-8", **self.environment()}


_TROUBLED: Final[dict[str, dict[str, list[str]]]] = {
    "protected": {
        "userAccountControl": [
            str(int(AccountControl.NORMAL_ACCOUNT | AccountControl.NOT_DELEGATED))
        ]
    },
    "disabled": {
        "userAccountControl": [
            str(int(AccountControl.NORMAL_ACCOUNT | AccountControl.ACCOUNT_DISABLED))
        ]
    },
    "expired": {"accountExpires": ["116444736000000000"]},  # 1970
    "mustchange": {"pwdLastSet": ["0"]},
    "nohours": {"logonHours": ["\0" * 21]},
}


def _require_programs() -> None:
    advice = f"apt-get install {_PACKAGES}"
    if os.geteuid() != 0:
        raise EnforcementUnavailableError(
            "a domain controller needs root", advice="run the tests as root"
        )
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        raise EnforcementUnavailableError(
            f"a domain needs `{missing[0]}`, which is not there", advice=advice
        )
    if not running.can_administer():
        raise EnforcementUnavailableError(
            "the system's Python has no bindings of Samba's", advice=advice
        )


def _run(*command: str) -> str:
    done = subprocess.run(
        command, env={"PATH": PATH}, text=True, capture_output=True, check=False,
        timeout=_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise EnforcementUnavailableError(f"`{command[0]}` fails: {done.stderr}")
    return done.stdout
