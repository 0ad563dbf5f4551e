"""Starting programs as clients (Win32: CreateProcessAsUser): the order of it."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final

from stead.authority.session import LEASE
from stead.authority.sessions import Sessions
from stead.decision.token_ops import duplicate_token
from stead.errors import (
    LauncherUnavailableError,
    LogonSessionEndedError,
    QuotaExceededError,
    SteadError,
)
from stead.model.impersonation_policy import Act
from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken, TokenType
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.monitor.process_acts import Deed
from stead.privileged.confinement import Confinement
from stead.privileged.launching import Starter
from stead.server.acting.deadlines import Deadlines
from stead.server.acting.environments import household_of
from stead.server.acting.means import Means
from stead.server.acting.process_pipes import open_ends
from stead.server.acting.process_plan import Plan
from stead.server.acting.processes import Life
from stead.server.workers.bounds import confinement_of, require_confinable

_log: Final = logging.getLogger("stead.server")

SECONDS_TO_START: Final = 60.0
"""How long a start may take. A home that never answers would take longer."""

_SECONDS_TO_VANISH: Final = 5.0


class Starts:
    """Starts programs for one server's clients, and counts them."""

    def __init__(
        self,
        guard: Guard,
        sessions: Sessions,
        identity: Callable[[AccessToken], PosixIdentity],
    ) -> None:
        """Begin with no process; see `Acting` for what is handed in."""
        self._guard = guard
        self._sessions = sessions
        self._identity = identity
        self._lock = threading.Lock()
        self._at_work: dict[int, int] = {}

    def order(self, subject: Subject, plan: Plan, means: Means) -> tuple[Life, int]:
        """Order a program to be started as the client; wait for no client.

        1. The client's token is made primary, if it is not.
        2. Its session lives.
        3. The policy allows it.
        4. The kernel can be asked as this client: a uid, not the system's, and a token
           that uid and groups express.
        5. The server's token holds what CreateProcessAsUser demands.
        6. The client has not as many processes as it may have.
        7. What is about to be started is recorded durably.
        8. The session is held, and the order sent.

        Returns:
            the process to be, and the number of its record.

        Raises:
            LogonSessionEndedError, PrivilegeNotHeldError, ImpersonationRefusedError,
            QuotaExceededError: as they say.
            InvalidRequestError: the plan cannot be carried out.
            LauncherUnavailableError: the launcher takes no order.
            LedgerUnavailableError: it could not be recorded. In each case nothing was
                started; all but the last are in the trail.
        """
        acts = self._guard.processes
        with ExitStack() as undo:
            with self._refusing(subject, plan.deed, None):
                token = duplicate_token(subject.token, type=TokenType.PRIMARY)
                acts.require_primary(token)
                acts.who_may.require_policy(subject, Act.START)
                require_confinable(token)
                identity = self._identity(token)
                acts.require_may_start()
                self._take_place(identity.uid, means.processes_per_client)
            undo.callback(self._give_place_back, identity.uid)
            number = acts.creating(subject, plan.deed)
            with self._refusing(subject, plan.deed, number):
                life = self._send(subject, plan, identity, means)
            life.when_over(partial(self._exited, subject, plan.deed, number, life))
            life.when_over(undo.pop_all().close)
        life.when_over(partial(self._sessions.release, token.logon_id))
        return life, number

    def begun(
        self,
        subject: Subject,
        plan: Plan,
        life: Life,
        number: int,
        *,
        seconds: float = SECONDS_TO_START,
    ) -> None:
        """Wait until what was ordered runs; record durably that it does not.

        Raises:
            KernelRefusedError: the kernel, judging as the client, refused the program
                or the directory.
            ImpersonationRefusedError: the process could not be made the client's.
            LauncherUnavailableError: nobody can say what became of it. In each case
                nothing is left of it.
        """
        with self._refusing(subject, plan.deed, number):
            try:
                life.child.started.result(seconds)
            except TimeoutError as error:
                life.give_up()
                raise LauncherUnavailableError(
                    f"`{plan.program}` has not begun in {SECONDS_TO_START:.0f} seconds",
                    advice="look at the client's home directory, and at PAM",
                ) from error
            except SteadError:
                life.ends.close()  # of the process nothing is left
                # Whoever hears of it may start another, in the place that it had.
                with suppress(TimeoutError):
                    life.child.ended.result(_SECONDS_TO_VANISH)
                raise
            except BaseException:
                life.give_up()
                raise

    @contextmanager
    def _refusing(
        self, subject: Subject, deed: Deed, number: int | None
    ) -> Iterator[None]:
        """Record durably what keeps a process from beginning."""
        try:
            yield
        except SteadError as error:
            self._guard.processes.not_created(subject, deed, error, number)
            raise

    def _send(
        self, subject: Subject, plan: Plan, identity: PosixIdentity, means: Means
    ) -> Life:
        """Hold the session and send the order; the session's end ends the process.

        Whoever sees the process end gives the hold up.
        """
        logon_id = subject.token.logon_id
        self._sessions.hold(subject.token)
        try:
            confinement = confinement_of(subject.token, runs_programs=True)
            ordered = partial(_ordered, means.programs, plan, identity, confinement)
            life = means.errands.run(ordered)
        except BaseException:
            self._sessions.release(logon_id)
            raise
        end = partial(means.deadlines.soon, life.child.end)
        life.when_over(self._sessions.on_end(logon_id, end))
        self._look_again_soon(subject.token, life, means)
        if plan.timeout is not None:
            # What it takes to start it is not its own time.
            timed = partial(_timed, means.deadlines, life, plan.timeout)
            life.child.started.add_done_callback(timed)
        return life

    def _look_again_soon(self, token: AccessToken, life: Life, means: Means) -> None:
        """Look once a lease whether the session still may live, as long as it runs.

        Nobody else might: a process asks nothing of the server. What another server
        process changed in the store ends its session, and so the process.
        """
        if not life.child.ended.done():
            look = partial(self._look_again, token, life, means)
            means.deadlines.after(LEASE / 1e9, look)

    def _look_again(self, token: AccessToken, life: Life, means: Means) -> None:
        try:
            self._sessions.require_live(token)
        except LogonSessionEndedError:
            return  # and the process is being ended
        except SteadError:
            _log.exception("a session cannot be looked at; its process goes on")
        self._look_again_soon(token, life, means)

    def _exited(self, subject: Subject, deed: Deed, number: int, life: Life) -> None:
        pid = life.child.pid
        if pid is not None:
            how = {"pid": str(pid)} | _how(life.status)
        elif life.is_given_up:
            how = {"exit": "it had not begun"}
        else:
            return  # whoever waits for its beginning tells why there was none
        self._guard.processes.exited(subject, deed, how, number)

    def _take_place(self, uid: int, places: int) -> None:
        with self._lock:
            at_work = self._at_work.get(uid, 0)
            if at_work >= places:
                raise QuotaExceededError(
                    f"uid {uid} has {at_work} processes, as many as a client may have"
                )
            self._at_work[uid] = at_work + 1

    def _give_place_back(self, uid: int) -> None:
        with self._lock:
            left = self._at_work.pop(uid) - 1
            if left:
                self._at_work[uid] = left


