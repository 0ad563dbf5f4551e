"""How libpq is told nothing but what is the client's, and whom it connected as.

libpq fills in what it is not told: from the environment, a service file, a password
file, certificates in the server's home. Every one of its options is said here, so
nothing is left to fill in. After connecting, PostgreSQL says who it thinks we are:
`pg_stat_gssapi` has the principal that it authenticated, whatever name we asked for.
"""

from __future__ import annotations

import os
import select
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stead.adapters.outbound.libpq_asking import asked
from stead.adapters.outbound.libpq_channel import Patience, wait_a_while
from stead.adapters.outbound.libpq_waiting import with_addresses
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.passage import mistaken
from stead.adapters.outbound.postgres_refusals import not_connected
from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    NoCredentialsError,
    ServerUnavailableError,
)
from stead.model.delegation_policy import PORTS, NetworkTarget

_SECONDS: Final = 30.0
_NOWHERE: Final = "/nonexistent/stead"

_SAID: Final = frozenset({
    "host", "port", "dbname", "user", "krbsrvname", "connect_timeout",
    "client_encoding", "application_name", "fallback_application_name",
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
    "tcp_user_timeout", "target_session_attrs", "load_balance_hosts", "requirepeer",
    "require_auth", "channel_binding", "gssencmode", "sslmode", "sslnegotiation",
    "sslcompression", "sslrootcert", "sslcrl", "sslcrldir", "sslsni", "sslcertmode",
    "ssl_min_protocol_version", "ssl_max_protocol_version", "min_protocol_version",
    "max_protocol_version",
})  # fmt: skip
"""All that a connection string may say. What it may not, by now and in libpq's next
versions, would show somebody else than the client, ask for something else as it, write
keys to a file (`sslkeylogfile`), or go where policy and limits name nobody: to an
address that is not its host's (`hostaddr`), which can pass the client's ticket on, or
with all of the client's tickets (`gssdelegation`)."""

_SERVICE: Final = "postgres"

_NEWER: Final = MappingProxyType({
    "sslcertmode": "disable", "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
})  # fmt: skip
"""Options of libpq 16 to 18 of which nothing is no value."""

# Whoever owns the database says where names are looked for: none is left to that.
_WHO: Final = """\
select coalesce(found.gss_authenticated, false)::pg_catalog.text,
       coalesce(found.principal, ''), session_user::pg_catalog.text,
       current_user::pg_catalog.text{more}
from (select pg_catalog.pg_backend_pid() as pid) as own
left join pg_catalog.pg_stat_gssapi as found
on found.pid operator(pg_catalog.=) own.pid"""
# A query whose client is gone would run on, for somebody whose session has ended.
_CHECKED: Final = "client_connection_check_interval"
_NOTICE: Final = f", pg_catalog.set_config('{_CHECKED}', '1000', false)"
_KNOWS_IT: Final = 140_000
# A role that was set outlives its transaction; the next user of a pool must not get it.
_BACK: Final = "RESET SESSION AUTHORIZATION; RESET ROLE"

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)  # fmt: skip
"""Where distributions keep the authorities that the machine believes, in one file."""


def parameters(dsn: str, *, may_be_local: bool = False) -> dict[str, str]:
    """Read a connection string.

    Args:
        dsn: that.
        may_be_local: whether it may name a local socket, by the folder it is in.

    Raises:
        InvalidRequestError: it is none, names no machine or several, or says what the
            session or nobody has to say.
    """
    if "\0" in dsn:  # it would end there
        raise InvalidRequestError("a NUL is no part of a connection string")
    read = _read(dsn)
    if read is None:
        # From nothing: libpq's error quotes it, and it may hold a password.
        raise InvalidRequestError("it is no connection string of libpq's")
    refused = read.keys() - _SAID
    if refused:
        raise InvalidRequestError(
            f"`{min(refused)}` is not said to a database that is reached as a client",
            advice="the session has the credentials, and `host` says where; leave it "
            "out",
        )
    host = read.get("host", "")
    is_refused = ("@",) if may_be_local else ("/", "@")
    if not host or host.startswith(is_refused) or "," in host:
        raise InvalidRequestError(
            "a database that is reached as a client is on one host, which is named",
            advice="write `host=db.example`; a local socket shows the server's uid",
        )
    if not read.get("port", "0").isdecimal():
        raise InvalidRequestError("one host has one port")
    service = read.get("krbsrvname", _SERVICE)
    if service.lower() != _SERVICE:
        raise InvalidRequestError(
            f"a database is `{_SERVICE}` to its realm, and not `{service[:40]}`",
            advice="a ticket for another service of that host would be shown to it",
        )
    return read


