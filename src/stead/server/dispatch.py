"""One request, from its name and arguments to its answer: recorded before and after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Executor
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final
from weakref import WeakValueDictionary

from stead.errors import (
    AccessDeniedError,
    OperationFailedError,
    SteadError,
)
from stead.model.audit_record import AuditEvent
from stead.model.quality_of_service import QualityOfService
from stead.model.secret import Secret
from stead.monitor import context
from stead.monitor.covering import covering
from stead.monitor.frames import FrameKind
from stead.monitor.guard import Guard
from stead.monitor.impersonation import Block, require_none_hidden
from stead.monitor.leaks import tell_end
from stead.monitor.ports import AuditSink, Subject
from stead.server.client_context import ClientContext
from stead.server.operations import Operation, Operations
from stead.server.visitor import Visitor

_log: Final = logging.getLogger("stead.server")


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Runs operations for clients.

    Attributes:
        guard: judges and records.
        operations: what there is.
    """

    guard: Guard
    operations: Operations

    def run(
        self, client: ClientContext, name: str, arguments: Mapping[str, object]
    ) -> Any:
        """Run one operation for a client and return its value.

        1. The client's session lives; find the operation.
        2. The client's level and privileges suffice, and the arguments fit.
        3. That it runs is recorded durably; only then it runs, in a context of its
           own in which it is nobody until it says who.
        4. What came of it is recorded durably; only then it is answered.

        Raises:
            SteadError: the refusal; holds the number of the record with the reason.
            OperationFailedError: the handler's own code failed; logged with traceback.
        """
        try:
            operation = self._prepare(client, name)
            bound = operation.bind(arguments)
            number = self._say(AuditEvent.OPERATION_REQUESTED, client, operation.name)
        except SteadError as error:
            if error.record is None:
                requested = AuditEvent.OPERATION_REQUESTED
                self._say(requested, client, name[:80], error)
            raise
        # What the policy lets be lost has no number, and announces nothing.
        return self._run_recorded(client, operation, bound, is_durable=number > 0)

    def _prepare(self, client: ClientContext, name: str) -> Operation:
        # Also for what asks nothing else of the guard: no lease, no access.
        self.guard.liveness.require_live(client.subject.token)
        operation = self.operations.find(name)
        limits = client.subject.token.limits
        if limits is not None and not limits.may_ask_for(operation.name):
            # What a handler does with a client's name is its own matter: whoever lends
            # a token says which handlers are meant.
            raise AccessDeniedError(
                object_name=operation.name,
                advice=f"grant {limits} does not name the operation",
            )
        act = f"operation `{operation.name}`"
        self.guard.require_level(client.subject, operation.level, act=act)
        if operation.privileges:
            self.guard.require_privilege(
                client.subject, operation.privileges, operation=operation.name
            )
        return operation

    def _run_recorded(
        self,
        client: ClientContext,
        operation: Operation,
        bound: dict[str, Any],
        *,
        is_durable: bool,
    ) -> Any:
        try:
            act = partial(operation.handler, client, **bound)
            if is_durable:  # it announces the client's blocks in it
                act = partial(_covered, act, client.subject, self.guard.sink)
            return self.run_code(client, operation.name, act)
        finally:
            for argument in bound.values():
                if isinstance(argument, Secret):
                    argument.wipe()

    def run_code(self, client: ClientContext, name: str, act: Callable[[], Any]) -> Any:
        """Run code that was allowed for a client, as nobody, and record how it ended.

        Args:
            client: for whom.
            name: what the code is, for the trail.
            act: runs in a context of its own, in which it is nobody until it says who.

        Raises:
            SteadError: what the code raises, or what becomes of it (`attempt`).
        """
        value = self.attempt(client, name, act)
        self._say(AuditEvent.OPERATION_ENDED, client, name)
        return value

    def attempt(self, client: ClientContext, name: str, act: Callable[[], Any]) -> Any:
        """Run code as `run_code` does, and record only its failure.

        Raises:
            AccessDeniedError: the kernel refused the client.
            OperationFailedError: the code itself failed; logged with its traceback.
        """
        ended = AuditEvent.OPERATION_ENDED
        try:
            require_none_hidden()
            return Context().run(self._as_nobody, act)
        except SteadError as error:
            self._say(ended, client, name, error)
            raise
        except PermissionError as error:
            # The kernel refused inside a client's block: that is an answer.
            refusal = AccessDeniedError(object_name=str(error.filename or ""))
            self._say(ended, client, name, refusal)
            raise refusal from error
        except BaseException as error:
            # Whatever a handler raises ends its request, never the server: `exit()`,
            # an interrupt or a cancellation of its own would end the loop.
            _log.exception("operation `%s` failed", name)
            failure = OperationFailedError(f"operation `{name}` failed")
            self._say(ended, client, name, failure)
            raise failure from error

    def _as_nobody(self, act: Callable[[], Any]) -> Any:
        with Block(FrameKind.HANDLER, None, self.guard):
            begun = context.raw_frame()
            try:
                return act()
            finally:
                tell_end(begun, "was in force when a handler returned")

    def _say(
        self,
        event: AuditEvent,
        client: ClientContext,
        operation: str,
        error: SteadError | None = None,
    ) -> int:
        return self.guard.recorder.record(
            event, client.subject, error=error, operation=operation
        )


def _covered(act: Callable[[], Any], subject: Subject, sink: AuditSink) -> Any:
    with covering(subject, sink):
        return act()


class Turns:
    """How many threads one account may keep busy, over all its connections.

    Without a bound below the number of handlers' threads, one account's slow requests
    would keep every other client waiting.
    """

    def __init__(self, each: int) -> None:
        self._each = each
        # An account's turns are forgotten with its last conversation.
        self._known: WeakValueDictionary[Hashable, asyncio.Semaphore] = (
            WeakValueDictionary()
        )

    def of(self, account: Hashable) -> asyncio.Semaphore:
        """Return the account's turns; to be called on the loop's thread."""
        turns = self._known.get(account)
        if turns is None:
            turns = self._known[account] = asyncio.Semaphore(self._each)
        return turns


class ServerConversation:
    """One admitted client, as a gate sees it (`stead.gates.ports.Conversation`)."""

    def __init__(
        self,
        visitor: Visitor,
        dispatcher: Dispatcher,
        handlers: Executor,
        turns: asyncio.Semaphore,
    ) -> None:
        self._visitor = visitor
        self._dispatcher = dispatcher
        self._handlers = handlers
        self._turns = turns
        self._requests = count(1)

    @property
    def account(self) -> str:
        """The client's account, as the server names it."""
        return self._visitor.account

    @property
    def quality(self) -> QualityOfService:
        """What was granted."""
        return self._visitor.quality

    async def call(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """Run one operation on a handler's thread; raises as `Dispatcher.run` does."""
        loop, number = asyncio.get_running_loop(), next(self._requests)
        async with self._turns:
            return await loop.run_in_executor(
                self._handlers, self._run, number, operation, arguments
            )

    def _run(self, number: int, operation: str, arguments: Mapping[str, Any]) -> Any:
        client = self._visitor.now()
        request = client.for_request(number, operation)
        return self._dispatcher.run(request, operation, arguments)

    async def close(self) -> None:
        """End the client's session."""
        self._visitor.leave()
