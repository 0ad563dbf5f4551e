"""Random records with everything in them that a client could make up."""

from __future__ import annotations

from hypothesis import strategies as st

from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

# What some form of the exports gives a meaning to, or cannot hold.
PIECES = (
    *("\n", "\r\n", "\0", "\t", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e"),
    *("\ud800", "\udfff", "\ufffe", "\uffff", "\U0001f600", "\\", "\\u0041", "\\ud800"),
    *('"', "'", "]", "[", "<", ">", "&", "]]>", "<!--", "&#10;", "</Data>", "%", "{"),
    *(
        '"]',
        "} ",
        "msg='",
        " res=success",
        "=",
        "acct=",
        "0x",
        "|",
        "\u00e9",
        "5 <13>1 ",
    ),
)
TEXTS = st.one_of(
    st.text(st.characters(), max_size=12),
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.sampled_from(PIECES).map(lambda piece: (piece * 2048)[:2048]),
)
SIDS = st.builds(
    Sid.from_parts,
    st.integers(0, (1 << 48) - 1),
    st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=15).map(tuple),
)
LUIDS = st.integers(0, (1 << 64) - 1).map(Luid)
PRINCIPALS = st.builds(Principal, SIDS, TEXTS, LUIDS)
LISTS = st.lists(TEXTS, max_size=3).map(tuple)
NUMBERS = st.integers(-(1 << 70), 1 << 70)
# Details that a form reads, and any other.
DETAILS = st.sampled_from(
    ("pid", "server pid", "exit code", "count", "logon type", "member", "old", "right")
)
RECORDS = st.builds(
    AuditRecord,
    event=st.sampled_from(AuditEvent) | st.integers(0, (1 << 31) - 1),
    outcome=st.sampled_from(Outcome),
    time=NUMBERS,
    server=PRINCIPALS,
    client=st.none() | PRINCIPALS,
    chain=st.lists(PRINCIPALS, max_size=3).map(tuple),
    gate=TEXTS,
    peer=TEXTS,
    correlation=TEXTS,
    operation=TEXTS,
    object_type=TEXTS | st.just("File"),
    object_name=TEXTS,
    desired=NUMBERS,
    granted=NUMBERS,
    privileges=LISTS,
    reasons=LISTS,
    status=NUMBERS,
    detail=st.dictionaries(DETAILS | TEXTS, TEXTS, max_size=4),
)
