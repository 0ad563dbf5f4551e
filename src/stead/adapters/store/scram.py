"""What is kept of passwords for SCRAM, beside what is kept of them otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from stead.adapters.store.look_ups import Ask
from stead.adapters.store.schema import SCRAM, SCRAM_KEY
from stead.authority.credential_ports import ScramDecoys
from stead.model.scram_verifier import ScramVerifier
from stead.model.sid import Sid

_KEY_BYTES: Final = 32
_VERIFIER: Final = select(
    SCRAM.c.salt, SCRAM.c.iterations, SCRAM.c.stored_key, SCRAM.c.server_key
).where(SCRAM.c.sid == bindparam("key"))
_COUNTS: Final = (
    select(SCRAM.c.iterations, func.count())
    .group_by(SCRAM.c.iterations)
    .order_by(SCRAM.c.iterations)
)
_KEY: Final = select(SCRAM_KEY.c.key)


def read_scram(ask: Ask, sid: Sid) -> ScramVerifier | None:
    """Return what an account has."""
    found = ask(_VERIFIER, (str(sid),))
    return ScramVerifier(*found[0]) if found else None


def keep_scram(connection: Connection, sid: Sid, verifier: ScramVerifier) -> None:
    """Keep what an account has from now on, in the transaction of its password's."""
    connection.execute(delete(SCRAM).where(SCRAM.c.sid == sid))
    connection.execute(
        insert(SCRAM).values(
            sid=sid,
            iterations=verifier.iterations,
            salt=verifier.salt,
            stored_key=verifier.stored_key,
            server_key=verifier.server_key,
        )
    )


def read_decoys(ask: Ask) -> ScramDecoys:
    """Return the store's secret, and how often each count of iterations occurs."""
    ((key,),) = ask(_KEY, ())
    counts = tuple((iterations, count) for iterations, count in ask(_COUNTS, ()))
    return ScramDecoys(key, counts)


def write_scram_key(connection: Connection, entropy: Callable[[int], bytes]) -> None:
    """Make the store's secret."""
    connection.execute(insert(SCRAM_KEY).values(id=1, key=entropy(_KEY_BYTES)))
