"""Putting a server's parts together, in the one order that is safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from contextvars import Context
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec

from stead.adapters.host import host_identity, host_names
from stead.adapters.store import Store
from stead.authority.account_policy import PasswordAges
from stead.authority.guesses import Counting, Guesses
from stead.authority.issuers import Issuers
from stead.authority.lockout import Lockout
from stead.authority.names import require_name
from stead.authority.sessions import Sessions
from stead.authority.unknown_names import UnknownNames
from stead.codec.token_text import token_detail
from stead.errors import InvalidRequestError
from stead.model.audit_record import AuditEvent, Principal
from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken
from stead.monitor import context, effective
from stead.monitor.covering import handed_on
from stead.monitor.frames import FrameKind
from stead.monitor.guard import Guard
from stead.monitor.impersonation import Block
from stead.monitor.leaks import tell_end
from stead.monitor.ports import Subject
from stead.monitor.thread_pool import ThreadPool
from stead.privileged.executor import KernelExecutor
from stead.privileged.late_imports import preload
from stead.privileged.probe import KernelSupport, probe
from stead.server.account_desk import AccountDesk
from stead.server.acting.acting import Acting
from stead.server.acting.means import Means, put_together
from stead.server.administration import Administration
from stead.server.admission import Admission
from stead.server.auditing import AuditDesk
from stead.server.authentication import Authentication
from stead.server.authorities import Elsewhere
from stead.server.brokered import BrokerIdentities, WayToBroker
from stead.server.client_context import ClientContext
from stead.server.closing import end_sessions, end_work, record_stop
from stead.server.dispatch import Dispatcher, Turns
from stead.server.enforcement import Enforcement, choose
from stead.server.explaining import Explainer
from stead.server.failure_quota import FailureQuota
from stead.server.ground import Ground, lay_ground
from stead.server.hops import Hops
from stead.server.house import House
from stead.server.late_answers import LateAnswers
from stead.server.objects import ObjectDirectory, built_in
from stead.server.operations import Operations
from stead.server.own_objects import ACCOUNTS, AUDIT_POLICY, TRAIL
from stead.server.plain_executor import PlainExecutor
from stead.server.reception import Reception
from stead.server.service_thread import ServiceThread, carried
from stead.server.session_desk import SessionDesk
from stead.server.settings import Settings
from stead.server.store_packages import opened
from stead.server.trail import Trail
from stead.server.trail_parts import TrailParts
from stead.server.waiting_room import WaitingRoom


def compose(settings: Settings) -> House:
    """Open everything a server is made of; if a step fails, undo those before it.

    1. Learn what the machine offers, choose the enforcement, and find the modules that
       workers need. A broker that is named must answer.
    2. Open the store; one that others may write is refused.
    3. Start the ledger.
    4. Take a primary token, in a session of its own; the guard stands.
    5. Start the threads of what acts for clients, and the hardened ones, all of them,
       before anybody can impersonate.
    6. Record durably that the server starts, and ask the trail's witness, if there is
       one, whether it knows the same trail.
    7. Start what sends the trail elsewhere.

    Raises:
        EnforcementUnavailableError: the kernel was insisted on and cannot enforce.
        InvalidRequestError: there is no such module.
        DirectoryUnavailableError: the host's sources of users cannot be opened.
        LauncherUnavailableError: no broker answers where one is named.
        UnsafeStoreError, StoreUnavailableError: the store cannot be trusted or opened.
        LedgerUnavailableError: the start could not be recorded.
        WitnessDisagreesError: the witness has signed another history.
    """
    require_name(settings.name)
    preload()  # a block can import nothing
    host_names()  # nor load what answers for the host
    support = probe(settings.guard_uid)
    enforcement = choose(
        settings.enforcement, support, has_broker=settings.broker is not None
    )
    _require_modules(settings)
    with ExitStack() as undo:
        service = ServiceThread(settings.name)
        undo.callback(service.close)
        way = None
        if settings.broker is not None:
            way = WayToBroker.open(settings.name, settings.broker, undo)
        store = undo.enter_context(Store.open(settings.store))
        parts = TrailParts(settings, store, undo)
        ground = lay_ground(settings, enforcement, store, service, way, undo, parts)
        acting = _acting(settings, ground, enforcement, service, undo)
        executor = undo.enter_context(_executor(settings, ground.guard, enforcement))
        objects = ObjectDirectory(
            carried(store.objects, service), ground.names, monotonic=time.monotonic_ns
        )
        built_in(objects, ground.guard)
        _open_guard(ground, settings, enforcement, support, undo)
        parts.start(ground.guard, ground.subject)
        undo.callback(end_sessions, ground.sessions, ground.own)
        handlers = ThreadPool(
            settings.handler_threads, thread_name_prefix=f"{settings.name}-handler"
        )
        undo.callback(end_work, handlers, executor, acting)
        securable = objects.find(TRAIL)
        trail = parts.trail(
            service, ground.guard, ground.genesis, securable, ground.subject
        )
        work = _Work(executor, handlers, acting)
        return _furnish(settings, ground, work, objects, trail, support, undo)


def _require_modules(settings: Settings) -> None:
    """Refuse a module that workers would miss, rather than their every call."""
    for name in settings.worker_modules:
        try:
            is_there = find_spec(name) is not None
        except (ImportError, ValueError):
            is_there = False
        if not is_there:
            raise InvalidRequestError(
                f"there is no module `{name}` for workers",
                advice="name in `worker_modules` what this program could import",
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Where work is done."""

    executor: Executor
    handlers: Executor
    acting: Acting