def _ordered(
    launcher: Starter,
    plan: Plan,
    identity: PosixIdentity,
    confinement: Confinement | None,
) -> Life:
    """Open the pipes and send the order, as the server."""
    order = plan.order(identity, household_of(identity))
    if confinement is not None:
        order = replace(order, confinement=confinement, no_new_privileges=True)
    try:
        ends = open_ends(plan, identity)
    except OSError as error:
        raise LauncherUnavailableError(
            f"the server has no descriptors for `{plan.program}`"
        ) from error
    life = Life(plan.program, ends)
    try:
        life.child = launcher.start(order, ends.theirs, on_end=life.over)
    except BaseException:
        ends.close()
        raise
    ends.close_theirs()
    return life


def _timed(
    deadlines: Deadlines, life: Life, seconds: float, started: Future[int]
) -> None:
    """Have a process killed when its time is up, now that it has begun."""
    if started.exception() is None:
        life.when_over(deadlines.after(seconds, life.overdue).call_off)


def _how(status: int | None) -> dict[str, str]:
    """Say how a process ended."""
    if status is None:
        return {"exit": "unknown"}
    if status >= 0:
        return {"exit code": str(status)}
    try:
        return {"signal": signal.Signals(-status).name}
    except ValueError:  # a real-time signal has no name
        return {"signal": str(-status)}