def _read(dsn: str) -> dict[str, str] | None:
    try:
        said = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return None
    return {name: str(value) for name, value in said.items() if value is not None}


def target(read: Mapping[str, str]) -> NetworkTarget:
    """Return the service that a connection string is about."""
    port = int(read.get("port", "") or PORTS["postgres"])
    host = "localhost" if is_local(read) else read["host"]
    return NetworkTarget("postgres", host, port)


def require_protected(read: Mapping[str, str]) -> None:
    """Return if what a ticket opens is protected, too, by GSS or by TLS.

    Raises:
        InvalidRequestError: it need not be: whoever stands between passes the ticket
            on, and says as the client what he likes.
    """
    said = read.get("gssencmode", "require")
    if said != "require" and read.get("sslmode") != "verify-full":
        raise InvalidRequestError(
            f"`gssencmode={said[:20]}` leaves the connection to whoever stands between",
            advice="leave it out, or say `sslmode=verify-full`",
        )


def is_local(read: Mapping[str, str]) -> bool:
    """Tell whether a connection string names a local socket."""
    return read["host"].startswith("/")


def conninfo(read: Mapping[str, str]) -> str:
    """Return a connection string that leaves nothing to the environment.

    GSS protects the connection, unless it is to be TLS: then whoever it was
    authenticated to is who answers.

    Raises:
        InvalidRequestError: a value would end the string, and leave the rest unsaid; or
            nobody is believed by this machine.
        NoCredentialsError: the environment names a service, which cannot be unsaid.
    """
    if os.environ.get("PGSERVICE"):
        raise NoCredentialsError(
            "`PGSERVICE` in the server's environment says what to connect to, and as "
            "whom",
            advice="start the server without it",
        )
    said = {
        option.keyword.decode(): (option.compiled or b"").decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar and option.keyword != b"service"
    }
    said |= {
        "passfile": _NOWHERE, "sslcert": _NOWHERE, "sslkey": _NOWHERE,
        "krbsrvname": _SERVICE, **_GONE,
    }  # fmt: skip
    said |= {name: value for name, value in _NEWER.items() if name in said}
    if any("\0" in value for value in read.values()):
        raise InvalidRequestError("a NUL is no part of what a database is told")
    is_tls = read.get("sslmode") == "verify-full"
    said["gssencmode"] = "disable" if is_tls else "require"
    if not is_tls and "sslmode" not in read:
        said["sslmode"] = "disable"
    said |= read
    if is_tls and not said.get("sslrootcert"):
        said["sslrootcert"] = _authorities()  # and not the home's
    return make_conninfo("", **said)


def _authorities() -> str:
    """Return the file of those whose certificates this machine believes."""
    named = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    found = [path for path in (named, *_BUNDLES) if path and Path(path).is_file()]
    if not found:
        raise InvalidRequestError(
            "this machine names nobody whose certificates it believes",
            advice="install `ca-certificates`, or say `sslrootcert=FILE`",
        )
    return found[0]


_GONE: Final = MappingProxyType({
    "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3",
    "tcp_user_timeout": "60000",
})  # fmt: skip
"""After how long a machine that answers nothing at all, not even the kernel's own
questions, is given up; in seconds, and the last in milliseconds. Nothing of this bounds
how long a query may take."""

Prove = Callable[[pq.abc.PGconn, Patience], None]
"""Shows a server who comes, once it is connected and before libpq has read a word."""


def connect(
    text: str, to: NetworkTarget, line: Lifeline, prove: Prove | None = None
) -> pq.abc.PGconn:
    """Connect, and look now and then whether the session still lives.

    Args:
        text: what libpq is told.
        to: the service.
        line: the session's.
        prove: speaks with each server that is connected, in libpq's place.

    Raises:
        NoCredentialsError: the database does not take what is shown to it.
        AccessDeniedError, UnknownDatabaseError: it refuses the client all the same.
        ServerUnavailableError: it does not answer, not in time, or takes nobody now.
        LogonSessionEndedError: the session has ended meanwhile.
    """
    deadline = time.monotonic() + _SECONDS
    made = pq.PGconn.connect_start(with_addresses(text, to).encode())
    try:
        while (state := made.connect_poll()) != pq.PollingStatus.OK:
            line.require_not_over()
            _require_going_on(made, state, to, deadline)
            if prove is not None and made.status == pq.ConnStatus.AWAITING_RESPONSE:
                prove(made, Patience(line, str(to), deadline))
            else:
                _wait(made.socket, state)
    except BaseException:
        made.finish()
        raise
    return made


