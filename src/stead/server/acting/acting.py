"""Acting for clients by processes of their own: recorded, held, and only then done.

Each verb has one order. What must hold is checked, and a refusal is recorded; that it
is about to be done is recorded durably; the client's session is held; only then the
launcher or a worker hears of it. The hold is given up when the process, or the call,
has ended. A session that is ended while something acts in it takes that with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

from stead.authority.packages import OutboundCredentials
from stead.authority.sessions import Sessions
from stead.errors import (
    EnforcementUnavailableError,
    LedgerUnavailableError,
    SteadError,
)
from stead.model.arguments import require_seconds
from stead.model.impersonation_policy import Act
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.process_acts import Deed, WorkerNotes
from stead.server.acting.called import CalledFunction, OpenedFile
from stead.server.acting.errands import Errands
from stead.server.acting.means import Means
from stead.server.acting.process_plan import Plan
from stead.server.acting.processes import Life
from stead.server.acting.starting import SECONDS_TO_START, Starts
from stead.server.grants import Grants
from stead.server.hops import Hops
from stead.server.network_credentials import NetworkCredentials
from stead.server.workers.bounds import require_confinable
from stead.server.workers.wire import OPEN, RUN
from stead.server.workers.workers import Workers

_T = TypeVar("_T")


class Acting:
    """Starts programs, runs functions and opens files for one server's clients."""

    def __init__(
        self,
        guard: Guard,
        sessions: Sessions,
        identity: Callable[[AccessToken], PosixIdentity],
        means: Means | None,
        hops: Hops,
    ) -> None:
        """Put it together; nothing is started.

        Args:
            guard: demands and records.
            sessions: are held by what acts in them.
            identity: says what the kernel calls a token's client, or why it is not
                asked as this client.
            means: what acts; None where the kernel judges nobody, so nothing does.
            hops: what reaches other machines.
        """
        self._guard = guard
        self._sessions = sessions
        self._identity = identity
        self._means = means
        self.hops: Final = hops
        self._starts = Starts(guard, sessions, identity)
        self._lock = threading.Lock()
        self._watched: set[Luid] = set()

    @property
    def errands(self) -> Errands:
        """Threads that are always the server, for records that a loop waits for.

        Raises:
            EnforcementUnavailableError: this server acts for nobody.
        """
        return self._able.errands

    @property
    def _able(self) -> Means:
        if self._means is None:
            raise EnforcementUnavailableError(
                "no kernel judges files, functions or processes for this server",
                advice="run the server as root; `stead doctor` says what is missing",
            )
        return self._means

    def open(self) -> None:
        """Start the launchers now, if there are any, and wait until they are ready.

        Raises:
            LauncherUnavailableError: one cannot be started, or a module that workers
                need cannot be loaded.
        """
        if self._means is not None:
            self._means.open()

    def close(self) -> None:
        """End every worker and process, with its tree; bounded, as each of them is."""
        if self._means is not None:
            self._means.close()

    @property
    def grants(self) -> Grants:
        """Makes limited clients."""
        deadlines = None if self._means is None else self._means.deadlines
        return Grants(self._guard, self._sessions, deadlines)

    @property
    def network(self) -> NetworkCredentials:
        """Takes clients' other credentials, for other machines."""
        return NetworkCredentials(self._guard, self._sessions, self.hops)

    def credentials_of(self, token: AccessToken) -> tuple[OutboundCredentials, ...]:
        """Return what a token's session has to show to other machines."""
        return self._sessions.credentials_of(token)

    # --- programs -------------------------------------------------------------------

    def start(self, subject: Subject, plan: Plan) -> Life:
        """Start a program as the client, and wait until it runs.

        Raises:
            SteadError: as `order` and `begun` raise.
        """
        life, number = self.order(subject, plan)
        self.begun(subject, plan, life, number)
        return life

    def order(self, subject: Subject, plan: Plan) -> tuple[Life, int]:
        """Order a program to be started as the client; wait for no client.

        Returns:
            the process to be, and the number of its record.

        Raises:
            BadImpersonationLevelError: the client does not let the server go so far.
            SteadError: as `Starts.order` raises.
        """
        means = self._require(subject, "starting a process")
        return self._starts.order(subject, plan, means)

    def begun(
        self,
        subject: Subject,
        plan: Plan,
        life: Life,
        number: int,
        *,
        seconds: float = SECONDS_TO_START,
    ) -> None:
        """Wait until what was ordered runs; raises as `Starts.begun`."""
        self._starts.begun(subject, plan, life, number, seconds=seconds)

    # --- functions and files ----------------------------------------------------------

    def call(
        self,
        subject: Subject,
        function: Callable[..., _T],
        arguments: tuple[Any, ...],
        seconds: float | None,
    ) -> CalledFunction[_T]:
        """Have a function run in a worker of the client's; wait for no client.

        Args:
            subject: the client.
            function: one that can be imported by name.
            arguments: what it is called with.
            seconds: how long it may take; None for what the server's limits say.

        Raises:
            BadImpersonationLevelError, LogonSessionEndedError, PrivilegeNotHeldError,
            ImpersonationRefusedError, QuotaExceededError: as they say.
            InvalidRequestError, NotPlainDataError: it cannot be sent to a worker.
            LedgerUnavailableError: it could not be recorded. In each case nothing ran.
        """
        acts, token, number = self._guard.processes, subject.token, None
        deed = Deed("Function", _shown(function), len(arguments))
        means = self._require(subject, "running a function")
        try:
            acts.who_may.require_ready(subject, Act.RUN)
            require_confinable(token)
            self._identity(token)
            number = acts.calling(subject, deed)
            notes = WorkerNotes(acts, subject, RUN)
            run = partial(means.workers.run, token, function, arguments, notes=notes)
            future = self._submit(means, token, run, seconds)
        except SteadError as error:
            if not isinstance(error, LedgerUnavailableError):
                acts.not_called(subject, deed, error, number)
            raise
        return CalledFunction(future, partial(acts.called, subject, deed, number))

    def open_file(
        self, subject: Subject, path: str, flags: int, seconds: float | None
    ) -> OpenedFile:
        """Have a worker of the client's open a file; wait for no client.

        Raises:
            BadImpersonationLevelError, LogonSessionEndedError, PrivilegeNotHeldError,
            ImpersonationRefusedError, QuotaExceededError: as they say; recorded.
            InvalidNameError, InvalidRequestError: path or flags mean nothing; recorded.
            LedgerUnavailableError: it could not be recorded, so nothing is opened.
        """
        files, means = self._guard.files, self._require(subject, "opening a file")
        files.ask(subject, path, flags)
        answer = partial(files.answer, subject, path, flags)
        try:
            require_confinable(subject.token)
            notes = WorkerNotes(self._guard.processes, subject, OPEN)
            ask = partial(means.opener.open, subject.token, path, flags)
            opening = partial(ask, notes=notes)
            future = self._submit(means, subject.token, opening, seconds)
        except SteadError as error:
            answer(error)
            raise
        return OpenedFile(future, answer)

    def _submit(
        self,
        means: Means,
        token: AccessToken,
        submit: Callable[..., Future[_T]],
        seconds: float | None,
    ) -> Future[_T]:
        """Hold the session while a worker does something in it."""
        require_seconds("timeout", seconds)
        logon_id = token.logon_id
        if seconds is None:
            seconds = means.worker_limits.seconds
        self._sessions.hold(token)
        try:
            self._watch_session(means, logon_id)
            future = means.errands.run(partial(submit, seconds=seconds))
        except BaseException:
            self._sessions.release(logon_id)
            raise
        future.add_done_callback(lambda _: self._sessions.release(logon_id))
        return future

    def _watch_session(self, means: Means, logon_id: Luid) -> None:
        """Have a session's workers end with it, those that are idle too."""
        with self._lock:
            if logon_id in self._watched:
                return
            self._watched.add(logon_id)
        end = partial(self._end_workers, means.workers, logon_id)
        self._sessions.on_end(logon_id, partial(means.deadlines.soon, end))

    def _end_workers(self, workers: Workers, logon_id: Luid) -> None:
        with self._lock:
            self._watched.discard(logon_id)
        workers.end_session(logon_id)

    def _require(self, subject: Subject, act: str) -> Means:
        """Return what acts, for a client that lets the server go so far.

        Raises:
            BadImpersonationLevelError: it does not; recorded.
            EnforcementUnavailableError: nothing acts here.
        """
        needed = ImpersonationLevel.IMPERSONATION
        self._guard.require_level(subject, needed, act=act)
        return self._able


def _shown(function: Any) -> str:
    """Return a function's name for the trail, whatever it is."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}:{name}"
