"""Changes of what somebody is in, and of the privileges and rights that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.authority.names import NameTable
from stead.authority.ports import AccountStore
from stead.errors import InvalidNameError
from stead.model.arguments import require_kind
from stead.model.audit_record import AuditEvent
from stead.model.privilege import LogonRight, Privilege
from stead.model.sid import Sid
from stead.server.account_desk import AccountDesk
from stead.server.own_objects import AccountDatabase
from stead.server.principal_changes import group_named

_RIGHTS: Final[dict[str, Privilege | LogonRight]] = {
    **{privilege.value: privilege for privilege in Privilege},
    **{right.value: right for right in LogonRight},
}


@dataclass(frozen=True, slots=True)
class Holdings:
    """Where memberships and rights are given and taken; nothing is done twice.

    Attributes:
        desk: judges and records.
        store: where they are kept.
        names: resolves whoever has them.
    """

    desk: AccountDesk
    store: AccountStore
    names: NameTable

    def add_member(self, group: str, member: Sid | str) -> bool:
        """Put somebody into a group; False if they were in it."""
        self.desk.require(AccountDatabase.WRITE)
        into, sid = group_named(self.store, group), self.names.find(member)
        if into.sid == sid:
            raise InvalidNameError(f"group `{into.name}` cannot be its own member")
        if sid in self.store.members(into.sid):
            return False
        told = self._told(into.sid, sid)
        with self.desk.changing(AuditEvent.GROUP_MEMBER_ADDED, into.name, **told):
            return self.store.add_member(into.sid, sid)

    def remove_member(self, group: str, member: Sid | str) -> bool:
        """Take somebody out of a group; False if they were not in it."""
        self.desk.require(AccountDatabase.WRITE)
        out_of, sid = group_named(self.store, group), self.names.find(member)
        if sid not in self.store.members(out_of.sid):
            return False
        told = self._told(out_of.sid, sid)
        with self.desk.changing(AuditEvent.GROUP_MEMBER_REMOVED, out_of.name, **told):
            return self.store.remove_member(out_of.sid, sid)

    def grant(self, holder: Sid | str, right: Privilege | LogonRight) -> bool:
        """Give a privilege or account right; False if it was held."""
        _require_right(right)
        self.desk.require(AccountDatabase.WRITE)
        sid = self.names.find(holder)
        if self._holds(sid, right):
            return False
        given = AuditEvent.RIGHT_ASSIGNED
        if isinstance(right, LogonRight):
            given = AuditEvent.LOGON_RIGHT_GRANTED
        told = {"sid": str(sid), "right": right.value}
        with self.desk.changing(given, self.names(sid), **told):
            return self.store.add_right(sid, right.value)

    def revoke(self, holder: Sid | str, right: Privilege | LogonRight) -> bool:
        """Take a privilege or account right; False if it was not held."""
        _require_right(right)
        self.desk.require(AccountDatabase.WRITE)
        sid = self.names.find(holder)
        if not self._holds(sid, right):
            return False
        taken = AuditEvent.RIGHT_REMOVED
        if isinstance(right, LogonRight):
            taken = AuditEvent.LOGON_RIGHT_REMOVED
        told = {"sid": str(sid), "right": right.value}
        with self.desk.changing(taken, self.names(sid), **told):
            return self.store.remove_right(sid, right.value)

    def _told(self, group: Sid, member: Sid) -> dict[str, str]:
        """Say who is meant: names are given to others, SIDs never."""
        return {
            "sid": str(group), "member": self.names(member), "member sid": str(member),
        }  # fmt: skip

    def _holds(self, sid: Sid, right: Privilege | LogonRight) -> bool:
        return right.value in self.store.assignments_of((sid,))[sid].rights


def _require_right(right: Privilege | LogonRight) -> None:
    advice = "such as `Privilege.BACKUP` or `LogonRight.NETWORK`"
    require_kind("right", right, (Privilege, LogonRight), advice)


def right_named(text: str) -> Privilege | LogonRight:
    """Return the privilege or account right of a Win32 name.

    Raises:
        InvalidNameError: there is none of that name.
    """
    found = _RIGHTS.get(text)
    if found is None:
        raise InvalidNameError(
            f"`{text[:80]}` is no privilege or account right",
            advice="`stead privilege list --all` shows their names",
        )
    return found