def _require_going_on(
    made: pq.abc.PGconn, state: int, to: NetworkTarget, deadline: float
) -> None:
    if state == pq.PollingStatus.FAILED or made.status == pq.ConnStatus.BAD:
        raise not_connected(made, to)
    if time.monotonic() > deadline:
        raise ServerUnavailableError(f"`{to}` does not answer in time")


def _wait(descriptor: int, state: int) -> None:
    is_reading = state == pq.PollingStatus.READING
    wait_a_while(descriptor, select.POLLIN if is_reading else select.POLLOUT)


def require_known_as(
    made: pq.abc.PGconn,
    to: NetworkTarget,
    line: Lifeline,
    *,
    principal: str,
    user: str,
) -> None:
    """Ask the database who it thinks we are.

    Raises:
        WrongIdentityError: somebody else, or it took our word.
        ServerUnavailableError: it does not say, or not in time.
        LogonSessionEndedError: the session has ended meanwhile.
    """
    is_shown, known, session_user, current_user = _said(made, to, line)
    if is_shown != "true":
        raise mistaken(to, "whoever we say we are", principal)
    if known != principal:
        raise mistaken(to, known, principal)
    _require_works_as(to, user, session_user, current_user)


def require_user(
    made: pq.abc.PGconn, to: NetworkTarget, line: Lifeline, user: str
) -> None:
    """Ask a database as whom it works for us, where a password has proven the rest.

    Raises:
        WrongIdentityError: as somebody else.
        ServerUnavailableError, LogonSessionEndedError: as `require_known_as` raises.
    """
    _require_works_as(to, user, *_said(made, to, line)[2:])


def taken_back(made: pq.abc.PGconn) -> str:
    """Return the commands after which a connection is as it was, for its next use.

    That it is noticed when the client is gone may have been reset (`DISCARD ALL`).
    """
    knows_it = made.server_version >= _KNOWS_IT
    return f"{_BACK}; SET {_CHECKED} = 1000" if knows_it else _BACK


def _require_works_as(to: NetworkTarget, user: str, *found: str) -> None:
    for each in found:
        if each != user:
            raise mistaken(to, each, user)


def _said(made: pq.abc.PGconn, to: NetworkTarget, line: Lifeline) -> list[str]:
    """Return what a database says of us: is it a ticket, whose, as whom it works."""
    more = _NOTICE if made.server_version >= _KNOWS_IT else ""
    patience = Patience(line, str(to), time.monotonic() + _SECONDS)
    silent = ServerUnavailableError(f"`{to}` does not say who it thinks we are")
    try:
        result = asked(made, _WHO.format(more=more).encode(), patience.wait)
    except psycopg.Error as error:
        line.require_not_over(error)
        raise silent from error
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise silent
    return [(result.get_value(0, n) or b"").decode() for n in range(4)]


def require_shared_kerberos() -> None:
    """Return if libpq asks the same Kerberos library as we do.

    Raises:
        EnforcementUnavailableError: it has one of its own, which knows nothing of the
            client's ticket and would look for the server's.
    """
    loaded = _loaded_gss()
    if pq.__impl__ == "binary" or len(loaded) > 1:
        raise EnforcementUnavailableError(
            "`psycopg-binary` brings a Kerberos library of its own, which does not see "
            "the client's ticket and would show the server's"
            if pq.__impl__ == "binary"
            else f"two Kerberos libraries are loaded: {', '.join(loaded)}",
            advice="`pip install 'stead[postgres]'` takes `psycopg[c]`, which uses the "
            "system's; or set PSYCOPG_IMPL=python",
        )


def _loaded_gss() -> list[str]:
    """Return the files of GSS-API libraries in this process."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    paths = {line.rpartition(" ")[2] for line in maps.splitlines()}
    return sorted(path for path in paths if "libgssapi_krb5" in path)
