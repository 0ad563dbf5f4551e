"""What a topic publishes: a mapping, or values that come by themselves.

A mapping is read when it is asked; a mutable one is written by pokes. An async source
yields `(item, value)` for as long as it likes, on the loop of the server's gates.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, Callable, Mapping
from contextvars import Context
from typing import Any, Final, TypeAlias

from stead.errors import InvalidRequestError

_log: Final = logging.getLogger("stead.server")

AsyncSource: TypeAlias = AsyncIterable[tuple[str, Any]]
Source: TypeAlias = Mapping[str, Any] | AsyncSource | Callable[[], AsyncSource]


def split(source: Source | None) -> tuple[Mapping[str, Any], Feed | None]:
    """Return what a source holds, and the feed that fills it, if it has one.

    Raises:
        InvalidRequestError: nothing can be published of it.
    """
    if source is None:
        return {}, None
    if isinstance(source, Mapping):
        return source, None
    if isinstance(source, AsyncIterable):
        return {}, Feed(lambda: source)
    if inspect.isasyncgenfunction(source):
        return {}, Feed(source)
    raise InvalidRequestError(
        "a topic's source is neither a mapping nor an async iterable",
        advice="give a dict, an async generator, or the function that makes one",
    )


class Feed:
    """Runs an async source, from the first conversation with its topic on.

    Attributes:
        has_yielded: whether a first value has come.
    """

    def __init__(self, make: Callable[[], AsyncSource]) -> None:
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self.has_yielded = False

    def start(
        self,
        publish: Callable[[str, Any], None],
        fail: Callable[[], None],
    ) -> None:
        """Start it on this thread's loop, unless it runs or has ended.

        Args:
            publish: takes each item and value.
            fail: told, once, that the source failed; the log has the traceback.
        """
        if self._task is None:
            # An empty context: the source is the server's own, whoever connects first.
            self._task = asyncio.get_running_loop().create_task(
                self._run(publish, fail), context=Context()
            )

    async def _run(
        self,
        publish: Callable[[str, Any], None],
        fail: Callable[[], None],
    ) -> None:
        try:
            async for item, value in self._make():
                publish(item, value)
                self.has_yielded = True
                await asyncio.sleep(0)  # a source that never waits is not alone here
        except BaseException as error:
            # The outermost loop of a source: whatever it raises ends its topic, and
            # neither the loop nor the server.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                self._task = None  # its loop ends; another one may start it again
                raise
            _log.exception("a topic's source failed")
            fail()
        else:
            if not self.has_yielded:
                _log.error("a topic's source ended without a value")
                fail()
