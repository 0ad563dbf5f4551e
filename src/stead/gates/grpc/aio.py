"""The interceptor of `grpc.aio`, whose handlers are coroutines on one loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from contextvars import Context
from functools import partial
from typing import Any

import grpc

from stead.errors import InvalidRequestError, LogonFailureError, SteadError
from stead.gates.arrivals import Arrivals
from stead.gates.grpc.admitting import ByEvidence, ClientFor, asked
from stead.gates.grpc.blocking import behavior_of, end, rebuilt
from stead.gates.grpc.calls import GrpcCall, call_of
from stead.gates.grpc.refusals import answer_of
from stead.gates.grpc.shown import ShownContext
from stead.gates.ports import ClientLike
from stead.monitor import context as ambient
from stead.monitor.leaks import tell_end
from stead.monitor.tracing import arriving


class AioSteadInterceptor(grpc.aio.ServerInterceptor):
    """Gives each call its client, and takes it back when the call ends."""

    def __init__(self, client_for: ClientFor) -> None:
        """Take who says whose a call is.

        Args:
            client_for: such as `by_evidence(server.admit_shown, ...)`. A coroutine
                function is awaited; any other is called on a thread, where it may wait.
        """
        self._client_for = client_for
        # Its own: verifying takes its time, and the loop's threads are everybody's.
        self._arrivals = Arrivals("grpc-arrival")

    async def intercept_service(
        self, continuation: Any, handler_call_details: Any
    ) -> Any:
        """Return a handler that is told who calls.

        Raises:
            InvalidRequestError: the handler is no coroutine function.
        """
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        return rebuilt(handler, self._wrapped(behavior_of(handler), method))

    def _wrapped(self, inner: Any, method: str) -> Callable[[Any, Any], Any]:
        if inspect.isasyncgenfunction(inner):

            async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
                async with (
                    self._answering(method, context) as shown,
                    aclosing(inner(request, shown)) as steps,
                ):
                    async for step in steps:
                        yield step

            return streamed
        if not inspect.iscoroutinefunction(inner):
            raise InvalidRequestError(
                f"the handler of `{method}` is a plain function on a loop's server",
                advice="write it as `async def`, or serve it by `grpc.server`",
            )

        async def single(request: Any, context: Any) -> Any:
            async with self._answering(method, context) as shown:
                return await inner(request, shown)

        return single

    @asynccontextmanager
    async def _answering(
        self, method: str, context: Any
    ) -> AsyncIterator[ShownContext]:
        """Admit the caller; answer whatever is raised with what it may hear."""
        shown: ShownContext | None = None
        begun = ambient.raw_frame()
        try:
            shown = ShownContext(context, await self._admit(method, context))
            yield shown
        except Exception as error:
            if shown is not None and shown.is_aborted:
                raise
            code, details, more = answer_of(error, method)
            context.set_trailing_metadata(more)
            await context.abort(code, details)
        finally:
            tell_end(begun, "was in force when a call's handler returned")
            if shown is not None:
                end(shown)

    async def _admit(self, method: str, context: Any) -> ClientLike:
        client = await self._asked(call_of(method, context))
        if client is None:
            raise LogonFailureError(advice="client_for returned no client")
        return client

    async def _asked(self, call: GrpcCall) -> ClientLike | None:
        if inspect.iscoroutinefunction(self._client_for):
            with arriving(call.traceparent):
                found: ClientLike | None = await self._client_for(call)
            return found
        late: list[float] = []
        client_for = self._client_for
        if isinstance(client_for, ByEvidence):
            client_for = partial(client_for, wait=late.append)
        ask = partial(asked, client_for, call)
        try:
            # As nobody: whoever runs the loop lends its callers no identity.
            looking = self._arrivals.submit(call.peer, partial(Context().run, ask))
            answer: ClientLike | None = await asyncio.wrap_future(looking)
        except SteadError:
            # No thread waits for that: failures, however many, delay nobody else.
            await asyncio.sleep(sum(late))
            raise
        return answer
