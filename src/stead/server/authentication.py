"""Clients that show who they are: exchanges of blobs, and evidence complete at once.

Whatever is wrong with what a client shows, it hears one `LogonFailureError`, late; the
trail has the cause (Win32: AcceptSecurityContext, "Return value").
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

from stead.authority.lockout import LockoutPolicy
from stead.authority.newcomer import newcomer_of
from stead.authority.packages import (
    Authenticated,
    AuthenticationPackage,
    ChannelBinding,
    Counted,
    CountingExchange,
    Exchange,
    Step,
)
from stead.errors import (
    EvidenceRefusedError,
    InvalidRequestError,
    LogonFailureError,
    LoopThreadError,
    SteadError,
)
from stead.model.arguments import require_kind
from stead.model.logon_record import LogonType
from stead.model.quality_of_service import QualityOfService
from stead.model.token import ImpersonationLevel
from stead.monitor import loops
from stead.server.admission import Admission, Arrival
from stead.server.late_answers import LateAnswers
from stead.server.logon_session import LogonSession

MOST_STEPS: Final = 16
"""Blobs that one client may send before it is known."""
AS_SHOWN: Final = QualityOfService(ImpersonationLevel.DELEGATION, effective_only=False)
"""As far as what the client shows lets it go."""
LONGEST_BLOB: Final = 1 << 18
"""Bytes of the longest blob; a ticket with 1,000 groups has some 64 KiB."""
_NOTHING_COUNTED: Final = Counted()


class Authentication:
    """The packages of one server, and the door behind them.

    Args:
        packages: each of its own name.
        admission: the door.
        lockout: how late failures are answered.
        monotonic: nanoseconds that never step.
        late: waits for some seconds before a failure is answered.

    Raises:
        InvalidRequestError: two packages have one name.
    """

    def __init__(
        self,
        packages: Collection[AuthenticationPackage],
        admission: Admission,
        lockout: LockoutPolicy,
        monotonic: Callable[[], int],
        late: LateAnswers,
    ) -> None:
        self._packages: Final = {package.name: package for package in packages}
        if len(self._packages) != len(packages):
            raise InvalidRequestError("two packages have one name")
        self._admission = admission
        self._lockout = lockout
        self.monotonic: Final = monotonic
        self._late: Final = late

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may show who they are by, in the order preferred."""
        return tuple(self._packages)

    def begin(
        self,
        package: str,
        binding: ChannelBinding | None,
        quality: QualityOfService,
        arrival: Arrival,
    ) -> LogonExchange:
        """Begin with a client.

        Raises:
            LogonFailureError: there is no such package, or it does not begin; the
                trail says so.
            LoopThreadError: an event loop runs on this thread, and a failure waits.
            PrivilegeNotHeldError: the server may not say who clients are.
        """
        _require_no_loop("server.begin_logon, package")
        self._admission.require_tcb()
        began = self.monotonic()
        try:
            exchange = self._package(package).begin(binding)
        except SteadError as error:
            why = error.with_traceback(None)
        else:
            return LogonExchange(
                self, exchange, quality, arrival, is_bound=binding is not None
            )
        raise self.failure("", arrival, why, began)

    def _package(self, name: str) -> AuthenticationPackage:
        found = self._packages.get(name)
        if found is None:
            raise EvidenceRefusedError(
                f"this server takes no `{name[:40]}`",
                advice="name the package among the server's `packages`",
            )
        return found

    def admit(
        self,
        client: Authenticated,
        quality: QualityOfService,
        arrival: Arrival,
        *,
        logon_type: LogonType = LogonType.NETWORK,
        began: int | None = None,
    ) -> LogonSession:
        """Open a session for a client whose evidence is complete.

        Args:
            client: what a package says of it; what it handed over is the session's.
            quality: what it lets be done with its identity.
            arrival: how it came.
            logon_type: what kind of session.
            began: monotonic nanoseconds at which it came.

        Raises:
            LogonFailureError: whatever the cause; the trail has it.
            LoopThreadError: an event loop runs on this thread, and this waits.
            PrivilegeNotHeldError: the server may not say who clients are.
            LedgerUnavailableError: it could not be recorded.
        """
        began = self.monotonic() if began is None else began
        try:
            with ExitStack() as undo:
                undo.callback(client.close)
                _require_no_loop("server.admit, client")
                self._admission.require_tcb()
                newcomer = newcomer_of(
                    self._admission.store,
                    client,
                    self._admission.elsewhere.issuers,
                    host=self._admission.host,
                    logon_type=logon_type,
                    errand=self._admission.errand,
                )
                session = self._admission.open_session(newcomer, quality, arrival)
                undo.pop_all()
                return session
        except LoopThreadError:
            raise
        except SteadError as error:
            why = error.with_traceback(None)
        shown = f"{client.name}@{client.issuer}" if client.issuer else client.name
        raise self.failure(shown, arrival, why, began, logon_type)

    def admit_shown(
        self,
        show: Callable[[], Authenticated],
        quality: QualityOfService,
        arrival: Arrival,
    ) -> LogonSession:
        """Open a session for a client, whose evidence is looked at here.

        Args:
            show: returns who it is; what it raises is recorded as why it is not.
            quality: what it lets be done with its identity.
            arrival: how it came.

        Raises:
            LogonFailureError: whatever the cause; the trail has it.
            PrivilegeNotHeldError: the server may not say who clients are.
            LedgerUnavailableError: it could not be recorded.
        """
        self._admission.require_tcb()
        began = self.monotonic()
        try:
            client = show()
        except SteadError as error:
            why: SteadError = error.with_traceback(None)
        except Exception as error:  # noqa: BLE001 - clients break libraries in many ways
            why = EvidenceRefusedError(f"it cannot be read: {type(error).__name__}")
        else:
            return self.admit(client, quality, arrival, began=began)
        raise self.failure("", arrival, why, began)

    def failure(
        self,
        name: str,
        arrival: Arrival,
        error: SteadError,
        began: int,
        logon_type: LogonType = LogonType.NETWORK,
        counted: Counted = _NOTHING_COUNTED,
    ) -> LogonFailureError:
        """Record why somebody is not let in, wait, and return the one thing to raise.

        Raises:
            LedgerUnavailableError: it could not be recorded.
        """
        failure, refusals = LogonFailureError(), self._admission.refusals
        try:
            failure.record = refusals.record_named(name, arrival, error, logon_type)
            if counted.locks:
                refusals.record_lock(name, counted.sid, arrival)
        finally:
            # A delay was counted: a name's password was tried.
            own = self._late.of_name if counted.delay else self._late.of_evidence
            wait = arrival.wait or own
            wait(max(self._left(began), counted.delay))
        return failure

    def _left(self, began: int) -> float:
        """Return how long an answer waits: to a whole number of first delays."""
        step = self._lockout.first_delay
        if step <= 0:
            return 0.0
        took = (self.monotonic() - began) / 1_000_000_000
        return math.ceil(took / step) * step + step - took


