"""Services: names under which topics are offered, each a securable object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stead.errors import (
    InvalidNameError,
    LogonSessionEndedError,
    NoConversationError,
)
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.client_context import ClientContext
from stead.server.dde.objects import (
    DdeRights,
    entries_or_owners,
    key_or_none,
    require_topic,
)
from stead.server.dde.ports import Topic
from stead.server.dde.sources import Source
from stead.server.dde.system import SYSTEM_KEY, SystemTopic
from stead.server.dde.topics import DdeTopic, may_do
from stead.server.object_entries import Entries

if TYPE_CHECKING:
    from stead.server.protected_server import ProtectedServer


class DdeService:
    """A service: a name under which topics are offered. Made by `DdeDesk.register`.

    Attributes:
        name: as whoever registered it spells it.
        securable: the object that guards it.
    """

    def __init__(
        self,
        server: ProtectedServer,
        securable: SecurableObject,
        *,
        name: str,
        by: ClientContext | None,
    ) -> None:
        self.name: Final = name
        self.securable: Final = securable
        self._server = server
        self._by = by
        self._topics: dict[str, DdeTopic] = {}
        self._system = SystemTopic(
            server,
            securable,
            topics_for=self._topics_for,
            require_offered=self.require_offered,
        )

    def topic(
        self, name: str, source: Source | None = None, *, entries: Entries | None = None
    ) -> DdeTopic:
        """Offer a topic.

        Args:
            name: 1 to 64 printable letters without `/`; compared without case.
            source: a mapping, read when it is asked, and written by pokes if it can
                be; or an async iterable of `(item, value)`, or an async generator
                function, run from the first conversation on; None for a new dict.
            entries: who may do what; None for the owner alone. As with every object,
                one that the store has already keeps its descriptor.

        Raises:
            InvalidNameError: the name is none, or is taken.
            InvalidRequestError: nothing can be published of the source.
            UnknownAccountError: an entry names nobody.
        """
        key = require_topic(name)
        if key in self._topics or key == SYSTEM_KEY:
            raise InvalidNameError(f"service `{self.name}` has a topic `{name}`")
        owner = self.securable.descriptor.owner
        made = self._server.protect(
            f"{self.securable.name}/{key}",
            DdeRights,
            entries_or_owners(entries, owner),
            owner=owner,
        )
        topic = self._topics[key] = DdeTopic(
            self._server,
            made,
            source,
            name=name,
            require_offered=self.require_offered,
        )
        return topic

    @property
    def is_offered(self) -> bool:
        """Whether whoever registered it is still there."""
        try:
            self.require_offered()
        except NoConversationError:
            return False
        return True

    def require_offered(self) -> None:
        """Return if whoever registered it is still logged on.

        Raises:
            NoConversationError: a client registered it, and its session has ended.
        """
        if self._by is None:
            return
        try:
            guard = self._server.reception.dispatcher.guard
            guard.liveness.require_live(self._by.token)
        except LogonSessionEndedError as error:
            raise NoConversationError(f"`{self.name}` is offered no more") from error

    def find(self, topic: str) -> Topic | None:
        """Return a topic by name, or None."""
        key = key_or_none(topic, require_topic)
        if key == SYSTEM_KEY:
            return self._system
        return None if key is None else self._topics.get(key)

    def _topics_for(self, subject: Subject) -> list[str]:
        """Return the topics that a client may connect to, sorted."""
        return sorted(
            topic.name
            for topic in tuple(self._topics.values())
            if may_do(subject, topic.securable, DdeRights.CONNECT)
        )
