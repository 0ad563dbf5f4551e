"""How libpq is told nothing but what is the client's, and whom it connected as.

libpq fills in what it is not told: from the environment, a service file, a password
file, certificates in the server's home. Every one of its options is said here, so
nothing is left to fill in. After connecting, PostgreSQL says who it thinks we are:
`pg_stat_gssapi` has the principal that it authenticated, whatever name we asked for.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stead.adapters.outbound.libpq_channel import Patience
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.passage import mistaken, not_taken
from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    NoCredentialsError,
    ServerUnavailableError,
)
from stead.model.delegation_policy import PORTS, NetworkTarget

_SECONDS: Final = 30.0
_LOOK_AGAIN: Final = 0.25
_NOWHERE: Final = "/nonexistent/stead"
_ENCODING: Final = "utf-8"

_REFUSED: Final = frozenset({
    "password", "passfile", "service", "sslcert", "sslkey", "sslpassword", "gsslib",
    "replication", "options", "hostaddr", "gssdelegation",
})  # fmt: skip
"""What would show somebody else than the client, ask for something else as it, or go
where policy and limits name nobody: to an address that is not its host's, which can
pass the client's ticket on, or with all of the client's tickets."""

_SERVICE: Final = "postgres"

_NEWER: Final = MappingProxyType({
    "sslcertmode": "disable", "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
})  # fmt: skip
"""Options of libpq 16 to 18 of which nothing is no value."""

_WHO: Final = """\
select coalesce(found.gss_authenticated, false)::text,
       coalesce(found.principal, ''), session_user::text, current_user::text{more}
from (select pg_backend_pid() as pid) as own left join pg_stat_gssapi as found
using (pid)"""
# A query whose client is gone would run on, for somebody whose session has ended.
_NOTICE: Final = ", set_config('client_connection_check_interval', '1000', false)"
_KNOWS_IT: Final = 140_000


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
    try:
        read = {k: str(v) for k, v in conninfo_to_dict(dsn).items() if v is not None}
    except psycopg.ProgrammingError as error:
        # Its text may hold a password.
        raise InvalidRequestError("it is no connection string of libpq's") from error
    refused = _REFUSED & read.keys()
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


def target(read: Mapping[str, str]) -> NetworkTarget:
    """Return the service that a connection string is about."""
    port = int(read.get("port", "") or PORTS["postgres"])
    host = "localhost" if is_local(read) else read["host"]
    return NetworkTarget("postgres", host, port)


def is_local(read: Mapping[str, str]) -> bool:
    """Tell whether a connection string names a local socket."""
    return read["host"].startswith("/")


def conninfo(read: Mapping[str, str]) -> str:
    """Return a connection string that leaves nothing to the environment.

    Unless the caller says how the connection is protected, GSS protects it: then
    whoever it was authenticated to is who answers.

    Raises:
        InvalidRequestError: a value would end the string, and leave the rest unsaid.
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
        "krbsrvname": _SERVICE,
    }  # fmt: skip
    said |= {name: value for name, value in _NEWER.items() if name in said}
    if any("\0" in value for value in read.values()):
        raise InvalidRequestError("a NUL is no part of what a database is told")
    is_tls = read.get("sslmode") == "verify-full"
    said["gssencmode"] = "disable" if is_tls else "require"
    if not is_tls and "sslmode" not in read:
        said["sslmode"] = "disable"
    return make_conninfo("", **(said | dict(read)))


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
        NoCredentialsError: the database refuses the client.
        ServerUnavailableError: it does not answer, or not in time.
        LogonSessionEndedError: the session has ended meanwhile.
    """
    deadline = time.monotonic() + _SECONDS
    made = pq.PGconn.connect_start(text.encode())
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
        raise _refused(made, to)
    if time.monotonic() > deadline:
        raise ServerUnavailableError(f"`{to}` does not answer in time")


def _wait(descriptor: int, state: int) -> None:
    poll = select.poll()
    is_reading = state == pq.PollingStatus.READING
    poll.register(descriptor, select.POLLIN if is_reading else select.POLLOUT)
    poll.poll(_LOOK_AGAIN * 1000)


def _refused(made: pq.abc.PGconn, to: NetworkTarget) -> Exception:
    said = made.get_error_message(_ENCODING).strip().splitlines()
    why = said[-1] if said else "it says nothing"
    # It says its state only once it speaks the protocol: before, nobody was refused.
    if "FATAL" in why or "GSSAPI" in why:
        return not_taken(to, f"the database refuses the client: {why}")
    return ServerUnavailableError(
        f"`{to}` cannot be reached: {why}",
        advice="is the database there, and does its `pg_hba.conf` have `hostgssenc`?",
    )


def require_known_as(
    made: pq.abc.PGconn, to: NetworkTarget, principal: str, user: str
) -> None:
    """Ask the database who it thinks we are.

    Raises:
        WrongIdentityError: somebody else, or it took our word.
        ServerUnavailableError: it does not say.
    """
    is_shown, known, session_user, current_user = _said(made, to)
    if is_shown != "true":
        raise mistaken(to, "whoever we say we are", principal)
    if known != principal:
        raise mistaken(to, known, principal)
    _require_works_as(to, user, session_user, current_user)


def require_user(made: pq.abc.PGconn, to: NetworkTarget, user: str) -> None:
    """Ask a database as whom it works for us, where a password has proven the rest.

    Raises:
        WrongIdentityError: as somebody else.
        ServerUnavailableError: it does not say.
    """
    _require_works_as(to, user, *_said(made, to)[2:])


def _require_works_as(to: NetworkTarget, user: str, *found: str) -> None:
    for each in found:
        if each != user:
            raise mistaken(to, each, user)


def _said(made: pq.abc.PGconn, to: NetworkTarget) -> list[str]:
    """Return what a database says of us: is it a ticket, whose, as whom it works."""
    more = _NOTICE if made.server_version >= _KNOWS_IT else ""
    result = made.exec_(_WHO.format(more=more).encode())
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise ServerUnavailableError(f"`{to}` does not say who it thinks we are")
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
