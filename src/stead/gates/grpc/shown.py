"""A call's own context with its client on it, which is all that a handler is given."""

from __future__ import annotations

from typing import Any, Final, NoReturn, cast

from stead.errors import LogonFailureError, OperationFailedError
from stead.gates.ports import ClientLike

_ATTRIBUTE: Final = "stead_client"


class ShownContext:
    """The library's context of one call, and whose call it is.

    Attributes:
        stead_client: the client; None once the call is over.
        is_aborted: whether the handler has ended the call by itself.
    """

    def __init__(self, context: Any, client: ClientLike) -> None:
        self.stead_client: ClientLike | None = client
        self.is_aborted = False
        self._context = context

    def abort(self, code: Any, details: str, *more: Any) -> Any:
        """End the call, as the library does; of `grpc.aio` it is awaited."""
        self.is_aborted = True
        return self._context.abort(code, details, *more)

    def abort_with_status(self, status: Any) -> Any:
        """End the call, as the library does; of `grpc.aio` it is awaited."""
        self.is_aborted = True
        return self._context.abort_with_status(status)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise OperationFailedError("a call's context is neither pickled nor copied")


def client_of(context: Any) -> ClientLike:
    """Return the client of a call.

    Args:
        context: what the handler was given.

    Raises:
        LogonFailureError: the call is over.
        OperationFailedError: no interceptor of Stead's stands before the handler.
    """
    missing = object()
    found = getattr(context, _ATTRIBUTE, missing)
    if found is missing:
        raise OperationFailedError(
            "the call did not pass a stead interceptor",
            advice="give the server `interceptors=[SteadInterceptor(...)]`",
        )
    if found is None:
        raise LogonFailureError(advice="a handler's client ends with its call")
    return cast("ClientLike", found)
