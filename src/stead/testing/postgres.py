"""A PostgreSQL of a test's own: a real server, private, and gone afterwards.

    with Postgres(domain=realm, keytab=keytab) as database:     # GSSAPI
        database.add_role("alice")
        database.add_owned_rows("notes", ["alice"])
        psycopg.connect(database.conninfo("alice"))

Without a domain its roles have passwords (SCRAM-SHA-256). The fixture
`private_postgres` gives one of these. With `certificate=` it speaks TLS, too. It
listens on a free port of 127.0.0.1, keeps everything in a folder of its own, and is
stopped with the `with` statement, and also if this process dies. Its administrator
comes by a local socket that only root and the server's own user reach.

It needs Debian's postgresql, and runs as that package's user where we are root: a
PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from stead.errors import EnforcementUnavailableError
from stead.testing.private_server import (
    PATH,
    PrivateServer,
    becoming,
    end,
    free_port,
    keep,
)
from stead.testing.tickets import TicketDomain

if TYPE_CHECKING:
    from stead.testing.certificates import Signed

_USER: Final = "postgres"
_HOME: Final = Path("/usr/lib/postgresql")
_SECONDS: Final = 60.0
_PAUSE: Final = 0.01
_TRIES: Final = 5
_READY: Final = "database system is ready to accept connections"

# Who tries again says so, and the folder stays.
_KEEP: Final = """\
"$1/postgres" -D "$2/data" 2>"$2/log" &
server=$!
read -r again
kill -QUIT $server 2>/dev/null
wait $server
cd /
[ "$again" = again ] || rm -rf "$2"
"""
_AGAIN: Final = b"again\n"
_SETTINGS: Final = """\
port = {port}
listen_addresses = '127.0.0.1'
max_connections = 300
unix_socket_directories = '{folder}'
fsync = off
full_page_writes = off
krb_server_keyfile = 'FILE:{folder}/keytab'
password_encryption = 'scram-sha-256'
lc_messages = 'C'
"""
_TLS: Final = """\
ssl = on
ssl_cert_file = '{folder}/certificate.pem'
ssl_key_file = '{folder}/key.pem'
"""
_GSS: Final = "gss include_realm=0 krb_realm={realm}"
_RULES: Final = """\
local all {user} trust
hostgssenc all all 127.0.0.1/32 {method}
host all all 127.0.0.1/32 {method}
"""
_OWNED_ROWS: Final = """\
create table {table} (
    owner text not null default current_user,
    body text not null
);
alter table {table} enable row level security;
create policy own_rows on {table}
    using (owner = current_user) with check (owner = current_user);
