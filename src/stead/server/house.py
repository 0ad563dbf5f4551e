"""The parts of an open server, for the verbs that use them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass

from stead.authority.name_lookup import NameLookup
from stead.authority.session import Session
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.privileged.probe import KernelSupport
from stead.server.acting.acting import Acting
from stead.server.administration import Administration
from stead.server.admission import Admission
from stead.server.auditing import AuditDesk
from stead.server.authentication import Authentication
from stead.server.brokered import Tickets
from stead.server.dispatch import Dispatcher
from stead.server.enforcement import Enforcement
from stead.server.explaining import Explainer
from stead.server.objects import ObjectDirectory
from stead.server.reception import Reception
from stead.server.session_desk import SessionDesk
from stead.server.trail import Trail


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class House:
    """A server's parts, all open.

    Attributes:
        support: what the machine offers.
        enforcement: who judges acts on the machine itself.
        guard: checks, records, refuses.
        own: the server's own session.
        subject: the server as a subject of its own checks.
        nobody: returns whoever acts anonymously.
        objects: the securable objects.
        admission: the door.
        authentication: where clients show who they are.
        explainer: says why.
        lookup: knows names.
        administration: the account desk, as the server.
        session_desk: the sessions of every process, as the server.
        trail: the trail, as the server.
        audit_desk: the audit policy, as the server.
        dispatcher: runs operations.
        executor: where blocks run that the kernel judges, if it does.
        handlers: where handlers run.
        reception: where gates bring who came.
        acting: starts programs, runs functions and opens files for clients.
        tickets: by what a broker knows clients; None without a broker.
        stack: closes it all, last first.
    """

    support: KernelSupport
    enforcement: Enforcement
    guard: Guard
    own: Session
    subject: Subject
    nobody: Callable[[], Subject]
    objects: ObjectDirectory
    admission: Admission
    authentication: Authentication
    explainer: Explainer
    lookup: NameLookup
    administration: Administration
    session_desk: SessionDesk
    trail: Trail
    audit_desk: AuditDesk
    dispatcher: Dispatcher
    executor: Executor
    handlers: Executor
    reception: Reception
    acting: Acting
    tickets: Tickets | None
    stack: ExitStack


class HouseVerbs:
    """Verbs on the parts of one server: a family of `ProtectedServer`'s own."""

    @property
    @abstractmethod
    def _open(self) -> House:
        """The server's parts; raises `ServerClosedError` once it is closed."""
