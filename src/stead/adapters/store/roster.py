"""Sessions of every process that shares the store, in the database.

Over two connections of its own: whoever asks whether a lease may be renewed waits for
nobody who writes. What is written here need not survive a power cut, in which every
session ends: commits do not wait for the disk.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from stead.adapters.store.database import Database
from stead.adapters.store.place import Place
from stead.adapters.store.schema import (
    LIVE_SESSION,
    SERVER_PROCESS,
    SESSION_END,
    STORE,
)
from stead.authority.roster import FoundSession, ListedSession, ServerProcess
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import Luid
from stead.model.sid import Sid

# Built once: building a statement costs more than SQLite takes to answer it.
_IS_ENTERED: Final = exists().where(SERVER_PROCESS.c.number == bindparam("number"))
_GENERATION: Final = select(STORE.c.generation, _IS_ENTERED)
_ENDS_OF: Final = select(func.count()).where(
    or_(
        SESSION_END.c.whose == bindparam("logon_id"),
        and_(
            SESSION_END.c.whose == bindparam("user"),
            SESSION_END.c.generation > bindparam("generation"),
        ),
    )
)
_USERS_ENDED: Final = (
    select(LIVE_SESSION.c.logon_id)
    .join(SESSION_END, SESSION_END.c.whose == LIVE_SESSION.c.user_sid)
    .where(
        LIVE_SESSION.c.process == bindparam("number"),
        SESSION_END.c.generation > LIVE_SESSION.c.generation,
    )
)
_IS_OWN: Final = select(LIVE_SESSION.c.logon_id).where(
    LIVE_SESSION.c.logon_id == bindparam("logon_id"),
    LIVE_SESSION.c.process == bindparam("number"),
)
_NUMBERS_OF: Final = select(LIVE_SESSION.c.logon_id).where(
    LIVE_SESSION.c.user_sid == bindparam("user")
)
_NUMBERS_ENDED: Final = select(SESSION_END.c.whose).where(
    SESSION_END.c.whose.like(literal("0x%"))
)
_BEAT: Final = (
    update(SERVER_PROCESS)
    .where(SERVER_PROCESS.c.number == bindparam("whose"))
    .values(beats=SERVER_PROCESS.c.beats + 1, beat_at=bindparam("now"))
)
_STRIKE: Final = delete(LIVE_SESSION).where(
    LIVE_SESSION.c.logon_id == bindparam("number")
)
_ALL: Final = (
    select(
        LIVE_SESSION,
        SERVER_PROCESS.c.name.label("server"),
        SERVER_PROCESS.c.host,
        SERVER_PROCESS.c.pid,
        SERVER_PROCESS.c.started_at,
        SERVER_PROCESS.c.beat_at,
    )
    .join(SERVER_PROCESS, SERVER_PROCESS.c.number == LIVE_SESSION.c.process)
    .order_by(LIVE_SESSION.c.opened_at, LIVE_SESSION.c.logon_id)
)
_ONE: Final = _ALL.where(LIVE_SESSION.c.logon_id == bindparam("number"))


class SqlSessionRoster:
    """The `SessionRoster` of a database.

    Args:
        asking: what is read over.
        writing: what is written over; commits need not wait for the disk.
        place: the store's files.
    """

    def __init__(self, asking: Database, writing: Database, place: Place) -> None:
        self._asking = asking
        self._writing = writing
        self._place = place

    def enter(self, process: ServerProcess, now: int) -> None:
        """Write down a process."""
        with self._writing.writing() as connection:
            connection.execute(
                insert(SERVER_PROCESS).values(
                    number=process.number,
                    name=process.name,
                    host=process.host,
                    pid=process.pid,
                    started_at=process.started_at,
                    beats=1,
                    beat_at=now,
                )
            )

    def leave(self, number: Luid) -> None:
        """Forget a process that ends, or is given up, with its sessions."""
        with self._writing.writing() as connection:
            connection.execute(
                delete(LIVE_SESSION).where(LIVE_SESSION.c.process == number)
            )
            connection.execute(
                delete(SERVER_PROCESS).where(SERVER_PROCESS.c.number == number)
            )

    def write(
        self,
        number: Luid,
        opened: Collection[ListedSession],
        ended: Collection[Luid],
        now: int,
    ) -> bool:
        """Write down what changed, as a sign of life; False if it was given up."""
        with self._writing.writing() as connection:
            beat = connection.execute(_BEAT, {"whose": number, "now": now})
            if beat.rowcount != 1:
                return False
            _write(connection, number, opened, ended)
        return True

    def beats(self) -> dict[Luid, int]:
        """Return how many signs of life each process gave."""
        counted = select(SERVER_PROCESS.c.number, SERVER_PROCESS.c.beats)
        with self._asking.reading() as connection:
            rows = connection.execute(counted)
            return {Luid(row.number): row.beats for row in rows}

    def generation(self, number: Luid | None) -> int | None:
        """Return the store's generation; None if this process was given up.

        Raises:
            StoreUnavailableError: it cannot be asked, or is another one by now.
        """
        since = self._place.latest
        with self._asking.reading() as connection:
            asked = {"number": number}
            generation, is_entered = connection.execute(_GENERATION, asked).one()
            self._place.require_current(generation, since)
        is_given_up = number is not None and not is_entered
        return None if is_given_up else int(generation)

    def was_ended(self, logon_id: Luid, user: Sid | None, generation: int) -> bool:
        """Tell whether a session was ended; see `Leases`."""
        asked = {
            "logon_id": str(logon_id),
            "user": "" if user is None else str(user),
            "generation": generation,
        }
        with self._asking.reading() as connection:
            return bool(connection.execute(_ENDS_OF, asked).scalar_one())

    def ended_of(self, number: Luid) -> tuple[Luid, ...]:
        """Return the sessions of a process that were ended and are written down."""
        asked = {"number": number}
        with self._asking.reading() as connection:
            ended = [Luid(n) for n in connection.execute(_USERS_ENDED, asked).scalars()]
            # They are few: each is forgotten when the next session is ended.
            for whose in connection.execute(_NUMBERS_ENDED).scalars().all():
                one = Luid(int(whose, 0))
                if connection.execute(_IS_OWN, asked | {"logon_id": one}).first():
                    ended.append(one)
        return tuple(dict.fromkeys(ended))

    def sessions(self) -> tuple[FoundSession, ...]:
        """Return every session that is written down, oldest first."""
        with self._asking.reading() as connection:
            return tuple(map(_found, connection.execute(_ALL)))

    def session(self, logon_id: Luid) -> FoundSession | None:
        """Return the session of a number, if it is written down."""
        with self._asking.reading() as connection:
            row = connection.execute(_ONE, {"number": logon_id}).first()
        return None if row is None else _found(row)

    def numbers_of(self, user: Sid) -> frozenset[Luid]:
        """Return the numbers of a user's sessions that are written down."""
        with self._asking.reading() as connection:
            found = connection.execute(_NUMBERS_OF, {"user": user}).scalars()
            return frozenset(map(Luid, found))


def _write(
    connection: Connection,
    number: Luid,
    opened: Collection[ListedSession],
    ended: Collection[Luid],
) -> None:
    # What was written once, and was not known to be, may come again.
    gone = [*ended, *(one.record.logon_id for one in opened)]
    if gone:
        connection.execute(_STRIKE, [{"number": one} for one in gone])
    if opened:
        rows = [_row(number, one) for one in opened]
        connection.execute(insert(LIVE_SESSION), rows)


def _row(number: Luid, listed: ListedSession) -> dict[str, Any]:
    record = listed.record
    return {
        "logon_id": record.logon_id,
        "process": number,
        "user_sid": record.user,
        "name": record.name,
        "logon_type": record.logon_type,
        "package": record.package,
        "authenticated_by": record.authenticated_by,
        "opened_at": record.opened_at,
        "generation": listed.generation,
    }


def _found(row: Row[Any]) -> FoundSession:
    record = LogonRecord(
        Luid(row.logon_id),
        row.user_sid,
        row.name,
        LogonType(row.logon_type),
        row.package,
        row.authenticated_by,
        row.opened_at,
    )
    process = ServerProcess(
        Luid(row.process), row.server, row.host, row.pid, row.started_at
    )
    return FoundSession(record, process, row.beat_at)
