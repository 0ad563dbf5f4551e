"""The interceptor of `grpc.server`, whose handlers run on a pool's threads.

Each handler runs in a copy of its thread's context, and each step of a streamed answer
in that same copy: what it sets there is gone with the call, and the thread is nobody's
when the next call comes.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from stead.errors import InvalidRequestError, LogonFailureError
from stead.gates.grpc.admitting import ClientFor, asked
from stead.gates.grpc.calls import call_of
from stead.gates.grpc.refusals import answer_of
from stead.gates.grpc.shown import ShownContext
from stead.gates.ports import ClientLike
from stead.monitor import context as ambient
from stead.monitor.leaks import tell_end

Behavior = Callable[[Any, Any], Any]


class SteadInterceptor(grpc.ServerInterceptor):
    """Gives each call its client, and takes it back when the call ends."""

    def __init__(self, client_for: ClientFor) -> None:
        """Take who says whose a call is.

        Args:
            client_for: such as `by_evidence(server.admit_shown, ...)`; called on the
                pool's thread, where it may wait.

        Raises:
            InvalidRequestError: it is a coroutine function.
        """
        if inspect.iscoroutinefunction(client_for):
            raise InvalidRequestError(
                "client_for is a coroutine function, and no loop runs there",
                advice="use AioSteadInterceptor, with `grpc.aio`",
            )
        self._client_for = client_for

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return a handler that is run as nobody, and told who calls."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        return rebuilt(handler, self._wrapped(handler, handler_call_details.method))

    def _wrapped(self, handler: Any, method: str) -> Behavior:
        inner = behavior_of(handler)

        def single(request: Any, context: Any) -> Any:
            scope = contextvars.copy_context()
            with self._answering(method, context) as shown:
                return scope.run(_watched, inner, request, shown)

        def streamed(request: Any, context: Any) -> Iterator[Any]:
            scope = contextvars.copy_context()
            with self._answering(method, context) as shown:
                yield from _stepped(scope, inner, request, shown)

        return streamed if handler.response_streaming else single

    @contextmanager
    def _answering(self, method: str, context: Any) -> Iterator[ShownContext]:
        """Admit the caller; answer whatever is raised with what it may hear."""
        shown: ShownContext | None = None
        try:
            shown = ShownContext(context, self._admit(method, context))
            yield shown
        except Exception as error:
            if shown is not None and shown.is_aborted:
                raise
            code, details, more = answer_of(error, method)
            context.set_trailing_metadata(more)
            context.abort(code, details)
        finally:
            if shown is not None:
                end(shown)

    def _admit(self, method: str, context: Any) -> ClientLike:
        client: ClientLike | None = asked(self._client_for, call_of(method, context))
        if client is None:
            raise LogonFailureError(advice="client_for returned no client")
        return client


def end(shown: ShownContext) -> None:
    """Take a call's client back."""
    client, shown.stead_client = shown.stead_client, None
    if client is not None:
        client.close()


def _watched(inner: Behavior, request: Any, shown: ShownContext) -> Any:
    begun = ambient.raw_frame()
    try:
        return inner(request, shown)
    finally:
        tell_end(begun, "was in force when a call's handler returned")


def _stepped(
    scope: contextvars.Context, inner: Behavior, request: Any, shown: ShownContext
) -> Iterator[Any]:
    """Yield a streamed answer; the handler's steps see one context, which is theirs."""
    begun = scope.run(ambient.raw_frame)
    steps = scope.run(lambda: iter(inner(request, shown)))
    done = object()
    try:
        while (step := scope.run(next, steps, done)) is not done:
            yield step
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            scope.run(close)
        scope.run(tell_end, begun, "was in force when a call's answer ended")


def behavior_of(handler: Any) -> Behavior:
    """Return the function that serves a call of a handler."""
    kind = ("stream" if handler.request_streaming else "unary") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    behavior: Behavior = getattr(handler, kind)
    return behavior


def rebuilt(handler: Any, behavior: Any) -> Any:
    """Return a handler like another, served by another function."""
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(
        behavior,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
