"""The desks of a server, acting for itself or for a client."""

from __future__ import annotations

from dataclasses import replace

from stead.server.administration import Administration
from stead.server.asking import subject_of
from stead.server.auditing import AuditDesk
from stead.server.client_context import ClientContext
from stead.server.house import HouseVerbs
from stead.server.session_desk import SessionDesk
from stead.server.trail import Trail


class DeskVerbs(HouseVerbs):
    """Hands out the desks of one server."""

    @property
    def accounts(self) -> Administration:
        """The account desk, acting as the server itself."""
        return self._open.administration

    def accounts_for(self, client: ClientContext) -> Administration:
        """Return the account desk, acting for a client."""
        return replace(self._open.administration, subject=subject_of(client))

    @property
    def sessions(self) -> SessionDesk:
        """The logon sessions of every process that shares the store, as the server."""
        return self._open.session_desk

    def sessions_for(self, client: ClientContext) -> SessionDesk:
        """Return the logon sessions of every process, as a client may see and end."""
        desk = self._open.session_desk
        return replace(desk, desk=replace(desk.desk, subject=subject_of(client)))

    @property
    def trail(self) -> Trail:
        """The audit trail, read as the server itself."""
        return self._open.trail

    def trail_for(self, client: ClientContext) -> Trail:
        """Return the audit trail, read by a client."""
        return replace(self._open.trail, subject=subject_of(client))

    @property
    def audit_policy(self) -> AuditDesk:
        """What is recorded beyond what always is, changed as the server itself."""
        return self._open.audit_desk

    def audit_policy_for(self, client: ClientContext) -> AuditDesk:
        """Return what is recorded beyond what always is, changed by a client."""
        return replace(self._open.audit_desk, subject=subject_of(client))
