"""The tables, in words that SQLite and PostgreSQL share.

A change of these tables is a new `VERSION`; `upgrading` brings a store of the one
before up to date, and any other is refused.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

from stead.model.sid import Sid

VERSION: Final = 4
"""The version of the schema that this module describes."""

FIRST_RID: Final = 1000
"""The first relative identifier for accounts and groups; those below are Windows'."""

FIRST_LUID: Final = 0x1_0000
"""The first LUID given out; Windows' fixed logon sessions (0x3e7) lie below."""


class SidText(TypeDecorator[Sid]):
    """A column of SIDs, kept as the text that people and joins can read."""

    impl = String(184)
    cache_ok = True

    def process_bind_param(
        self,
        value: Sid | None,
        dialect: Dialect,  # noqa: ARG002  # SQLAlchemy names and passes it
    ) -> str | None:
        """Write a SID as text."""
        return None if value is None else str(value)

    def process_result_value(
        self,
        value: str | None,
        dialect: Dialect,  # noqa: ARG002  # SQLAlchemy names and passes it
    ) -> Sid | None:
        """Read a SID from its text."""
        return None if value is None else Sid.from_string(value)


METADATA: Final = MetaData()

STORE: Final = Table(
    "store",
    METADATA,
    Column("id", BigInteger, CheckConstraint("id = 1"), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("domain", SidText, nullable=False),
    Column("founder", BigInteger, nullable=False),
    Column("next_rid", BigInteger, nullable=False),
    Column("next_luid", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default="1"),
    Column("next_object_version", BigInteger, nullable=False, server_default="1"),
)
"""One row: what the store is, the numbers that it gives out next, and how often what a
logon depends on was changed. New objects get a version that none of their name had."""

PRINCIPAL: Final = Table(
    "principal",
    METADATA,
    Column("sid", SidText, primary_key=True),
    Column("is_group", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("uid", BigInteger, unique=True),
    Column("primary_gid", BigInteger),
    Column("group_gid", BigInteger, unique=True),
    Column("is_disabled", Boolean, nullable=False, default=False),
    Column("version", BigInteger, nullable=False, default=1),
    Column("expires_at", BigInteger),
    Column("logon_hours", LargeBinary),
    Column("password_lasts", Boolean, nullable=False, server_default="0"),
    CheckConstraint("(uid IS NULL) = (primary_gid IS NULL)", name="uid_with_gid"),
)
"""Accounts and groups together: no two of either kind share a name."""

MEMBERSHIP: Final = Table(
    "membership",
    METADATA,
    Column("group_sid", SidText, ForeignKey(PRINCIPAL.c.sid), primary_key=True),
    # No foreign key: bare Unix identities and other authorities' may be members.
    Column("member_sid", SidText, primary_key=True),
    Index("membership_by_member", "member_sid"),
)

ALIAS: Final = Table(
    "alias",
    METADATA,
    # Compared exactly: to an issuer, names that look alike may be two people's.
    Column("issuer", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("sid", SidText, ForeignKey(PRINCIPAL.c.sid), nullable=False),
    Index("alias_by_sid", "sid"),
)
"""What issuers call accounts of the store."""

ACCOUNT_RIGHT: Final = Table(
    "account_right",
    METADATA,
    Column("holder", SidText, primary_key=True),
    Column("name", String(64), primary_key=True),
)

PASSWORD: Final = Table(
    "password",
    METADATA,
    Column("sid", SidText, ForeignKey(PRINCIPAL.c.sid), primary_key=True),
    Column("verifier", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

SCRAM: Final = Table(
    "scram",
    METADATA,
    # Of the password that is kept beside it: a process of an earlier version, which
    # knows nothing of this table, takes it away with that password.
    Column(
        "sid",
        SidText,
        ForeignKey(PASSWORD.c.sid, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("iterations", BigInteger, nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    Column("stored_key", LargeBinary, nullable=False),
    Column("server_key", LargeBinary, nullable=False),
)
"""What is kept of passwords for SCRAM."""

SCRAM_KEY: Final = Table(
    "scram_key",
    METADATA,
    Column("id", BigInteger, CheckConstraint("id = 1"), primary_key=True),
    Column("key", LargeBinary, nullable=False),
)
"""One row: the secret by which names that nobody has get their salts."""

LOGON_FAILURE: Final = Table(
    "logon_failure",
    METADATA,
    # No foreign key: names that nobody has are counted like any other.
    Column("name_key", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("locked_until", BigInteger, nullable=False),
    Index("logon_failure_by_age", "locked_until", "last_at"),
)

OBJECT: Final = Table(
    "object",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("type_name", Text, nullable=False),
    Column("rights", Text, nullable=False),
    Column("mapping", Text),
    Column("descriptor", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
)

AUDIT_SETTING: Final = Table(
    "audit_setting",
    METADATA,
    # Empty for everybody: what is said of nobody in particular.
    Column("holder", String(184), primary_key=True),
    Column("subcategory", String(64), primary_key=True),
    Column("included", BigInteger, nullable=False),
    Column("excluded", BigInteger, nullable=False),
)

GLOBAL_SACL: Final = Table(
    "global_sacl",
    METADATA,
    Column("type_name", Text, primary_key=True),
    Column("descriptor", LargeBinary, nullable=False),
)

AUDIT_LOSABLE: Final = Table(
    "audit_losable",
    METADATA,
    Column("event", BigInteger, primary_key=True, autoincrement=False),
)
"""Events that may be lost while the trail cannot be written."""

ENTRY: Final = Table(
    "entry",
    METADATA,
    Column(
        "sequence",
        # SQLite's name for the row number itself: no second index to keep in step.
        BigInteger().with_variant(Integer(), "sqlite"),
        CheckConstraint("sequence > 0"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("body", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)
"""The trail. Nothing updates a row of it; only whole segments are ever removed."""

TREE: Final = Table(
    "tree",
    METADATA,
    Column("id", BigInteger, CheckConstraint("id = 1"), primary_key=True),
    Column("edge", LargeBinary, nullable=False),
    Column("has_witness", BigInteger, nullable=False, server_default="0"),
)
"""One row: the right edge of the tree over all entries (`stead.ledger.tree`), and
whether a server ever had a witness for them."""

CHECKPOINT: Final = Table(
    "checkpoint",
    METADATA,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("edge", LargeBinary, nullable=False),
)
"""What the witness signed."""

SEGMENT: Final = Table(
    "segment",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False, unique=True),
    Column("last", BigInteger, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("edge", LargeBinary, nullable=False),
    Column("sealed_at", BigInteger, nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("archived_by", BigInteger, nullable=False, default=0),
    Column("cleared_by", BigInteger, nullable=False, default=0),
)
"""The seals of the trail's segments; they stay when the entries go."""

SINK: Final = Table(
    "sink",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)
"""Up to which entry each sink has acknowledged the trail, and that entry's digest."""

SERVER_PROCESS: Final = Table(
    "server_process",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("beats", BigInteger, nullable=False),
    Column("beat_at", BigInteger, nullable=False),
)
"""Processes that have sessions, and when each gave a sign of life last. One whose row
is gone has been given up by the others: none of its sessions lives any more."""

LIVE_SESSION: Final = Table(
    "live_session",
    METADATA,
    Column("logon_id", BigInteger, primary_key=True, autoincrement=False),
    Column("process", BigInteger, ForeignKey(SERVER_PROCESS.c.number), nullable=False),
    Column("user_sid", SidText, nullable=False),
    Column("name", Text, nullable=False),
    Column("logon_type", BigInteger, nullable=False),
    Column("package", Text, nullable=False),
    Column("authenticated_by", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Index("live_session_by_process", "process"),
)
"""Logon sessions that live, as each process writes them down soon after they open."""

SESSION_END: Final = Table(
    "session_end",
    METADATA,
    # A SID, or the number of a session as text.
    Column("whose", String(184), primary_key=True),
    Column("generation", BigInteger, nullable=False),
)
"""Whose sessions were ended: the one of a number, or all of a user's that somebody was
identified for before the store's generation was this."""
