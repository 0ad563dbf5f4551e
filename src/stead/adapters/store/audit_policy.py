"""The audit policy in the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from stead.adapters.store.database import Database
from stead.adapters.store.naming import require_text
from stead.adapters.store.schema import AUDIT_LOSABLE, AUDIT_SETTING, GLOBAL_SACL
from stead.errors import InvalidSecurityDescriptorError, StoreUnavailableError
from stead.model.acl import ABSENT_DACL, Acl
from stead.model.audit_policy import (
    EVERYTHING,
    AccountAuditing,
    Auditing,
    AuditPolicy,
    Subcategory,
)
from stead.model.audit_record import AuditEvent
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid

_EVERYBODY: Final = ""

# Built once: building a statement costs more than SQLite takes to answer it.
_SETTINGS: Final = select(AUDIT_SETTING)
_SACLS: Final = select(GLOBAL_SACL)
_LOSABLE: Final = select(AUDIT_LOSABLE.c.event)


class SqlAuditPolicyStore:
    """The `AuditPolicyStore` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def policy(self) -> AuditPolicy:
        """Return all of it; raises `StoreUnavailableError` if it makes no sense."""
        with self._database.reading() as connection:
            try:
                return _read(connection)
            except (ValueError, InvalidSecurityDescriptorError) as error:
                raise StoreUnavailableError(
                    f"the audit policy of the store is not understood: {error}",
                    advice="open it with the version of Stead that wrote it",
                ) from error

    def set_everybody(self, subcategory: Subcategory, wanted: Auditing) -> None:
        """Keep what is recorded of everybody."""
        kept = None if wanted == EVERYTHING else AccountAuditing(wanted)
        self._set(_EVERYBODY, subcategory, kept)

    def set_account(
        self, sid: Sid, subcategory: Subcategory, wanted: AccountAuditing
    ) -> None:
        """Keep what is recorded of one account; nothing of it if that is nothing."""
        self._set(
            str(sid), subcategory, None if wanted == AccountAuditing() else wanted
        )

    def set_global_sacl(self, type_name: str, sacl: Acl | None) -> None:
        """Keep the SACL of a whole kind of objects; None for none."""
        require_text(type_name)
        table = GLOBAL_SACL
        with self._database.writing() as connection:
            connection.execute(delete(table).where(table.c.type_name == type_name))
            if sacl is not None:
                connection.execute(
                    insert(table).values(
                        type_name=type_name,
                        descriptor=SecurityDescriptor(
                            dacl=ABSENT_DACL, sacl=sacl
                        ).to_bytes(),
                    )
                )

    def set_losable(self, events: Iterable[AuditEvent]) -> None:
        """Keep which events may be lost while the trail cannot be written."""
        rows = [{"event": int(event)} for event in sorted(events)]
        with self._database.writing() as connection:
            connection.execute(delete(AUDIT_LOSABLE))
            if rows:
                connection.execute(insert(AUDIT_LOSABLE), rows)

    def _set(
        self, holder: str, subcategory: Subcategory, kept: AccountAuditing | None
    ) -> None:
        table = AUDIT_SETTING
        with self._database.writing() as connection:
            connection.execute(
                delete(table).where(
                    table.c.holder == holder, table.c.subcategory == subcategory.value
                )
            )
            if kept is not None:
                connection.execute(
                    insert(table).values(
                        holder=holder,
                        subcategory=subcategory.value,
                        included=int(kept.included),
                        excluded=int(kept.excluded),
                    )
                )


def _read(connection: Connection) -> AuditPolicy:
    settings: dict[Subcategory, Auditing] = {}
    accounts: dict[tuple[Sid, Subcategory], AccountAuditing] = {}
    for row in connection.execute(_SETTINGS):
        subcategory = Subcategory(row.subcategory)
        if row.holder == _EVERYBODY:
            settings[subcategory] = Auditing(row.included)
        else:
            own = AccountAuditing(Auditing(row.included), Auditing(row.excluded))
            accounts[Sid.from_string(row.holder), subcategory] = own
    losable = frozenset(map(AuditEvent, connection.execute(_LOSABLE).scalars()))
    sacls = {
        row.type_name: sacl
        for row in connection.execute(_SACLS)
        if isinstance(sacl := SecurityDescriptor.from_bytes(row.descriptor).sacl, Acl)
    }
    return AuditPolicy(settings, accounts, sacls, losable)
