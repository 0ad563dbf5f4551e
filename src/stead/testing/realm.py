"""A Kerberos realm of a test's own: a real MIT KDC, up in a tenth of a second.

    with Realm() as realm:
        realm.add_principal("alice", "tiger")
        keytab = realm.add_service("stead/localhost")
        cache = realm.log_on("alice", "tiger")       # a FILE: credential cache
        subprocess.run([...], env={**os.environ, **realm.environment(cache)})

    realm.trust(other)      # its clients come to services of this one

In a test the fixture `kerberos_realm` gives one. Nothing lies under /etc and nothing is
asked of the network: database, keys, configuration and caches stand in a folder of the
realm's own, and the KDC listens on a free port of the loopback. It is stopped with the
`with` statement, and also if this process dies.

It needs the programs of Debian's krb5-kdc, krb5-admin-server and krb5-user, and no
root. Times in it are seconds.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Final

from stead.errors import EnforcementUnavailableError
from stead.testing.private_server import PATH, answers, end, free_port, keep
from stead.testing.tickets import TicketDomain, Way

_PROGRAMS: Final = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
_SECONDS: Final = 60.0
_SECONDS_TO_START: Final = 60.0
_PAUSE: Final = 0.005
_TRIES: Final = 5
_NO_POLICY: Final = "; defaulting to no policy"  # it remarks on each new principal

_KEEP: Final = 'krb5kdc -n -r "$1" & kdc=$!; read -r _; kill $kdc; wait $kdc'

_ADDRESS: Final = "127.0.0.1"
_KDC: Final = """\
[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_module = db
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
  max_life = 1h
  max_renewable_life = 1d
  supported_enctypes = aes256-cts:normal
  default_principal_flags = +preauth
{relations} }}
[dbmodules]
 db = {{
{database}
 }}
[logging]
 kdc = FILE:{folder}/kdc.log
