"""An Active Directory domain of a test run's own: a real domain controller, Samba's.

    with Domain() as domain:
        cache = domain.log_on("alice", domain.password_of("alice"))
        keytab = domain.add_service("notes", "HTTP/localhost", delegates_to=["cifs/x"])
        subprocess.run([...], env={**os.environ, **domain.environment(cache)})

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
import tempfile
from collections.abc import Iterable, Mapping
from enum import IntFlag
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from stead.errors import EnforcementUnavailableError
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import NULL_SID
from stead.testing import samba_running as running
from stead.testing.tickets import PATH, TicketDomain

_PACKAGES: Final = (
    "samba samba-ad-dc samba-ad-provision samba-dsdb-modules samba-vfs-modules "
    "winbind python3-samba krb5-user"
)
_PROGRAMS: Final = ("samba", "smbd", "winbindd", "unshare", "tar", "kinit")
_AES: Final = "24"
_KEPT: Final = 3
_SECONDS: Final = 60.0
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
 path = {path}
 read only = no
"""


class AccountControl(IntFlag):
    """What kind of account it is (userAccountControl, [MS-ADTS] 2.2.16)."""

    ACCOUNT_DISABLED = 0x2
    NORMAL_ACCOUNT = 0x200
    PASSWORD_NEVER_EXPIRES = 0x10000
    TRUSTED_FOR_DELEGATION = 0x80000
    NOT_DELEGATED = 0x100000
    TRUSTED_TO_AUTHENTICATE_FOR_DELEGATION = 0x1000000


