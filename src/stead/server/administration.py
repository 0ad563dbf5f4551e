"""Accounts, passwords, groups and rights, changed only by who may; recorded first.

Every verb acts for a subject: the server itself, when its own code calls, or a client
(`for_client`). What they may do is the descriptor of the object `stead:accounts`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from stead.authority.identity import require_mappable
from stead.authority.logon import Logon
from stead.authority.names import NameTable, require_name
from stead.authority.ports import Account, AccountStore, Alias, Group
from stead.authority.sessions import Sessions
from stead.errors import (
    AccountExistsError,
)
from stead.model.arguments import require_text
from stead.model.audit_record import AuditEvent
from stead.model.privilege import LogonRight, Privilege
from stead.model.secret import Secret
from stead.model.sid import Sid
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.account_desk import AccountDesk, account_named
from stead.server.account_times import AccountTimes
from stead.server.holdings import Holdings
from stead.server.own_objects import AccountDatabase
from stead.server.passwords import LockedName, PasswordDesk
from stead.server.principal_changes import (
    PrincipalChanges,
    group_named,
    require_id,
    require_ids,
)


@dataclass(frozen=True, slots=True)
class Administration:
    """The account desk of a server.

    Attributes:
        guard: judges and records.
        store: where accounts live.
        names: resolves them.
        sessions: ends those of a disabled account.
        database: the object whose descriptor says who may.
        subject: on whose behalf.
        logon: compares passwords; None where the library for that is missing.
        sleep: waits for some seconds before a wrong password is answered.
    """

    guard: Guard
    store: AccountStore
    names: NameTable
    sessions: Sessions
    database: SecurableObject
    subject: Subject
    logon: Logon | None
    sleep: Callable[[float], None]

    # --- accounts -------------------------------------------------------------------

    def add(
        self,
        name: str,
        *,
        uid: int | None = None,
        gid: int | None = None,
        exist_ok: bool = False,
    ) -> Account:
        """Add an account.

        Args:
            name: 1 to 64 printable letters.
            uid: what the kernel knows it by on this host; without one it may be judged,
                and no kernel act is ever done for it.
            gid: its primary group there; the same number as `uid` if not given.
            exist_ok: return the account of this name if there is one already.

        Raises:
            AccountExistsError: name or uid is taken, or the account of this name has
                another uid or gid than the one given.
            InvalidNameError: the name, uid or gid is none.
            AccessDeniedError: the subject may not.
        """
        kept = require_name(name)
        require_ids(uid, gid)
        try:
            found = self.store.account_by_name(kept)
            if found is None or not exist_ok:
                return self._new_account(found, kept, uid, gid)
        except AccountExistsError:
            # Perhaps another process over this store was quicker.
            found = self.store.account_by_name(kept)
            if found is None or not exist_ok:
                raise
        self._require(AccountDatabase.READ)
        _require_same(kept, "uid", uid, found.uid)
        _require_same(kept, "gid", gid, found.gid)
        return found

    def _new_account(
        self, found: Account | None, kept: str, uid: int | None, gid: int | None
    ) -> Account:
        self._require(AccountDatabase.WRITE)
        if found is not None or self.store.group_by_name(kept) is not None:
            raise AccountExistsError(f"the name `{kept}` is taken")
        sid, shown = self.store.new_sid(), "" if uid is None else str(uid)
        gid = uid if gid is None else gid
        with self._changing(AuditEvent.ACCOUNT_CREATED, kept, sid, uid=shown):
            return self.store.add_account(kept, uid, gid, sid=sid)

    def disable(self, name: str) -> Account:
        """Disable an account and end its sessions here and now.

        Raises:
            UnknownAccountError: there is no such account.
            AccessDeniedError: the subject may not.
        """
        self._require(AccountDatabase.WRITE)
        account = self._account(name)
        with self._changing(AuditEvent.ACCOUNT_DISABLED, account.name, account.sid):
            changed = self.store.set_account_disabled(account.sid, is_disabled=True)
        self.sessions.end_all_of(account.sid)
        return changed

    def enable(self, name: str) -> Account:
        """Enable an account again; raises as `disable` does."""
        self._require(AccountDatabase.WRITE)
        account = self._account(name)
        with self._changing(AuditEvent.ACCOUNT_ENABLED, account.name, account.sid):
            return self.store.set_account_disabled(account.sid, is_disabled=False)

    def list(self) -> tuple[Account, ...]:
        """Return all accounts, by name; raises `AccessDeniedError`."""
        self._require(AccountDatabase.READ)
        return self.store.accounts()

    def rename(self, name: str, new: str) -> Account:
        """Give an account another name; its SID, and all that names it, stays.

        Raises:
            UnknownAccountError: there is no such account.
            AccountExistsError, InvalidNameError: the new name is taken, or is none.
            AccessDeniedError: the subject may not.
        """
        renamed = self._changes.rename_account(name, new)
        self.names.expire()
        return renamed

    def map(self, name: str, *, uid: int | None, gid: int | None = None) -> Account:
        """Say what the kernel knows an account by; its sessions end.

        Raises:
            UnknownAccountError, AccountExistsError, InvalidNameError,
            AccessDeniedError: as of `add` and `rename`.
        """
        return self._changes.map_account(name, uid, gid)

    def add_alias(self, name: str, issuer: str, alias: str) -> bool:
        """Let an account be known by what an issuer calls it, exactly.

        Whoever the issuer authenticates by that name, or by that SID, is the account.

        Returns:
            whether it was not known by it before.

        Raises:
            AccountExistsError: another account is known by it.
            UnknownAccountError, InvalidNameError, AccessDeniedError: as of `add`.
        """
        return self._changes.add_alias(name, Alias(issuer, alias))

    def remove_alias(self, name: str, issuer: str, alias: str) -> bool:
        """Take an alias of an account; sessions that began by it end with the lease.

        Returns:
            whether the account was known by it.
        """
        return self._changes.remove_alias(name, Alias(issuer, alias))

    def aliases(self, name: str) -> tuple[Alias, ...]:
        """Return what issuers call an account."""
        self._require(AccountDatabase.READ)
        return self.store.aliases_of(self._account(name).sid)

    def delete(self, name: str) -> None:
        """Delete an account, with its password, rights and memberships.

        Its sessions end. Its SID is never given out again: entries that name it mean
        nobody from now on.

        Raises:
            UnknownAccountError: there is no such account.
            AccessDeniedError: the subject may not.
        """
        self._changes.delete_account(name)

    @property
    def times(self) -> AccountTimes:
        """Where it is said when accounts may log on, for the same subject."""
        return AccountTimes(self._desk, self.store)

    # --- passwords --------------------------------------------------------------------

    @property
    def passwords(self) -> PasswordDesk:
        """The desk of passwords and locks, for the same subject."""
        return PasswordDesk(self._desk, self.store, self.logon, self.sleep)

    def set_password(
        self, name: str, secret: Secret | str | bytes, *, must_change: bool = False
    ) -> None:
        """Give an account a password, whatever it had; see `PasswordDesk`."""
        self.passwords.reset(name, Secret.of(secret), must_change=must_change)

    def change_password(
        self, name: str, old: Secret | str | bytes, new: Secret | str | bytes
    ) -> None:
        """Change a password by whoever knows it; see `PasswordDesk`."""
        require_text("name", name)
        self.passwords.change(name, Secret.of(old), Secret.of(new))

    def remove_password(self, name: str) -> bool:
        """Take an account's password, so that none logs it on; False if it had none."""
        return self.passwords.remove(name)

    def unlock(self, name: str) -> bool:
        """Forget a name's failed logons; see `PasswordDesk`."""
        require_text("name", name)
        return self.passwords.unlock(name)

    def locked_names(self) -> tuple[LockedName, ...]:
        """Return the names that are locked now, whoever's; see `PasswordDesk`."""
        return self.passwords.locked_names()

    def have_password(self) -> frozenset[Sid]:
        """Return the accounts that have a password; raises `AccessDeniedError`."""
        return self.passwords.holders()

    def are_locked(self) -> frozenset[Sid]:
        """Return the accounts that are locked now; raises `AccessDeniedError`."""
        return self.passwords.locked()

    # --- groups ---------------------------------------------------------------------

    def add_group(
        self, name: str, *, gid: int | None = None, exist_ok: bool = False
    ) -> Group:
        """Add a group.

        Args:
            name: 1 to 64 printable letters.
            gid: the gid its members have for the kernel, if any; never the system's.
            exist_ok: return the group of this name if there is one already.

        Raises:
            AccountExistsError: name or gid is taken, or the group of this name has
                another gid than the one given.
            InvalidNameError: the name or gid is none.
            AccessDeniedError: the subject may not.
        """
        kept = require_name(name)
        require_id(gid)
        if gid is not None:
            require_mappable(gid)
        try:
            found = self.store.group_by_name(kept)
            if found is None or not exist_ok:
                return self._new_group(found, kept, gid)
        except AccountExistsError:
            found = self.store.group_by_name(kept)  # as in `add`
            if found is None or not exist_ok:
                raise
        self._require(AccountDatabase.READ)
        _require_same(kept, "gid", gid, found.gid)
        return found

    def _new_group(self, found: Group | None, kept: str, gid: int | None) -> Group:
        self._require(AccountDatabase.WRITE)
        if found is not None or self.store.account_by_name(kept) is not None:
            raise AccountExistsError(f"the name `{kept}` is taken")
        sid, shown = self.store.new_sid(), "" if gid is None else str(gid)
        with self._changing(AuditEvent.GROUP_CREATED, kept, sid, gid=shown):
            return self.store.add_group(kept, gid, sid=sid)

    def add_member(self, group: str, member: Sid | str) -> bool:
        """Put somebody into a group; False if they were in it.

        Tokens are made at logon: it counts from the member's next session.

        Raises:
            UnknownAccountError: no such group, or nobody is called that.
            InvalidNameError: a group cannot be in itself.
            AccessDeniedError: the subject may not.
        """
        return self._holdings.add_member(group, member)

    def remove_member(self, group: str, member: Sid | str) -> bool:
        """Take somebody out of a group; False if they were not in it.

        Sessions whose tokens hold it end.
        """
        return self._holdings.remove_member(group, member)

    def rename_group(self, name: str, new: str) -> Group:
        """Give a group another name, unless it is every store's; as `rename`."""
        renamed = self._changes.rename_group(name, new)
        self.names.expire()
        return renamed

    def map_group(self, name: str, *, gid: int | None) -> Group:
        """Say what gid the members of a group have from their next session on."""
        return self._changes.map_group(name, gid)

    def delete_group(self, name: str) -> None:
        """Delete a group, unless it is every store's; sessions that hold it end.

        Raises:
            UnknownAccountError: there is no such group.
            InvalidNameError: it is every store's.
            AccessDeniedError: the subject may not.
        """
        self._changes.delete_group(name)

    def groups(self) -> tuple[Group, ...]:
        """Return all groups, by name; raises `AccessDeniedError`."""
        self._require(AccountDatabase.READ)
        return self.store.groups()

    def members(self, group: str) -> tuple[Sid, ...]:
        """Return a group's direct members."""
        self._require(AccountDatabase.READ)
        return self.store.members(self._group(group).sid)

    # --- rights ---------------------------------------------------------------------

    def grant(self, holder: Sid | str, right: Privilege | LogonRight) -> bool:
        """Give a privilege or account right; False if it was held.

        It counts from the holder's next session.
        """
        return self._holdings.grant(holder, right)

    def revoke(self, holder: Sid | str, right: Privilege | LogonRight) -> bool:
        """Take a privilege or account right; False if it was not held.

        Sessions whose tokens hold it, or that it let log on, end.
        """
        return self._holdings.revoke(holder, right)

    def rights(self) -> tuple[tuple[Sid, str], ...]:
        """Return every (holder, right) that was given."""
        self._require(AccountDatabase.READ)
        return self.store.all_rights()

    def require_may_change(self) -> None:
        """Return if the subject may change accounts; raises `AccessDeniedError`."""
        self._require(AccountDatabase.WRITE)

    # --- how --------------------------------------------------------------------------

    @property
    def _changes(self) -> PrincipalChanges:
        return PrincipalChanges(self._desk, self.store)

    @property
    def _holdings(self) -> Holdings:
        return Holdings(self._desk, self.store, self.names)

    @property
    def _desk(self) -> AccountDesk:
        return AccountDesk(self.guard, self.sessions, self.database, self.subject)

    def _require(self, right: AccountDatabase) -> None:
        self._desk.require(right)

    def _changing(
        self, event: AuditEvent, name: str, sid: Sid, **detail: str
    ) -> AbstractContextManager[None]:
        return self._desk.changing(event, name, sid=str(sid), **detail)

    def _account(self, name: str) -> Account:
        return account_named(self.store, name)

    def _group(self, name: str) -> Group:
        return group_named(self.store, name)


def _require_same(name: str, what: str, wanted: int | None, kept: int | None) -> None:
    if wanted is not None and wanted != kept:
        raise AccountExistsError(f"`{name}` exists, and not with {what} {wanted}")
