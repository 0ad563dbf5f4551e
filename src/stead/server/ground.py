"""What stands first of a server: who there is, who the server is, and the guard."""

from __future__ import annotations

import os
import platform
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Final

from stead.adapters.host import HostNameSource, host_identity, host_names
from stead.adapters.store import Store
from stead.authority.audit_ports import AuditPolicyStore
from stead.authority.credential_ports import CredentialStore
from stead.authority.errands import Errand
from stead.authority.host_clients import HostClients
from stead.authority.lockout import Lockout
from stead.authority.logon import Logon
from stead.authority.name_lookup import NameLookup
from stead.authority.name_sources import NameSources
from stead.authority.names import NameTable
from stead.authority.ports import Account, AccountStore
from stead.authority.roster import SessionEnds, SessionRoster
from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.authority.unknown_names import UnknownNames
from stead.model.audit_record import AuditEvent, Principal
from stead.model.impersonation_policy import ImpersonationPolicy
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.server.auditing import StoredRules
from stead.server.brokered import Tickets, WayToBroker
from stead.server.enforcement import (
    Enforcement,
    ThreadEnforcer,
    TokenEnforcer,
)
from stead.server.impersonation_rules import read_policy
from stead.server.lease_thread import LeaseThread
from stead.server.service_thread import ServiceThread, carried
from stead.server.session_keeper import SessionKeeper
from stead.server.settings import Settings
from stead.server.store_packages import verifiers_for
from stead.server.trail_parts import TrailParts

_VERBS: Final = frozenset({"client.open", "client.run", "client.start"})


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What stands first: who there is, who the server is, and the guard."""

    accounts: AccountStore
    hosts: HostClients
    errand: Errand
    names: NameTable
    lookup: NameLookup
    sessions: Sessions
    own: Session
    subject: Subject
    genesis: bytes
    guard: Guard
    rules: StoredRules
    policies: AuditPolicyStore
    threads: ThreadEnforcer
    credentials: CredentialStore
    logon: Logon | None
    tickets: Tickets | None
    roster: SessionRoster
    ends: SessionEnds


def lay_ground(
    settings: Settings,
    enforcement: Enforcement,
    store: Store,
    service: ServiceThread,
    way: WayToBroker | None,
    undo: ExitStack,
    parts: TrailParts,
) -> Ground:
    """Take steps 3 and 4 of `compose`."""
    accounts = carried(store.accounts, service)
    lookup = _lookup(settings, accounts)
    names = NameTable(accounts, monotonic=time.monotonic_ns, elsewhere=lookup.sid_of)
    roster = store.open_roster()
    sessions = _sessions(settings, roster, accounts, undo)
    own = sessions.open_server(settings.name, settings.privileges)
    principal = Principal(own.token.user, settings.name, own.record.logon_id)
    genesis = accounts.domain().to_bytes()
    policies = carried(store.audit_policy, service)
    rules = StoredRules(policies, monotonic=time.monotonic_ns)
    allowed = frozenset(settings.allowed_system_uids)
    threads = ThreadEnforcer(sessions, settings.guard_uid, allowed)
    is_kernel = enforcement is Enforcement.KERNEL
    guard = Guard(
        process_token=own.token,
        server=principal,
        sink=parts.open_ledger(principal, genesis, rules),
        enforcer=threads if is_kernel and way is None else TokenEnforcer(),
        liveness=sessions,
        names=names,
        clock=time.time_ns,
        verbs=_VERBS if is_kernel else frozenset(),
        policy=_policy(settings, names),
        rules=rules,
        process={"process id": str(os.getpid()), "image": sys.executable},
    )
    subject = Subject(own.token, principal)
    credentials = carried(store.credentials, service)
    logon = _logon(settings, accounts, credentials, guard, service.run, undo)
    tickets = None if way is None else Tickets(way, sessions)
    hosts = carried(HostClients(store.accounts), service)  # one errand for all it asks
    return Ground(
        accounts, hosts, service.run, names, lookup, sessions, own, subject, genesis,
        guard, rules, policies, threads, credentials, logon, tickets,
        carried(roster, service), carried(store.session_ends, service),
    )  # fmt: skip


def _sessions(
    settings: Settings,
    roster: SessionRoster,
    accounts: AccountStore,
    undo: ExitStack,
) -> Sessions:
    """Return the sessions of this process, and start what looks after them."""
    leases = LeaseThread(settings.name)
    undo.callback(leases.close)
    keeper = SessionKeeper(
        settings.name,
        platform.node(),
        roster,
        allocate=accounts.allocate_luid,
        clock=time.time_ns,
    )
    sessions = Sessions(
        accounts,
        clock=time.time_ns,
        monotonic=time.monotonic_ns,
        policy=settings.account_policy,
        leases=keeper,
        ask=leases.ask,
        watcher=keeper,
    )
    keeper.start(sessions)
    undo.callback(keeper.close)
    return sessions


def _lookup(settings: Settings, accounts: AccountStore) -> NameLookup:
    """Return what knows names, the store's and the host's."""
    host = HostNameSource(host_names(), os.uname().nodename.partition(".")[0])
    sources = NameSources((host,), monotonic=time.monotonic_ns)
    return NameLookup(accounts, sources, settings.issuers)


def _policy(settings: Settings, names: NameTable) -> ImpersonationPolicy:
    """Return the rules of who may be acted as; raises `InvalidRequestError`."""
    given = settings.impersonation
    if isinstance(given, ImpersonationPolicy):
        return given
    return read_policy(given, names.find)


def _logon(
    settings: Settings,
    accounts: AccountStore,
    credentials: CredentialStore,
    guard: Guard,
    errand: Errand,
    undo: ExitStack,
) -> Logon | None:
    """Return what compares passwords; None if the library for that is missing."""
    if find_spec("argon2") is None:
        return None
    from stead.adapters.argon2 import Argon2Verifier  # noqa: PLC0415 - an extra's

    # The library starts threads, which a client's block must not, and the host is asked
    # as the server. Not on the store's service thread: this may take long. For what the
    # host says of one uid, nobody else waits.
    thread = ServiceThread(f"{settings.name}-password")
    undo.callback(thread.close)
    return Logon(
        accounts,
        credentials,
        verifier=Argon2Verifier(),
        host=lambda uid: thread.run_apart(partial(host_identity, uid)),
        lockout=Lockout(credentials, settings.lockout, time.time_ns),
        policy=settings.account_policy,
        monotonic=time.monotonic_ns,
        renewing=partial(_record_renewal, guard),
        scram=verifiers_for(settings.packages, credentials),
        unknown=UnknownNames.of(
            credentials, are_recorded=settings.records_unknown_names
        ),
        errand=errand,
        aside=thread.run,
    )


def _record_renewal(guard: Guard, account: Account) -> None:
    """Record that what is kept of a password is made again, of the same password."""
    guard.recorder.record(
        AuditEvent.VERIFIER_RENEWED,
        None,
        object_type="Account",
        object_name=account.name,
        detail={"sid": str(account.sid)},
    )