"""


class Realm(TicketDomain):
    """A realm, from `with` to its end.

    Attributes:
        name: the realm's name.
        folder: everything of it; others may pass it and read `krb5.conf`, no more.
    """

    _prefix = "stead-realm-"

    def __init__(self, name: str = "STEAD.TEST") -> None:
        """Describe it; nothing is made before `with`.

        Args:
            name: in capitals, as realms are written.
        """
        super().__init__(name)
        self._kdc: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._relations: tuple[str, ...] = ()

    @property
    def centre(self) -> str:
        """Where its KDC listens, `address:port`."""
        return f"{_ADDRESS}:{self._port}"

    def add_principal(self, name: str, password: str, *, options: str = "") -> None:
        """Add somebody who logs on with a password.

        Args:
            name: without the realm, such as `alice` or `alice/admin`.
            password: without quotation marks and spaces.
            options: as kadmin(1) knows them for `addprinc`.
        """
        self._administer(f'addprinc {options} -pw "{password}" "{name}"')

    def add_service(
        self, name: str, *, keytab: Path | None = None, options: str = ""
    ) -> Path:
        """Add a service with a random key; return the keytab that holds it.

        Args:
            name: such as `stead/localhost`.
            keytab: where its key is added; a file of its own if not given.
            options: as kadmin(1) knows them for `addprinc`, such as `+ok_as_delegate`,
                which has clients hand it their tickets.
        """
        file = keytab or self.folder / f"{token_hex(8)}.keytab"
        self._administer(
            f'addprinc {options} -randkey "{name}"', f'ktadd -k {file} "{name}"'
        )
        return file

    def trust(
        self, other: Realm, *, through: Sequence[Realm] = (), options: str = ""
    ) -> None:
        """Let the clients of another realm come to the services of this one.

        The other way round it is another trust. From now on the programs of all these
        realms know all of them: the configuration of each is written anew, and its KDC
        starts again. So it is said before clients and services are at work.

        Args:
            other: the realm whose clients come.
            through: the realms between, the clients' nearest first; each has to trust
                the one before it. The two get a key of their own if there are none.
            options: of that key's principal, as kadmin(1) knows them for `addprinc`,
                such as `+ok_as_delegate`.
        """
        if not through:
            password = token_hex(16)
            for each in (self, other):
                each.add_principal(
                    f"krbtgt/{self.name}@{other.name}",
                    password,
                    options=f"-requires_preauth {options}",
                )
        way = Way(other.name, self.name, tuple(realm.name for realm in through))
        on_it = (other, *through, self)
        for each in on_it:
            others = {r.name: r.centre for r in on_it if r is not each}
            each._learn(way, others)  # noqa: SLF001 - a realm, as this one

    def configure(self, *relations: str) -> None:
        """Have the KDC start again, with relations of its own in its `kdc.conf`.

        Args:
            relations: those of its realm, such as `reject_bad_transit = false`; they
                take the place of those that were given before.
        """
        self._relations = relations
        self._start_again()

    # --- how it is made -----------------------------------------------------------

    def _learn(self, way: Way, others: Mapping[str, str]) -> None:
        """Have its programs know a way, and where the other realms on it are."""
        self._surroundings = self._surroundings.with_way(way, others)
        self._start_again()

    def _start_again(self) -> None:
        self._end()
        self._write(self._port)
        if not self._start(self._port):
            raise EnforcementUnavailableError(f"the KDC of {self.name} does not return")

    @property
    def _secrets(self) -> Path:
        return self.folder / "kdc"

    def _make(self) -> None:
        _require_programs()
        self.folder.chmod(0o711)
        self._secrets.mkdir(mode=0o700)
        self._write(0)
        self._create()
        for _ in range(_TRIES):
            port = free_port()
            self._write(port)
            if self._start(port):
                return
        raise EnforcementUnavailableError(f"the KDC of {self.name} does not start")

    def _stop(self) -> None:
        self._end()

    def _end(self) -> None:
        """End the KDC."""
        kdc, self._kdc = self._kdc, None
        end(kdc)

    def _database(self) -> str:
        """Return where its principals are kept, as `kdc.conf` says it."""
        # Each logon would be written down, and waited for until the disk has it.
        return (
            f"  db_library = db2\n  database_name = {self._secrets}/principal\n"
            "  disable_last_success = true"
        )

    def _create(self) -> None:
        """Make the database of its principals."""
        self._run(["kdb5_util", "create", "-s", "-r", self.name, "-P", token_hex(16)])

    def _write(self, port: int) -> None:
        words = {
            "realm": self.name,
            "port": port,
            "folder": self._secrets,
            "database": self._database(),
            "relations": "".join(f"  {each}\n" for each in self._relations),
        }
        self._write_configuration(_ADDRESS, port)
        kdc = self._secrets / "kdc.conf"
        kdc.write_text(_KDC.format(**words), encoding="utf-8")

    def _start(self, port: int) -> bool:
        """Start the KDC, and wait until it answers; say whether it does."""
        log, deadline = self._secrets / "kdc.log", time.monotonic() + _SECONDS_TO_START
        log.unlink(missing_ok=True)
        self._kdc = keep(_KEEP, self.name, variables=self._variables())
        while time.monotonic() < deadline:
            # Its own word: somebody else may have taken the port meanwhile.
            said = log.read_text(encoding="utf-8") if log.exists() else ""
            if "commencing operation" in said and answers(port):
                self._port = port
                return True
            if "Failed" in said or "Cannot" in said:
                break
            time.sleep(_PAUSE)
        self._end()
        return False

    def _administer(self, *commands: str) -> None:
        """Have kadmin do something; passwords go by its input, which nobody sees."""
        text = "".join(f"{command}\n" for command in commands)
        # Named, since a uid need not have an account of the host's to take a name from.
        who = f"tests/admin@{self.name}"
        said = self._run(["kadmin.local", "-r", self.name, "-p", who], text)
        faults = [line for line in said.splitlines() if line and _NO_POLICY not in line]
        if faults:
            raise EnforcementUnavailableError(f"kadmin refuses: {faults[0]}")

    def _run(self, command: list[str], text: str = "") -> str:
        """Run a program of Kerberos; return what it complains of."""
        done = subprocess.run(
            command, input=text, env=self._variables(), text=True,
            capture_output=True, check=False, timeout=_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise EnforcementUnavailableError(f"`{command[0]}` fails: {done.stderr}")
        return done.stderr

    def _variables(self) -> Mapping[str, str]:
        profile = str(self._secrets / "kdc.conf")
        return {"PATH": PATH, "KRB5_KDC_PROFILE": profile, **self.environment()}


def _require_programs() -> None:
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        raise EnforcementUnavailableError(
            f"a realm needs `{missing[0]}`, which is not there",
            advice="apt-get install krb5-kdc krb5-admin-server krb5-user",
        )
