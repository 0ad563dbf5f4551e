"""The System topic of a service: what it offers, as far as the client may see it.

Its items are those of DDE: `Topics`, `SysItems`, `TopicItemList` (the same), `Formats`,
`Status` and `Help`. Lists are lines of names between tabs. Whoever may connect to the
service may request them; nobody pokes, executes or is advised here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Never

from stead.authority.names import name_key
from stead.errors import DdeNotProcessedError
from stead.gates.dde.ports import BYTES, JSON, TEXT, DdeData
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.dde.advises import Advise
from stead.server.dde.items import ITEM_LIST, listed
from stead.server.dde.objects import DdeRights
from stead.server.dde.ports import DdeConversation

if TYPE_CHECKING:
    from stead.server.protected_server import ProtectedServer

SYSTEM: Final = "System"
SYSTEM_KEY: Final = name_key(SYSTEM)
_HELP: Final = f"Request `Topics` here, then `{ITEM_LIST}` of each topic."


class SystemTopic:
    """Every service's own topic (`dde_ports.Topic`).

    Attributes:
        name: `System`.
        securable: the service's object.
    """

    def __init__(
        self,
        server: ProtectedServer,
        securable: SecurableObject,
        *,
        topics_for: Callable[[Subject], list[str]],
        require_offered: Callable[[], None],
    ) -> None:
        """Make one.

        Args:
            server: judges.
            securable: the service's object.
            topics_for: returns the topics that a client may connect to.
            require_offered: raises if the service is offered no more.
        """
        self.name: Final = SYSTEM
        self.securable: Final = securable
        self._server = server
        self._require_offered = require_offered
        items: dict[str, Callable[[Subject], Iterable[str]]] = {
            "Topics": lambda subject: (SYSTEM, *topics_for(subject)),
            "SysItems": lambda _: tuple(items),
            ITEM_LIST: lambda _: tuple(items),
            "Formats": lambda _: (TEXT, BYTES, JSON),
            "Status": lambda _: ("Ready",),
            "Help": lambda _: (_HELP,),
        }
        self._items = {name_key(name): item for name, item in items.items()}

    def read(self, conversation: DdeConversation, item: str) -> DdeData:
        """Return one of its items to whoever may connect; see `dde_ports.Topic`."""
        client = conversation.client
        self._require_offered()
        found = self._items.get(name_key(item))
        if found is None:
            name = f"{self.securable.name}/{SYSTEM_KEY}/{item[:80]}"
            self._server.refuse_unknown(client, name)
        self._server.require(client, self.securable, DdeRights.CONNECT)
        return listed(found(client.subject))

    def poke(self, conversation: DdeConversation, item: str, data: DdeData) -> None:
        """Refuse; see `dde_ports.Topic`."""
        self._refuse(conversation, f"`{item[:80]}` takes no value as {data.format}")

    def execute(self, conversation: DdeConversation, command: str) -> None:
        """Refuse; see `dde_ports.Topic`."""
        self._refuse(conversation, f"no command of {len(command)} letters is executed")

    def advise(
        self,
        conversation: DdeConversation,
        item: str,
        ring: Callable[[], None],  # noqa: ARG002 - the protocol's shape
        *,
        is_hot: bool,  # noqa: ARG002 - the protocol's shape
    ) -> Advise:
        """Refuse; see `dde_ports.Topic`."""
        self._refuse(conversation, f"nobody is told of `{item[:80]}`")

    def _refuse(self, conversation: DdeConversation, why: str) -> Never:
        self._server.require(conversation.client, self.securable, DdeRights.CONNECT)
        raise DdeNotProcessedError(f"{why} in topic `{SYSTEM}`")
