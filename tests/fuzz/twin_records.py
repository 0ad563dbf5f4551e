"""The twin of records' one form beside Python, at random; `twin.py` runs it."""

from __future__ import annotations

import random

_PIECES = (
    "", "a", "plan", '"', "\\", "\n", "\0", "\x1f", "\x7f", "\u00e9", "\u2028",
    "\ud800", "\udfff", "\U0001f600", "/srv/notes/alice.txt", "WRITE is granted",
)  # fmt: skip


def compare(source: random.Random) -> None:
    """Have both write one record, which may hold what no record should."""
    from stead.errors import InvalidRecordError
    from stead.ledger.canonical import pure_write_record, write_record

    def written(write, record):
        try:
            return write(record)
        except InvalidRecordError as error:
            return str(error)

    record = make_record(source)
    expected, found = written(pure_write_record, record), written(write_record, record)
    if expected != found:
        raise SystemExit(f"twin and Python differ: {record}: {expected!r}, {found!r}")


def make_record(source: random.Random):
    """Return a record; now and then with a field of some other kind."""
    from stead.model.audit_record import AuditEvent, AuditRecord, Outcome

    def text() -> str:
        size = source.choice((0, 1, 1, 2, 5, 5, 700))
        return "".join(source.choice(_PIECES) for _ in range(size))

    def number() -> int:
        return source.choice((0, 0, 1, -1, source.getrandbits(66) - (1 << 65)))

    def texts() -> tuple[str, ...]:
        return tuple(text() for _ in range(source.randrange(3)))

    fields = {
        "event": source.choice(list(AuditEvent)),
        "outcome": source.choice(list(Outcome)),
        "server": make_principal(source, text()),
        "client": source.choice((None, make_principal(source, text()))),
        "chain": tuple(
            make_principal(source, text()) for _ in range(source.randrange(3))
        ),
        "detail": {text(): text() for _ in range(source.choice((0, 1, 3, 40)))},
        "privileges": texts(),
        "reasons": texts(),
    }
    for name in ("gate", "peer", "correlation", "operation"):
        fields[name] = text()
    for name in ("object_type", "object_name"):
        fields[name] = text()
    for name in ("time", "desired", "granted", "status"):
        fields[name] = number()
    if source.random() < 0.1:
        strange = (None, 7, True, b"x", "x", ("x", 3), ["x"], {"x": 3}, {3: "x"}, 1.5)
        fields[source.choice(list(fields))] = source.choice(strange)
    return AuditRecord(**fields)


def make_principal(source: random.Random, name: str):
    """Return somebody."""
    from stead.model.audit_record import Principal
    from stead.model.luid import Luid
    from stead.model.sid import Sid

    parts = tuple(source.getrandbits(32) for _ in range(source.randrange(1, 16)))
    authority = source.choice((5, 16, 1 << 32, (1 << 48) - 1))
    return Principal(
        Sid.from_parts(authority, parts), name, Luid(source.getrandbits(64))
    )
