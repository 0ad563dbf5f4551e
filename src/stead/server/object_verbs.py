"""What a server does with its objects, and what it asks of the judge."""

from __future__ import annotations

from typing import Final, NoReturn

from stead.errors import InvalidRequestError, SteadError
from stead.model.access_mask import Rights
from stead.model.arguments import require_kind, require_text, several
from stead.model.decision import AccessDecision
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor import context, effective
from stead.monitor.securable_object import Handle, ObjectKind, SecurableObject
from stead.server.asking import object_for, subject_of
from stead.server.client_context import ClientContext
from stead.server.explaining import Explanation
from stead.server.house import House, HouseVerbs
from stead.server.object_entries import Entries
from stead.server.questions import Questions

_HANDLE: Final = "give what `open_object` returned"
_PRIVILEGE: Final = "name members, such as `Privilege.BACKUP`"
_ON: Final = "give what `protect` or `find_object` returned"


class ObjectVerbs(HouseVerbs):
    """Keeps the objects of one server, and judges who may do what.

    Where a client asks about an object, the object's name will do. A name that no
    object has is refused and recorded as a closed object is, so that no client learns
    which names there are.
    """

    def protect(
        self,
        name: str,
        rights: type[Rights],
        entries: Entries | None = None,
        *,
        owner: Sid | str | None = None,
    ) -> SecurableObject:
        """Return the object of this name, made now if the store has none.

        An object that exists keeps the descriptor it has. A new one takes what is not
        said here from the effective token: inside a client's block, the client's owner
        and default DACL; outside, the server's.

        Args:
            name: 1 to 256 printable characters.
            rights: what can be done with it.
            entries: `allow`, `deny`, `audit` or ACEs, in the order they are judged.
            owner: the owner; None for the effective token's.

        Raises:
            UnknownAccountError: an entry or the owner names nobody.
            NoThreadTokenError: this is a handler that has not said who it is.
            InvalidRequestError: the object exists and is of another kind; or an entry
                is none, or has rights of another kind.
        """
        house = self._open
        return house.objects.protect(
            house.guard,
            name,
            ObjectKind.of(rights),
            token=_effective_token(house),
            entries=entries,
            owner=owner,
        )

    def find_object(self, name: str) -> SecurableObject:
        """Return the object of this name, for the server itself.

        Raises:
            UnknownObjectError: there is none. A client that hears of it learns which
                names there are: hand the name itself to `require` and the others.
        """
        return self._open.objects.find(name)

    def set_entries(
        self, client: ClientContext, securable: SecurableObject | str, entries: Entries
    ) -> None:
        """Replace an object's entries for a client that may; recorded first.

        Raises:
            AccessDeniedError: the client lacks WRITE_DAC (for audit entries, also
                SeSecurityPrivilege).
        """
        house, subject = self._open, subject_of(client)
        found = object_for(house, subject, securable)
        house.objects.set_entries(house.guard, subject, found, entries)

    def set_audit(
        self, client: ClientContext, securable: SecurableObject | str, entries: Entries
    ) -> None:
        """Replace the audit entries of an object's SACL for a client that may.

        Args:
            client: on whose behalf.
            securable: the object.
            entries: `audit(whom, rights)`; none to take them all.

        Raises:
            AccessDeniedError: the client lacks SeSecurityPrivilege.
        """
        house, subject = self._open, subject_of(client)
        found = object_for(house, subject, securable)
        house.objects.set_audit(house.guard, subject, found, entries)

    def delete_object(
        self,
        client: ClientContext,
        securable: SecurableObject | str,
        *,
        handle: Handle | None = None,
    ) -> None:
        """Delete an object for a client that may; recorded first.

        Args:
            client: on whose behalf.
            securable: the object.
            handle: how the client opened it, if it did: it must have DELETE then.

        Raises:
            AccessDeniedError: the client lacks DELETE.
        """
        house, subject = self._open, subject_of(client)
        require_kind("handle", handle, (Handle, type(None)), _HANDLE)
        found = object_for(house, subject, securable)
        house.objects.delete(house.guard, subject, found, handle)

    # --- judging ----------------------------------------------------------------------

    def require(
        self, client: ClientContext, securable: SecurableObject | str, rights: int
    ) -> AccessDecision:
        """Judge, record durably, and return only if access is granted.

        Raises:
            AccessDeniedError: it is not; `decision` and `record` say why.
            LedgerUnavailableError: it could not be recorded, so it is not done.
            InvalidRequestError: the rights are those of another kind of object.
        """
        house, subject = self._open, subject_of(client)
        found = object_for(house, subject, securable)
        return house.guard.require(subject, found, found.kind.mask_of(rights))

    def refuse_unknown(self, client: ClientContext, name: str) -> NoReturn:
        """Refuse an object that is not there as a closed one is: same words, recorded.

        Raises:
            AccessDeniedError: always.
        """
        self._open.guard.refuse_unknown(subject_of(client), name)

    def check(
        self, client: ClientContext, securable: SecurableObject | str, rights: int
    ) -> AccessDecision:
        """Judge and return the decision; recorded only if the object's SACL asks.

        Raises:
            AccessDeniedError: no object has this name.
        """
        house, subject = self._open, subject_of(client)
        found = object_for(house, subject, securable)
        return house.guard.check(subject, found, found.kind.mask_of(rights))

    def open_object(
        self, client: ClientContext, securable: SecurableObject | str, rights: int
    ) -> Handle:
        """Open a handle that remembers what was granted; raises as `require` does."""
        house, subject = self._open, subject_of(client)
        found = object_for(house, subject, securable)
        return house.guard.open(subject, found, found.kind.mask_of(rights))

    def require_privilege(
        self,
        client: ClientContext,
        *privileges: Privilege,
        operation: str,
        on: SecurableObject | None = None,
    ) -> int:
        """Demand privileges of a client, all enabled; return the record's number.

        Args:
            client: who needs them.
            privileges: which.
            operation: what they are needed for.
            on: the object they are used on, if it is one.

        Raises:
            PrivilegeNotHeldError: one is not held enabled.
        """
        if not privileges:
            raise InvalidRequestError("no privilege is named")
        several("privileges", privileges, Privilege, _PRIVILEGE)
        require_text("operation", operation)
        require_kind("on", on, (SecurableObject, type(None)), _ON)
        return self._open.guard.require_privilege(
            subject_of(client), privileges, operation=operation, on=on
        )

    def report(
        self,
        client: ClientContext,
        operation: str,
        *,
        on: SecurableObject | None = None,
        error: SteadError | None = None,
        **detail: str,
    ) -> int:
        """Record what this server's own code did for a client; return the number.

        What Stead judges and does is recorded without this. Windows has it as event
        4666 (AuthzReportSecurityEvent).

        Args:
            client: for whom.
            operation: what was done, in the server's own words.
            on: the object, if it is one.
            error: why it was refused, if it was.
            detail: more, by name; never a secret.

        Raises:
            PrivilegeNotHeldError: the server's token lacks SeAuditPrivilege.
            LedgerUnavailableError: it could not be recorded.
        """
        require_text("operation", operation)
        require_kind("on", on, (SecurableObject, type(None)), _ON)
        require_kind("error", error, (SteadError, type(None)), "a `SteadError`")
        for what, text in detail.items():
            require_text(what, text)
        return self._open.guard.own.report(
            subject_of(client),
            operation=operation,
            error=error,
            object_type="" if on is None else on.kind.name,
            object_name="" if on is None else on.name,
            detail=detail,
        )

    def questions_for(self, client: ClientContext) -> Questions:
        """Return the questions a client may ask: why, who can do what, what can who."""
        house = self._open
        return Questions(house.explainer, house.objects, subject_of(client))

    def explain(
        self,
        asker: ClientContext,
        account: str,
        securable: SecurableObject | str,
        rights: int,
    ) -> Explanation:
        """Say whether an account would be granted rights now; see `Questions`."""
        found = object_for(self._open, subject_of(asker), securable)
        mask = found.kind.mask_of(rights)
        return self.questions_for(asker).explain(account, found, mask)


def _effective_token(house: House) -> AccessToken:
    frame = context.current_frame()
    if frame is None or frame.guard is not house.guard:
        return house.own.token
    return effective.effective_token()