class Domain(TicketDomain):
    """A domain and its controller, from `with` to its end.

    Attributes:
        name: the realm's name; the DNS domain in small letters is the same.
        short_name: the domain's NetBIOS name.
        folder: everything of it.
        address: the controller's, of the loopback; `cifs/<address>` names its files.
        sid: the domain's.
        shares: the folders that its file server shares, by name.
    """

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
        self.sid = NULL_SID
        self.shares: dict[str, Path] = dict.fromkeys(shares, Path())
        self._cache: Final = cache
        self._controller: running.Controller | None = None
        self._administration: running.Administration | None = None
        self._passwords: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Make it, or take it from the cache, and start it.

        Raises:
            EnforcementUnavailableError: we are not root, a program is missing, or the
                controller fails.
        """
        _require_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="stead-domain-"))
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the controller and remove everything; again does nothing."""
        if self._administration is not None:
            self._administration.close()
            self._administration = None
        if self._controller is not None:
            self._controller.close()
            self._controller = None
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)  # the controller's end did
            self.folder = Path()

    # --- accounts and groups ------------------------------------------------------

    @property
    def dns_name(self) -> str:
        """The domain in small letters, as host names end with it."""
        return self.name.lower()

    def password_of(self, account: str) -> str:
        """Return the password of an account that this object made."""
        return self._passwords[account]

    def add_user(self, name: str, password: str | None = None) -> str:
        """Add an account that logs on with a password; return the password.

        Args:
            name: at most 20 characters.
            password: one that the domain's policy takes; a random one if not given.
        """
        chosen = password or _random_password()
        self._ask("add_user", name=name, password=chosen)
        self._passwords[name] = chosen
        return chosen

    def set_password(self, account: str, password: str) -> None:
        """Give an account another password."""
        self._ask("set_password", name=account, password=password)
        self._passwords[account] = password

    def add_group(
        self, name: str, members: Iterable[str] = (), *, scope: str = "global"
    ) -> None:
        """Add a group.

        Args:
            name: at most 20 characters.
            members: accounts and groups.
            scope: `global`, `domain local` or `universal`.
        """
        self._ask("add_group", name=name, scope=scope)
        self.add_members(name, members)

    def add_members(self, group: str, members: Iterable[str]) -> None:
        """Add accounts and groups to a group."""
        names = list(members)
        if names:
            self._ask("members", group=group, names=names, is_member=True)

    def remove_members(self, group: str, members: Iterable[str]) -> None:
        """Take accounts and groups out of a group."""
        self._ask("members", group=group, names=list(members), is_member=False)

    def sid_of(self, name: str) -> Sid:
        """Return the SID of an account or a group."""
        return Sid.from_string(self._ask("sid_of", name=name))

    def attributes(self, name: str, *wanted: str) -> dict[str, list[str]]:
        """Return attributes of an account or a group, as LDAP writes them."""
        found: dict[str, list[str]] = self._ask(
            "attributes", name=name, wanted=list(wanted)
        )
        return found

    def replace(
        self,
        name: str,
        attributes: Mapping[str, Iterable[str]],
        *,
        is_checked: bool = True,
    ) -> None:
        """Set attributes of an account or a group; no values remove one.

        Args:
            name: the account or group.
            attributes: the values by the attribute's name, as LDAP writes them.
            is_checked: whether what no administrator may set is refused; an attacker
                who owns the controller is not asked.
        """
        values = {key: list(values) for key, values in attributes.items()}
        self._ask("replace", name=name, attributes=values, is_checked=is_checked)

    def set_control(
        self, name: str, flags: AccountControl, *, is_set: bool = True
    ) -> None:
        """Set or clear flags of an account."""
        (text,) = self.attributes(name, "userAccountControl")["userAccountControl"]
        before = AccountControl(int(text))
        after = before | flags if is_set else before & ~flags
        self.replace(name, {"userAccountControl": [str(int(after))]})

    # --- services -----------------------------------------------------------------

    def add_service(
        self, account: str, *names: str, delegates_to: Iterable[str] = ()
    ) -> Path:
        """Add a service's account; return the keytab that holds its keys.

        Args:
            account: at most 20 characters.
            names: its principal names, such as `HTTP/localhost`; the keytab has keys
                for each, and for the account itself.
            delegates_to: services at which it may act for its clients, without their
                passwords too; see `set_delegation`.
        """
        self.add_user(account)
        self.replace(
            account,
            {
                "servicePrincipalName": names,
                "msDS-SupportedEncryptionTypes": [_AES],
            },
        )
        targets = list(delegates_to)
        if targets:
            self.set_delegation(account, targets)
        return self.export_keytab(account, *names)

    def add_service_names(self, account: str, names: Iterable[str]) -> None:
        """Give an account more principal names; keytabs do not know of them yet."""
        kind = "servicePrincipalName"
        before = self.attributes(account, kind).get(kind, [])
        self.replace(account, {kind: [*before, *names]})

    def set_delegation(
        self,
        account: str,
        targets: Iterable[str],
        *,
        without_password: bool = True,
        everywhere: bool = False,
    ) -> None:
        """Say at which services an account may act for its clients.

        Args:
            account: the service's account.
            targets: names of services (constrained delegation); all others are taken
                away.
            without_password: whether it may do so for clients who showed it nothing
                (S4U2Self, protocol transition).
            everywhere: whether clients hand it their own tickets (unconstrained).
        """
        self.replace(account, {"msDS-AllowedToDelegateTo": targets})
        transition = AccountControl.TRUSTED_TO_AUTHENTICATE_FOR_DELEGATION
        self.set_control(account, transition, is_set=without_password)
        trusted = AccountControl.TRUSTED_FOR_DELEGATION
        self.set_control(account, trusted, is_set=everywhere)

    def export_keytab(self, *principals: str, keytab: Path | None = None) -> Path:
        """Add principals' keys to a keytab, which is root's alone; return it."""
        file = keytab or self.folder / "keytabs" / f"{secrets.token_hex(8)}.keytab"
        self._ask("export_keytab", file=str(file), principals=list(principals))
        file.chmod(0o600)
        return file

    # --- files --------------------------------------------------------------------

    def access_of(self, file: Path) -> str:
        """Return the descriptor that the file server keeps of a file, in SDDL."""
        return str(self._ask("access_of", path=str(file)))

    def owner_of(self, file: Path) -> Sid:
        """Return who owns a file of a share, as the file server judges."""
        owner = SecurityDescriptor.from_sddl(self.access_of(file)).owner
        return NULL_SID if owner is None else owner

    def set_access(self, file: Path, sddl: str) -> None:
        """Give a file of a share a descriptor that the file server judges by."""
        self._ask("set_access", path=str(file), sddl=sddl)
        file.chmod(0o777)  # what Linux says of it takes nothing away

    # --- how it is made -----------------------------------------------------------

    def _make(self) -> None:
        self.folder.chmod(0o711)
        self.address = running.free_address()
        running.lay_out(self.folder)
        self._configure()
        self._fill()
        self._adapt()
        self._controller = running.Controller(self.folder, self._variables())
        self._controller.wait_for(self.address)

    def _configure(self) -> None:
        self._write_configuration(self.address, 88)
        text = _CONFIGURATION.format(
            short_name=self.short_name,
            realm=self.name,
            address=self.address,
            folder=self.folder,
        )
        for name in self.shares:
            path = self.folder / "shares" / name
            path.mkdir(parents=True)
            path.chmod(0o777)  # the descriptors of Windows judge
            self.shares[name] = path
            text += _SHARE.format(name=name, path=path)
        (self.folder / "keytabs").mkdir(mode=0o700)
        (self.folder / "smb.conf").write_text(text, encoding="utf-8")

    def _fill(self) -> None:
        """Take the database from the cache, or make it and leave it there."""
        kept = running.kept_in(self._cache)
        tar = kept and kept / f"domain-{self._recipe()}.tar"
        if tar and tar.exists():
            _run("tar", "xf", str(tar), "-C", str(self.folder))
            tar.touch()
        self._administration = running.Administration(
            self.folder / "smb.conf", self._variables()
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
        sources = [Path(__file__), Path(running.__file__), running.PROGRAM]
        what = (version, self.name, self.short_name, *(p.read_text() for p in sources))
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def _seed(self) -> None:
        """Make the domain and the accounts that everybody's tests may use."""
        administrator = _random_password()
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

    def _ask(self, verb: str, **words: object) -> Any:
        if self._administration is None:
            raise EnforcementUnavailableError(f"the domain {self.name} is not there")
        return self._administration.ask(verb, **words)


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


def _used_at(tar: Path) -> float:
    return tar.stat().st_mtime


def _random_password() -> str:
    """Return a password of every kind of character, as the domain's policy asks."""
    return f"{secrets.token_hex(12)}Aa-1"


def _run(*command: str) -> str:
    done = subprocess.run(
        command, env={"PATH": PATH}, text=True, capture_output=True, check=False,
        timeout=_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise EnforcementUnavailableError(f"`{command[0]}` fails: {done.stderr}")
    return done.stdout