@dataclass(slots=True, eq=False)
class _State:
    steps: int = 0
    is_over: bool = False
    is_closed: bool = False
    session: LogonSession | None = None


class LogonExchange:
    """One client that is showing who it is.

    with server.begin_logon("negotiate", gate="http", peer=peer) as exchange:
        reply = exchange.step(blob)
        if exchange.session is not None:
            ...

    Steps wait: for a directory, a key distribution centre, the trail. It is not for an
    event loop's thread. A session that was opened is the caller's to close.
    """

    def __init__(
        self,
        desk: Authentication,
        exchange: Exchange,
        quality: QualityOfService,
        arrival: Arrival,
        *,
        is_bound: bool,
    ) -> None:
        self._desk = desk
        self._exchange = exchange
        self._is_bound = is_bound
        self._quality = quality
        self._arrival = arrival
        self._began = desk.monotonic()
        self._state = _State()
        self._turn = threading.Lock()

    @property
    def session(self) -> LogonSession | None:
        """The client's session, once it has shown who it is."""
        return self._state.session

    def step(self, blob: bytes) -> bytes:
        """Take the client's next blob; return what to send back, or nothing.

        Raises:
            LogonFailureError: the client is not admitted, whatever the cause; the
                exchange is over, and the trail says why.
            InvalidRequestError: it is over already.
            LoopThreadError: an event loop runs on this thread, and this waits.
            LedgerUnavailableError: it could not be recorded.
        """
        require_kind("blob", blob, (bytes, bytearray), "bytes, as they came")
        _require_no_loop("exchange.step, blob")
        try:
            with self._turn:
                return self._take(blob)
        finally:
            if self._was_closed():
                self._close_in_turn()

    def _take(self, blob: bytes) -> bytes:
        """Take a blob, in turn."""
        self._require_open()
        self._state.is_over = True  # unless it turns out well
        try:
            step = self._ask(blob)
        except SteadError as error:
            why = error.with_traceback(None)
        except BaseException:
            self._exchange.close()
            raise
        else:
            return self._go_on(step)
        counted = self._counted()
        self._exchange.close()
        raise self._desk.failure(
            counted.name, self._arrival, why, self._began, counted=counted
        )

    def _require_open(self) -> None:
        if self._state.is_over or self._was_closed():
            raise InvalidRequestError("this exchange is over")

    def _counted(self) -> Counted:
        exchange = self._exchange
        return exchange.counted if isinstance(exchange, CountingExchange) else Counted()

    def _ask(self, blob: bytes) -> Step:
        self._state.steps += 1
        if self._state.steps > MOST_STEPS or len(blob) > LONGEST_BLOB:
            raise EvidenceRefusedError("the client sends too much")
        try:
            step = self._exchange.step(blob)
        except SteadError:
            raise
        except Exception as error:  # noqa: BLE001 - clients break libraries in many ways
            raise EvidenceRefusedError(
                f"the exchange failed: {type(error).__name__}"
            ) from None
        if step.client is not None and self._is_bound and not step.client.is_bound:
            step.client.close()
            raise EvidenceRefusedError("the exchange is not bound to its channel")
        return step

    def _go_on(self, step: Step) -> bytes:
        if step.client is None:
            self._state.is_over = False
            return step.reply
        try:
            if self._was_closed():
                step.client.close()
                raise InvalidRequestError("this exchange is over")
            session = self._desk.admit(
                step.client, self._quality, self._arrival, began=self._began
            )
        finally:
            self._exchange.close()
        self._state.session = session
        if self._was_closed():
            # Whoever closed it looks for no session: it would be nobody's to close.
            self._state.session = None
            session.close()
            raise InvalidRequestError("this exchange is over")
        return step.reply

    def _was_closed(self) -> bool:
        return self._state.is_closed

    def close(self) -> None:
        """Forget it; a session that was opened stays. Again does nothing.

        A step at work on another thread ends first, and lets nobody in.
        """
        self._state.is_closed = True
        self._close_in_turn()

    def _close_in_turn(self) -> None:
        """Close what the package holds; a step that is at work does it then."""
        if self._turn.acquire(blocking=False):
            try:
                self._exchange.close()
            finally:
                self._turn.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _require_no_loop(act: str) -> None:
    if loops.is_loop_thread():
        raise LoopThreadError(
            "showing who a client is waits, and an event loop runs on this thread",
            advice=f"`await asyncio.to_thread({act})`",
        )