grant select, insert, update, delete on {table} to {roles};
"""


class Postgres(PrivateServer):
    """A PostgreSQL, from `with` to its end.

    Attributes:
        folder: everything of it.
        port: where it listens on 127.0.0.1.
        principal: the service that clients' tickets name, where they have tickets.
    """

    principal: Final = "postgres/localhost"
    _prefix = "stead-postgres-"

    def __init__(
        self,
        *,
        domain: TicketDomain | None = None,
        keytab: Path | None = None,
        certificate: Signed | None = None,
    ) -> None:
        """Describe it; nothing is made before `with`.

        Args:
            domain: whose principals log on as the roles of their names; without one
                roles have passwords.
            keytab: the keys of `principal` in that domain.
            certificate: what it shows under TLS, for `localhost`; without one it
                speaks none.
        """
        super().__init__()
        self.port = 0
        self._domain: Final = domain
        self._keytab: Final = keytab
        self._certificate: Final = certificate
        self._server: subprocess.Popen[bytes] | None = None

    def conninfo(self, role: str | None = None, **words: str) -> str:
        """Return a connection string of libpq's, without any secret.

        Args:
            role: who connects, if that is to be in it.
            words: more of libpq's words, such as `password` or `gssencmode`.
        """
        all_words = {
            "host": "localhost",
            "port": str(self.port),
            "dbname": "postgres",
            **({} if role is None else {"user": role}),
            **words,
        }
        return " ".join(f"{name}={value}" for name, value in all_words.items())

    def execute(self, sql: str) -> list[str]:
        """Have its administrator do something; return the rows, fields between bars.

        Args:
            sql: statements; they go by standard input, and may hold a password.

        Raises:
            EnforcementUnavailableError: the database refuses.
        """
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
            "-h", str(self.folder), "-p", str(self.port), "-d", "postgres",
            text=sql,
        ).splitlines()  # fmt: skip

    def add_role(self, name: str, password: str | None = None) -> str:
        """Add a role that connects; return its password.

        Args:
            name: the role.
            password: a random one if not given; it is of use only without a domain.
        """
        chosen = password or token_hex(16)
        self.execute(f"create role {_quoted(name)} login password '{chosen}';")
        return chosen

    def add_owned_rows(self, table: str, roles: Iterable[str]) -> None:
        """Add a table in which each role sees and writes its own rows alone.

        Its columns are `owner`, whoever wrote the row, and `body`.
        """
        names = ", ".join(_quoted(role) for role in roles)
        self.execute(_OWNED_ROWS.format(table=_quoted(table), roles=names))

    # --- how it is made -----------------------------------------------------------

    def _make(self) -> None:
        self._programs = _programs()
        self._ids = _ids()
        if self._ids is not None:
            os.chown(self.folder, *self._ids)
        user_name = _account()
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U",
                  user_name, "--no-sync", "--locale=C.UTF-8", "-E", "UTF8",
                  "--no-instructions")  # fmt: skip
        method = "scram-sha-256"
        if self._domain is not None:
            method = _GSS.format(realm=self._domain.name)
        self._write("data/pg_hba.conf", _RULES.format(user=user_name, method=method))
        if self._keytab is not None:
            copy = self._write("keytab", "")
            copy.write_bytes(self._keytab.read_bytes())
        settings = self.folder / "data" / "postgresql.conf"
        defaults = settings.read_text("utf-8") + self._tls()
        for _ in range(_TRIES):
            self.port = free_port()
            said = _SETTINGS.format(port=self.port, folder=self.folder)
            settings.write_text(defaults + said, encoding="utf-8")
            if self._start():
                return
            self._end(_AGAIN)
        raise EnforcementUnavailableError(f"postgres does not start: {self._said()}")

    def _tls(self) -> str:
        """Put key and certificate in place; return the settings that name them."""
        if self._certificate is None:
            return ""
        self._write("key.pem", self._certificate.key_pem.decode("ascii"))
        self._write("certificate.pem", self._certificate.pem.decode("ascii"))
        return _TLS.format(folder=self.folder)

    def _start(self) -> bool:
        """Start it, and wait until it answers; say whether it does."""
        (self.folder / "log").unlink(missing_ok=True)  # of the try before
        self._server = keep(
            _KEEP, str(self._programs), str(self.folder), variables=self._variables(),
            folder=self.folder, ids=self._ids,
        )  # fmt: skip
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            said = self._said()
            if _READY in said:
                return True
            if "FATAL" in said:
                break
            time.sleep(_PAUSE)
        return False

    def _stop(self) -> None:
        self._end(b"end\n")

    def _end(self, last: bytes) -> None:
        server, self._server = self._server, None
        end(server, last)

    def _said(self) -> str:
        log = self.folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        if self._ids is not None:
            os.chown(path, *self._ids)
        return path

    def _run(self, program: str, *words: str, text: str = "") -> str:
        done = subprocess.run(
            [str(self._programs / program), *words], input=text, text=True,
            env=self._variables(), cwd=self.folder, capture_output=True, check=False,
            timeout=_SECONDS, **becoming(self._ids),
        )  # fmt: skip
        if done.returncode:
            raise EnforcementUnavailableError(f"`{program}` fails: {done.stderr}")
        return done.stdout

    def _variables(self) -> dict[str, str]:
        known = {} if self._domain is None else self._domain.environment()
        # Its replay cache is its own: another user's may lie in the shared place.
        own = {"KRB5RCACHENAME": f"dfl:{self.folder}", "TMPDIR": str(self.folder)}
        return {"PATH": PATH, "HOME": str(self.folder), **known, **own}


def _programs() -> Path:
    """Return the folder of the newest installed version's programs."""
    found = [path.parent for path in _HOME.glob("*/bin/initdb")]
    if not found:
        raise EnforcementUnavailableError(
            "a database needs `initdb`, which is not there",
            advice="apt-get install postgresql",
        )
    return max(found, key=lambda path: int(path.parent.name))


def _ids() -> tuple[int, int] | None:
    """Return as whom it runs; None for who we are, unless we are root."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(_account())
    return user.pw_uid, user.pw_gid


def _account() -> str:
    """Return the host's account that it runs as: it starts as nothing else."""
    me = os.geteuid()
    try:
        return pwd.getpwnam(_USER).pw_name if me == 0 else pwd.getpwuid(me).pw_name
    except KeyError as error:
        what = f"user `{_USER}`" if me == 0 else f"account of uid {me}"
        advice = "apt-get install postgresql" if me == 0 else "run it as one that has"
        raise EnforcementUnavailableError(
            f"there is no {what} on this host, and a database runs as nobody else",
            advice=advice,
        ) from error


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
