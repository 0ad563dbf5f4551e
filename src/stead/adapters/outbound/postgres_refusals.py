"""What a database's refusal means: it is not always about the client's credentials.

PostgreSQL says why in a text and a state of five characters. libpq keeps the state to
itself while it connects, so there the text is looked at. It is in the language of the
database (`lc_messages`): what is not understood is a refusal like most.
"""

from __future__ import annotations

import re
from typing import Final

from psycopg import pq

from stead.adapters.outbound.passage import as_said, not_taken
from stead.adapters.outbound.passwords import NOT_KNOWN
from stead.errors import (
    AccessDeniedError,
    ServerUnavailableError,
    SteadError,
    UnknownDatabaseError,
)
from stead.model.delegation_policy import NetworkTarget

_WRONG_PASSWORD: Final = "28P01"  # noqa: S105 - a state
_NO_DATABASE: Final = "3D000"
_NOT_NOW: Final = ("53", "57P")
"""Too many connections, no memory; starting, ending, or restoring."""

# libpq writes its own errors otherwise: `severity`, a colon and two spaces.
_BY_SERVER: Final = re.compile(r"[^:]{1,40}:  ")
_LAST_TRY: Final = "connection to server"
_STATES: Final = tuple(
    (re.compile(text), state)
    for text, state in (
        ("password authentication failed", _WRONG_PASSWORD),
        ("database .* does not exist", _NO_DATABASE),
        ("too many (clients|connections)|connection slots", "53300"),
        ("the database system is ", "57P03"),
    )
)

_OF_TLS: Final = ("SSL", "certificate")
_TLS_ADVICE: Final = (
    "does it speak TLS, with a certificate for that name, by an authority that this "
    "machine believes, or the one of `sslrootcert=`? None is reached without"
)
_ADVICE: Final = (
    "is the database there, and does its `pg_hba.conf` have `hostgssenc` for tickets, "
    "or `hostssl` for passwords?"
)


def refused(to: NetworkTarget, why: str, state: str) -> SteadError:
    """Return what a database's refusal means.

    Args:
        to: the database.
        why: what it says.
        state: its SQLSTATE (PostgreSQL's documentation, appendix A); empty if unknown.
    """
    said = as_said(why)
    what = f"`{to}`: the database refuses the client: {said}"
    # Its library's name is so in each language.
    if "GSSAPI" in why:
        return not_taken(to, what)
    if state == _WRONG_PASSWORD:
        return not_taken(to, what, NOT_KNOWN)
    if state == _NO_DATABASE:
        return UnknownDatabaseError(
            what, advice="is `dbname` right? Without one it is the role's name"
        )
    if state.startswith(_NOT_NOW):
        return ServerUnavailableError(
            f"`{to}` takes nobody in now: {said}",
            advice="see the database's log, and its `max_connections`; nothing is "
            "wrong with the client's credentials",
        )
    return AccessDeniedError(
        what,
        object_name=str(to),
        advice="have the database let this role in: its line in `pg_hba.conf` "
        "(`hostgssenc` for tickets, `hostssl` under TLS), LOGIN, and CONNECT to the "
        "database; nothing is wrong with the client's credentials",
    )


def not_connected(made: pq.abc.PGconn, to: NetworkTarget) -> SteadError:
    """Return why libpq has not connected."""
    why = _last_try(made.get_error_message("utf-8"))
    if made.needs_password:
        return not_taken(
            to,
            "the database asks for a password, which nobody gets",
            "have its `pg_hba.conf` say `hostgssenc ... gss` for this role, or hand in "
            "a name and a password for that machine (`client.explicit_credentials`)",
        )
    if _BY_SERVER.match(why) or "GSSAPI" in why:
        found = (state for text, state in _STATES if text.search(why))
        return refused(to, why, next(found, ""))
    is_about_tls = any(word in why for word in _OF_TLS)
    return ServerUnavailableError(
        f"`{to}` cannot be reached: {as_said(why)}",
        advice=_TLS_ADVICE if is_about_tls else _ADVICE,
    )


def _last_try(text: str) -> str:
    """Return what came of the last of a host's addresses, in one line."""
    lines = [line.strip() for line in text.strip().splitlines()]
    for number in reversed(range(len(lines))):
        if lines[number].startswith(_LAST_TRY):
            tried = "; ".join(lines[number:])
            return tried.partition(" failed: ")[2] or tried
    return "; ".join(lines) or "it says nothing"
