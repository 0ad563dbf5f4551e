"""Changes of accounts and groups that exist: other names, other ids, and their end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stead.authority.identity import require_mappable
from stead.authority.names import reads_as_sid, require_name
from stead.authority.ports import Account, AccountStore, Alias, Group
from stead.errors import InvalidNameError, UnknownAccountError
from stead.model.arguments import require_kind, require_text
from stead.model.audit_record import AuditEvent
from stead.model.posix_identity import MAXIMUM_ID
from stead.model.sid import Sid
from stead.model.well_known import NAMES
from stead.server.account_desk import AccountDesk, account_named
from stead.server.own_objects import AccountDatabase

_LONGEST_ALIAS: Final = 2000  # a record's text, and a key of PostgreSQL's, hold more


@dataclass(frozen=True, slots=True)
class PrincipalChanges:
    """What can become of an account or a group that exists.

    Attributes:
        desk: judges and records.
        store: where they live.
    """

    desk: AccountDesk
    store: AccountStore

    def rename_account(self, name: str, new: str) -> Account:
        """Give an account another name; its SID and all that names it stay."""
        self.desk.require(AccountDatabase.WRITE)
        account = account_named(self.store, name)
        self._rename(account.sid, account.name, new)
        return account_named(self.store, new)

    def rename_group(self, name: str, new: str) -> Group:
        """Give a group of the store's own another name."""
        self.desk.require(AccountDatabase.WRITE)
        group = self._own_group(name)
        self._rename(group.sid, group.name, new)
        return group_named(self.store, new)

    def map_account(self, name: str, uid: int | None, gid: int | None) -> Account:
        """Say what the kernel knows an account by; its sessions end."""
        require_ids(uid, gid)
        self.desk.require(AccountDatabase.WRITE)
        account, group = account_named(self.store, name), uid if gid is None else gid
        changed = {
            "sid": str(account.sid),
            "old": f"uid {_shown(account.uid)} gid {_shown(account.gid)}",
            "new": f"uid {_shown(uid)} gid {_shown(group)}",
        }
        with self.desk.changing(AuditEvent.ACCOUNT_CHANGED, account.name, **changed):
            made = self.store.set_account_ids(account.sid, uid, group)
        self.desk.sessions.end_all_of(account.sid)
        return made

    def map_group(self, name: str, gid: int | None) -> Group:
        """Say what gid the members of a group have; it counts from their next logon."""
        require_id(gid)
        if gid is not None:
            require_mappable(gid)
        self.desk.require(AccountDatabase.WRITE)
        group = group_named(self.store, name)
        changed = {
            "sid": str(group.sid),
            "old": f"gid {_shown(group.gid)}",
            "new": f"gid {_shown(gid)}",
        }
        with self.desk.changing(AuditEvent.GROUP_CHANGED, group.name, **changed):
            return self.store.set_group_gid(group.sid, gid)

    def delete_account(self, name: str) -> None:
        """Delete an account: its sessions end, and its SID is never given out again."""
        self.desk.require(AccountDatabase.WRITE)
        account = account_named(self.store, name)
        deleted = AuditEvent.ACCOUNT_DELETED
        with self.desk.changing(deleted, account.name, sid=str(account.sid)):
            self.store.remove_principal(account.sid)
        self.desk.sessions.end_all_of(account.sid)

    def delete_group(self, name: str) -> None:
        """Delete a group of the store's own; sessions whose tokens hold it end."""
        self.desk.require(AccountDatabase.WRITE)
        group = self._own_group(name)
        deleted = AuditEvent.GROUP_DELETED
        with self.desk.changing(deleted, group.name, sid=str(group.sid)):
            self.store.remove_principal(group.sid)

    def add_alias(self, name: str, alias: Alias) -> bool:
        """Let an account be known by what an issuer calls it."""
        _require_alias(alias)
        account = self._changing_alias(name)
        if alias in self.store.aliases_of(account.sid):
            return False
        told = {"sid": str(account.sid), "old": "", "new": _told(alias)}
        with self.desk.changing(AuditEvent.ACCOUNT_CHANGED, account.name, **told):
            return self.store.add_alias(account.sid, alias)

    def remove_alias(self, name: str, alias: Alias) -> bool:
        """Take an alias of an account; sessions that began by it end."""
        account = self._changing_alias(name)
        if alias not in self.store.aliases_of(account.sid):
            return False
        told = {"sid": str(account.sid), "old": _told(alias), "new": ""}
        with self.desk.changing(AuditEvent.ACCOUNT_CHANGED, account.name, **told):
            return self.store.remove_alias(account.sid, alias)

    def _changing_alias(self, name: str) -> Account:
        self.desk.require(AccountDatabase.WRITE)
        return account_named(self.store, name)

    def _rename(self, sid: Sid, old: str, new: str) -> None:
        kept = require_name(new)
        renamed = AuditEvent.ACCOUNT_RENAMED
        with self.desk.changing(renamed, old, sid=str(sid), new=kept):
            self.store.rename(sid, kept)

    def _own_group(self, name: str) -> Group:
        """Return a group that is not Windows' own."""
        group = group_named(self.store, name)
        if group.sid in NAMES:
            raise InvalidNameError(f"group `{group.name}` is every store's, and stays")
        return group


def group_named(store: AccountStore, name: str) -> Group:
    """Return the group of this name; raises `UnknownAccountError`."""
    found = store.group_by_name(name)
    if found is None:
        raise UnknownAccountError(f"no group is called `{name[:80]}`")
    return found


def require_id(number: int | None) -> None:
    """Return if this can be a uid or gid.

    Raises:
        InvalidNameError: it cannot.
        InvalidRequestError: it is no number.
    """
    require_kind("uid or gid", number, (int, type(None)), "it is a number")
    if number is not None and not 0 <= number <= MAXIMUM_ID:
        raise InvalidNameError(f"`{number}` is not a uid or gid")


def require_ids(uid: int | None, gid: int | None) -> None:
    """Return if an account can be known by these; raises `InvalidNameError`."""
    require_id(uid)
    require_id(gid)
    if uid is None and gid is not None:
        raise InvalidNameError("a gid without a uid says nothing")
    if gid is not None and gid != uid:
        require_mappable(gid)


def _require_alias(alias: Alias) -> None:
    """Refuse what names nobody, and what the trail could not name in full.

    Raises:
        InvalidNameError: it is that.
        InvalidSidError: its name begins like a SID and is none.
    """
    require_text("issuer", alias.issuer)
    require_text("name", alias.name)
    whole = (alias.issuer + alias.name).encode("utf-8", "surrogatepass")
    if not (alias.issuer and alias.name) or len(whole) > _LONGEST_ALIAS:
        raise InvalidNameError(
            "an alias names an issuer and somebody of its, in no more than "
            f"{_LONGEST_ALIAS} bytes",
            advice="such as `stead account alias alice EXAMPLE.COM alice`",
        )
    if reads_as_sid(alias.name) and str(Sid.from_string(alias.name)) != alias.name:
        raise InvalidNameError(
            f"`{alias.name[:120]}` is not how a SID is written",
            advice="write it `S-1-5-21-a-b-c-d`",
        )


def _told(alias: Alias) -> str:
    return f"alias {alias.name} of {alias.issuer}"


def _shown(number: int | None) -> str:
    return "none" if number is None else str(number)