def _open_guard(
    ground: Ground,
    settings: Settings,
    enforcement: Enforcement,
    support: KernelSupport,
    undo: ExitStack,
) -> None:
    """Take step 6 of `compose`: from here on this process has a primary token."""
    guard, subject = ground.guard, ground.subject
    effective.open_guard(guard)
    undo.callback(effective.close_guard, guard)
    _record_start(guard, subject, settings, enforcement, support)
    undo.callback(record_stop, guard, subject)


def _furnish(
    settings: Settings,
    ground: Ground,
    work: _Work,
    objects: ObjectDirectory,
    trail: Trail,
    support: KernelSupport,
    undo: ExitStack,
) -> House:
    """Put what stands into a house, and hand over how it is closed."""
    guard, accounts, names = ground.guard, ground.accounts, ground.names
    is_kernel = isinstance(work.executor, KernelExecutor) or ground.tickets is not None
    sessions, subject = ground.sessions, ground.subject
    late = LateAnswers(settings.lockout)
    admission = _admission(settings, ground, work.acting, late)
    authentication = _authentication(settings, ground, admission, late)
    dispatcher = Dispatcher(guard, Operations())
    return House(
        support=support,
        enforcement=Enforcement.KERNEL if is_kernel else Enforcement.TOKEN,
        guard=guard,
        own=ground.own,
        subject=subject,
        nobody=cache(partial(_nobodys_subject, sessions)),
        objects=objects,
        admission=admission,
        authentication=authentication,
        explainer=Explainer(guard, accounts, names, host_identity),
        lookup=ground.lookup,
        administration=_administration(ground, objects, late),
        session_desk=_session_desk(ground, objects),
        trail=trail,
        audit_desk=_audit_desk(ground, objects),
        dispatcher=dispatcher,
        executor=work.executor,
        handlers=work.handlers,
        reception=Reception(
            admission,
            dispatcher,
            work.handlers,
            Turns(_turns(settings)),
            guard.recorder,
            WaitingRoom.open(authentication, settings.name, undo),
        ),
        acting=work.acting,
        tickets=ground.tickets,
        stack=undo.pop_all(),
    )


def _administration(
    ground: Ground, objects: ObjectDirectory, late: LateAnswers
) -> Administration:
    """Return the account desk, as the server."""
    return Administration(
        ground.guard,
        ground.accounts,
        ground.names,
        ground.sessions,
        objects.find(ACCOUNTS),
        ground.subject,
        ground.logon,
        late.of_name,
    )


def _session_desk(ground: Ground, objects: ObjectDirectory) -> SessionDesk:
    """Return the desk for sessions of every process, as the server."""
    database = objects.find(ACCOUNTS)
    desk = AccountDesk(ground.guard, ground.sessions, database, ground.subject)
    return SessionDesk(desk, ground.accounts, ground.roster, ground.ends)


def _audit_desk(ground: Ground, objects: ObjectDirectory) -> AuditDesk:
    """Return the desk for the audit policy, as the server."""
    return AuditDesk(
        ground.guard,
        ground.policies,
        ground.rules,
        ground.names,
        objects.find(AUDIT_POLICY),
        ground.subject,
    )


def _authentication(
    settings: Settings, ground: Ground, admission: Admission, late: LateAnswers
) -> Authentication:
    """Return where clients show who they are."""
    counting = Counting(_guesses(settings, ground), admission.require_fit)
    packages = opened(settings.packages, ground.logon, ground.credentials, counting)
    return Authentication(
        packages, admission, settings.lockout, time.monotonic_ns, late
    )


