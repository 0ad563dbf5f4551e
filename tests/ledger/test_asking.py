"""Pages of answers: the index finds, the trail is believed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead.adapters.store.trail_index import SqlTrailIndex
from stead.ledger.asking import ask
from stead.ledger.canonical import write_record
from stead.ledger.chain import seal
from stead.ledger.indexing import catch_up
from stead.ledger.query import Query, find
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

HOUR = 3_600_000_000_000
DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
PEOPLE = [
    Principal(DOMAIN.with_rid(1001), "alice", Luid(0x1_0001)),
    Principal(DOMAIN.with_rid(1001), "Alice", Luid(0x1_0002)),
    Principal(DOMAIN.with_rid(1002), "bob", Luid(0)),
    Principal(DOMAIN.with_rid(1003), "b\udcffb", Luid((1 << 64) - 1)),
]
SERVERS = [
    Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "notes", Luid(0x3E7)),
    Principal(Sid.from_string("S-1-5-80-1-2-3-4-6"), "mail", Luid(0x3E8)),
]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TEXTS = ["", "plan", "plans", "plan/a", "pl\udc80n", "ÄÖ", "x" * 600, "x" * 601]
MARKS = ["", "ab", "ab.1", "abc", "ab given", f"00-{TRACE}-00f067aa0ba902b7-01"]
PEERS = ["", "uid 1000", "uid 1000 pid 3", "uid 10001 pid 3", "10.0.0.1:4"]
TIMES = st.one_of(st.integers(0, 5 * HOUR), st.sampled_from([-(1 << 90), 1 << 90]))


def records():
    return st.builds(
        AuditRecord,
        event=st.sampled_from([AuditEvent.LOGON, AuditEvent.OBJECT_ACCESS]),
        outcome=st.sampled_from(Outcome),
        time=TIMES,
        server=st.sampled_from(SERVERS),
        client=st.none() | st.sampled_from(PEOPLE),
        chain=st.lists(st.sampled_from(PEOPLE + SERVERS), max_size=3).map(tuple),
        gate=st.sampled_from(["", "pipe", "http"]),
        peer=st.sampled_from(PEERS),
        correlation=st.sampled_from(MARKS),
        object_name=st.sampled_from(TEXTS),
        detail=st.sampled_from([{}, {"within": "0x10001"}, {"within": f"{1 << 70}"}]),
    )


def queries():
    name = st.sampled_from(
        ["ALICE", "bob", "b\udcffb", "notes", "nobody", "S-1-5-80-1-2-3-4-6"]
    )
    session = st.sampled_from([0, 0x3E7, 0x1_0001, (1 << 64) - 1, 1 << 64, -1])
    event = st.sampled_from([AuditEvent.LOGON, AuditEvent.GRANT_MADE])
    maybe = {
        "client": name,
        "server": name,
        "member": name,
        "object_name": st.sampled_from(TEXTS),
        "object_prefix": st.sampled_from([*TEXTS, "pl", "x" * 590]),
        "event": st.one_of(event, st.frozensets(event)),
        "outcome": st.sampled_from(Outcome),
        "since": TIMES,
        "until": TIMES,
        "correlation": st.sampled_from([*MARKS, TRACE, "a"]),
        "session": st.one_of(session, st.frozensets(session)),
        "gate": st.sampled_from(["", "pipe", "dde"]),
        "peer": st.sampled_from([*PEERS, "uid", "10.0.0.1"]),
        "before": st.integers(-1, 40),
    }
    few = st.lists(st.sampled_from(sorted(maybe)), max_size=3, unique=True)
    return few.flatmap(
        lambda names: st.builds(
            Query,
            after=st.integers(-1, 40),
            newest_first=st.booleans(),
            **{one: maybe[one] for one in names},
        )
    )


def sealed(made):
    return seal(None, [write_record(one) for one in made], b"genesis")


class ListStore:
    def __init__(self, entries):
        self.kept = entries

    def entries(self, after=0, limit=None):
        yield from [e for e in self.kept if e.sequence > after][:limit]

    def backwards(self, before=None):
        for entry in reversed(self.kept):
            if before is None or entry.sequence < before:
                yield entry

    def picked(self, sequences):
        return [e for e in self.kept if e.sequence in set(sequences)]

    def last(self):
        return self.kept[-1] if self.kept else None


def whole(store, index, query, **settings):
    """Ask page after page, until nothing follows."""
    found, pages = [], 0
    while True:
        page = ask(store, index, query, **settings)
        found += page.found
        pages += 1
        if page.next is None:
            return found, pages
        query = page.following(query)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.lists(records(), max_size=30),
    query=queries(),
    indexed=st.integers(0, 30),
    limit=st.integers(1, 5),
    work=st.integers(1, 20),
)
def test_what_is_indexed_and_what_is_streamed_agree(made, query, indexed, limit, work):
    store, index = ListStore(sealed(made)), SqlTrailIndex(None)
    if indexed:
        catch_up(store, index, limit=indexed)

    paged, _ = whole(store, index, replace(query, limit=limit), work=work)

    assert list(find(store, query)) == paged
    assert list(find(store, query)) == list(ask(store, index, query).found)
    index.close()
