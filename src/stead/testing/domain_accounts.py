"""What is in an Active Directory domain of a test's own: accounts, services, files.

`stead.testing.domain` makes the domain and starts its controller; these are the verbs
by which a test changes it while it runs. Each raises `EnforcementUnavailableError` if
Samba refuses, or the domain is gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from enum import IntFlag
from pathlib import Path
from typing import Any, Final

from stead.errors import EnforcementUnavailableError
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import NULL_SID
from stead.testing.samba_running import Administration
from stead.testing.tickets import TicketDomain

_AES: Final = "24"
"""AES-128 and AES-256 (msDS-SupportedEncryptionTypes, [MS-KILE] 2.2.7)."""


class AccountControl(IntFlag):
    """What kind of account it is (userAccountControl, [MS-ADTS] 2.2.16)."""

    ACCOUNT_DISABLED = 0x2
    NORMAL_ACCOUNT = 0x200
    PASSWORD_NEVER_EXPIRES = 0x10000
    TRUSTED_FOR_DELEGATION = 0x80000
    NOT_DELEGATED = 0x100000
    TRUSTED_TO_AUTHENTICATE_FOR_DELEGATION = 0x1000000


class DomainAccounts(TicketDomain):
    """The verbs that change a domain.

    Attributes:
        sid: the domain's.
    """

    def __init__(self, name: str) -> None:
        """Describe it; nothing is made yet."""
        super().__init__(name)
        self.sid = NULL_SID
        self._administration: Administration | None = None
        self._passwords: dict[str, str] = {}

    # --- accounts and groups ------------------------------------------------------

    @property
    def dns_name(self) -> str:
        """The domain in small letters, as host names end with it."""
        return self.name.lower()

    def password_of(self, account: str) -> str:
        """Return the password of an account that this object made."""
        return self._passwords[account]

    def add_user(self, name: str, password: str | None = None) -> str:
        """Add an account that logs on with a password; return the password.

        Args:
            name: at most 20 characters.
            password: one that the domain's policy takes; a random one if not given.
        """
        chosen = password or random_password()
        self._ask("add_user", name=name, password=chosen)
        self._passwords[name] = chosen
        return chosen

    def set_password(self, account: str, password: str) -> None:
        """Give an account another password."""
        self._ask("set_password", name=account, password=password)
        self._passwords[account] = password

    def add_group(
        self, name: str, members: Iterable[str] = (), *, scope: str = "global"
    ) -> None:
        """Add a group.

        Args:
            name: at most 20 characters.
            members: accounts and groups.
            scope: `global`, `domain local` or `universal`.
        """
        self._ask("add_group", name=name, scope=scope)
        self.add_members(name, members)

    def add_members(self, group: str, members: Iterable[str]) -> None:
        """Add accounts and groups to a group."""
        names = list(members)
        if names:
            self._ask("members", group=group, names=names, is_member=True)

    def add_foreign_members(self, group: str, members: Iterable[Sid]) -> None:
        """Add members of domains that this one trusts to a domain-local group."""
        sids = [str(member) for member in members]
        self._ask("add_foreign", group=group, sids=sids)

    def remove_members(self, group: str, members: Iterable[str]) -> None:
        """Take accounts and groups out of a group."""
        self._ask("members", group=group, names=list(members), is_member=False)

    def sid_of(self, name: str) -> Sid:
        """Return the SID of an account or a group."""
        return Sid.from_string(self._ask("sid_of", name=name))

    def attributes(self, name: str, *wanted: str) -> dict[str, list[str]]:
        """Return attributes of an account or a group, as LDAP writes them."""
        found: dict[str, list[str]] = self._ask(
            "attributes", name=name, wanted=list(wanted)
        )
        return found

    def replace(
        self,
        name: str,
        attributes: Mapping[str, Iterable[str]],
        *,
        is_checked: bool = True,
    ) -> None:
        """Set attributes of an account or a group; no values remove one.

        Args:
            name: the account or group.
            attributes: the values by the attribute's name, as LDAP writes them.
            is_checked: whether what no administrator may set is refused; an attacker
                who owns the controller is not asked.
        """
        values = {key: list(values) for key, values in attributes.items()}
        self._ask("replace", name=name, attributes=values, is_checked=is_checked)

    def set_control(
        self, name: str, flags: AccountControl, *, is_set: bool = True
    ) -> None:
        """Set or clear flags of an account."""
        (text,) = self.attributes(name, "userAccountControl")["userAccountControl"]
        before = AccountControl(int(text))
        after = before | flags if is_set else before & ~flags
        self.replace(name, {"userAccountControl": [str(int(after))]})

    def forge_sid(self, name: str, sid: Sid) -> None:
        """Give an account or a group another SID, of another domain or of a machine.

        Nobody is asked whether it has it: so does an attacker who owns the controller.
        Members that are added later have the forged SID in their tickets.
        """
        self._ask("forge_sid", name=name, sid=str(sid))

    # --- services -----------------------------------------------------------------

    def add_service(
        self, account: str, *names: str, delegates_to: Iterable[str] = ()
    ) -> Path:
        """Add a service's account; return the keytab that holds its keys.

        Args:
            account: at most 20 characters.
            names: its principal names, such as `HTTP/localhost`; the keytab has keys
                for each, and for the account itself.
            delegates_to: services at which it may act for its clients, without their
                passwords too; see `set_delegation`.
        """
        self.add_user(account)
        self.replace(
            account,
            {
                "servicePrincipalName": names,
                "msDS-SupportedEncryptionTypes": [_AES],
            },
        )
        targets = list(delegates_to)
        if targets:
            self.set_delegation(account, targets)
        return self.export_keytab(account, *names)

    def add_service_names(self, account: str, names: Iterable[str]) -> None:
        """Give an account more principal names; keytabs do not know of them yet."""
        kind = "servicePrincipalName"
        before = self.attributes(account, kind).get(kind, [])
        self.replace(account, {kind: [*before, *names]})

    def set_delegation(
        self,
        account: str,
        targets: Iterable[str],
        *,
        without_password: bool = True,
        everywhere: bool = False,
    ) -> None:
        """Say at which services an account may act for its clients.

        Args:
            account: the service's account.
            targets: names of services (constrained delegation); all others are taken
                away.
            without_password: whether it may do so for clients who showed it nothing
                (S4U2Self, protocol transition).
            everywhere: whether clients hand it their own tickets (unconstrained).
        """
        self.replace(account, {"msDS-AllowedToDelegateTo": targets})
        transition = AccountControl.TRUSTED_TO_AUTHENTICATE_FOR_DELEGATION
        self.set_control(account, transition, is_set=without_password)
        trusted = AccountControl.TRUSTED_FOR_DELEGATION
        self.set_control(account, trusted, is_set=everywhere)

    def export_keytab(self, *principals: str, keytab: Path | None = None) -> Path:
        """Add principals' keys to a keytab, which is root's alone; return it."""
        file = keytab or self.folder / "keytabs" / f"{secrets.token_hex(8)}.keytab"
        self._ask("export_keytab", file=str(file), principals=list(principals))
        file.chmod(0o600)
        return file

    # --- files --------------------------------------------------------------------

    def access_of(self, file: Path) -> str:
        """Return the descriptor that the file server keeps of a file, in SDDL."""
        return str(self._ask("access_of", path=str(file)))

    def owner_of(self, file: Path) -> Sid:
        """Return who owns a file of a share, as the file server judges."""
        owner = SecurityDescriptor.from_sddl(self.access_of(file)).owner
        return NULL_SID if owner is None else owner

    def set_access(self, file: Path, sddl: str) -> None:
        """Give a file of a share a descriptor that the file server judges by."""
        self._ask("set_access", path=str(file), sddl=sddl)
        file.chmod(0o777)  # what Linux says of it takes nothing away

    # --- how ----------------------------------------------------------------------

    def _ask(self, verb: str, **words: object) -> Any:
        if self._administration is None:
            raise EnforcementUnavailableError(f"the domain {self.name} is not there")
        return self._administration.ask(verb, **words)


def random_password() -> str:
    """Return a password of every kind of character, as the domain's policy asks."""
    return f"{secrets.token_hex(12)}Aa-1"
