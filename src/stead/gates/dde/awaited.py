"""What a client waits for: the answer of a transaction, and what is advised."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from stead.errors import DdeBusyError, RemoteError, RemoteProtocolError, SteadError
from stead.gates.dde.messages import (
    AdviseData,
    AdviseEnded,
    Busy,
    Message,
    Nack,
    Refused,
    data_of,
)


def _nothing() -> None:
    """Wake nobody."""


class Awaited:
    """An answer that somebody waits for.

    Attributes:
        on_done: called once, when it is there.
    """

    __slots__ = ("_answer", "_error", "on_done")

    def __init__(self) -> None:
        self.on_done: Callable[[], None] = _nothing
        self._answer: Message | None = None
        self._error: SteadError | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is there."""
        return self._answer is not None or self._error is not None

    def settle(self, answer: Message) -> None:
        """Take the answer."""
        if not self.is_done:
            self._answer = answer
            self.on_done()

    def fail(self, error: SteadError) -> None:
        """Take what came instead of an answer."""
        if not self.is_done:
            self._error = error
            self.on_done()

    def result(self) -> Message:
        """Return the answer, or raise what it says; only once it is there.

        Raises:
            RemoteError: the server refused.
            DdeBusyError: the server asks to come again later.
            NoConversationError: the conversation has ended.
            ServerClosedError, ServerUnavailableError, RemoteProtocolError: the
                connection has.
        """
        if self._error is not None:
            raise self._error
        if isinstance(self._answer, (Nack, Refused)):
            raise refusal_of(self._answer)
        if isinstance(self._answer, Busy):
            raise DdeBusyError("the server is busy")
        if self._answer is None:
            raise RemoteProtocolError("nothing was answered")
        return self._answer


class Inbox:
    """What came of some advised items: of each the latest value, oldest first.

    Attributes:
        conversation: the number of the conversation.
        items: the items that are advised.
        on_news: called whenever something has come.
    """

    def __init__(self, conversation: int, items: Iterable[str]) -> None:
        self.conversation: Final = conversation
        self.items = dict.fromkeys(items)
        self.on_news: Callable[[], None] = _nothing
        self._values: dict[str, AdviseData] = {}
        self._errors: deque[SteadError] = deque()

    @property
    def has_news(self) -> bool:
        """Whether there is something to take, or nothing more will come."""
        return bool(self._values or self._errors or not self.items)

    def put(self, message: AdviseData) -> None:
        """Keep a value, in the place of one of that item that was not taken."""
        self._values[message.item] = message
        self.on_news()

    def end(self, item: str, error: SteadError | None = None) -> None:
        """Expect nothing more of an item.

        Args:
            item: its name.
            error: why, for whoever takes; None if he knows, and wants nothing more.
        """
        if item in self.items:
            del self.items[item]
            if error is None:
                self._values.pop(item, None)
            else:
                self._errors.append(error)
            self.on_news()

    def end_all(self, error: SteadError) -> None:
        """Expect nothing more of any item."""
        if self.items:
            self.items.clear()
            self._errors.append(error)
            self.on_news()

    def take(self) -> AdviseData | None:
        """Take a value; None when nothing more will come.

        Raises:
            SteadError: the advise of an item was ended.
        """
        if self._values:
            return self._values.pop(next(iter(self._values)))
        if self._errors:
            raise self._errors.popleft()
        return None


def refusal_of(message: Nack | Refused | AdviseEnded) -> RemoteError:
    """Return what a server's refusal is raised as."""
    return RemoteError(
        message.message, remote_status=message.status, record=message.record
    )


def value_in(message: AdviseData) -> Any:
    """Return the value that was told, or None of a warm advise."""
    return None if message.value is None else data_of(message.value).value