def _guesses(settings: Settings, ground: Ground) -> Guesses:
    """Return what counts guesses of passwords that the store does not know."""
    if ground.logon is not None:
        return ground.logon.elsewhere
    lockout = Lockout(ground.credentials, settings.lockout, time.time_ns)
    shows = settings.records_unknown_names
    unknown = UnknownNames.of(ground.credentials, are_recorded=shows)
    return Guesses(lockout, time.monotonic_ns, unknown)


def _admission(
    settings: Settings, ground: Ground, acting: Acting, late: LateAnswers
) -> Admission:
    """Return the door."""
    issuers = Issuers(settings.issuers, ground.accounts.domain(), time.monotonic_ns)
    return Admission(
        ground.guard,
        ground.accounts,
        ground.sessions,
        host_identity,
        partial(ClientContext, guard=ground.guard, acting=acting),
        ground.logon,
        late.of_name,
        FailureQuota(time.monotonic_ns),
        Elsewhere(
            settings.password_authorities,
            issuers,
            ground.accounts,
            host_identity,
            ground.hosts,
        ),
        PasswordAges(ground.credentials, settings.account_policy, time.time_ns),
        ground.tickets,
        settings.broker_passwords,
        ground.errand,
    )


def _nobodys_subject(sessions: Sessions) -> Subject:
    session = sessions.open_anonymous()
    record = session.record
    return Subject(session.token, Principal(record.user, record.name, record.logon_id))


def _turns(settings: Settings) -> int:
    """Return how many requests of one account run at once.

    Fewer than there are threads of either kind: one account's FIFO, or its file system
    that never answers, must leave some to the others.
    """
    return max(1, min(settings.handler_threads // 4, settings.kernel_threads - 1))


def _acting(
    settings: Settings,
    ground: Ground,
    enforcement: Enforcement,
    service: ServiceThread,
    undo: ExitStack,
) -> Acting:
    """Return what acts for clients: nothing does, where the kernel does not judge."""
    policy = settings.delegation_policy()
    hops = Hops(ground.guard, ground.sessions, policy, service)
    undo.callback(hops.close)
    means: Means | None = None
    identity: Callable[[AccessToken], PosixIdentity] = ground.threads.identity
    link = None
    if ground.tickets is not None:
        identity = BrokerIdentities(ground.threads, ground.tickets)
        link = ground.tickets.link
    if enforcement is Enforcement.KERNEL:
        means = put_together(settings, identity, link)
    acting = Acting(ground.guard, ground.sessions, identity, means, hops)
    undo.callback(acting.close)
    return acting


def _executor(
    settings: Settings, guard: Guard, enforcement: Enforcement
) -> KernelExecutor | PlainExecutor:
    begin = partial(_begin_item, guard)
    name = f"{settings.name}-kernel"
    if enforcement is not Enforcement.KERNEL or settings.broker is not None:
        return PlainExecutor(settings.kernel_threads, name=name, context_factory=begin)
    return KernelExecutor(
        settings.kernel_threads,
        guard=settings.guard_uid,
        name=name,
        context_factory=begin,
        after=_look_for_leaks,
    )


def _look_for_leaks() -> None:
    """Look at what an item leaves in force over the frame that made it nobody."""
    tell_end(None, "was in force when an item of `server.executor()` ended")
    context.end_work()


def _begin_item(guard: Guard) -> Callable[[], Context]:
    """Return what makes a context in which nobody is anybody until a block says who.

    It belongs to the operation that this is called in: what its handler has done on
    other threads is under the same record.
    """
    return partial(_nobody, guard, handed_on())


def _nobody(guard: Guard, take_part: Callable[[Context], None]) -> Context:
    made = Context()
    take_part(made)
    made.run(Block(FrameKind.HANDLER, None, guard).__enter__)
    return made


def _record_start(
    guard: Guard,
    subject: Subject,
    settings: Settings,
    enforcement: Enforcement,
    support: KernelSupport,
) -> None:
    detail = {
        "enforcement": enforcement.value,
        "guard uid": str(settings.guard_uid),
        "privileges": " ".join(p.value for p in settings.privileges),
        "broker": "" if settings.broker is None else str(settings.broker),
        "blocks": "" if settings.broker is None else "judged by tokens only",
        "not enforced because": "; ".join(support.reasons),
    }
    shown = {name: text for name, text in detail.items() if text}
    shown |= token_detail(subject.token)
    guard.recorder.record(AuditEvent.TRAIL_STARTED, subject, detail=shown)
