"""Topics: what may be done with their items, by whom, and who is told of them.

    topic = service.topic("stocks", {"acme": "12"}, entries=[...])
    topic.protect_item("margin", [allow("boss", DdeRights.REQUEST)])
    topic.publish("acme", "13")

An item without a descriptor of its own is judged by its topic's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from stead.decision.fast import is_granted
from stead.errors import AccessDeniedError, DdeBusyError, DdeNotProcessedError
from stead.gates.dde.ports import DdeData
from stead.model.security_descriptor import SecurityDescriptor
from stead.monitor.ports import Subject
from stead.monitor.securable_object import SecurableObject
from stead.server.client_context import ClientContext
from stead.server.dde.advises import MOST_JUDGEMENTS, Advise, Advises
from stead.server.dde.items import ITEM_LIST_KEY, KEPT, Items, listed
from stead.server.dde.objects import (
    DdeRights,
    OwnDescriptors,
    key_or_none,
    require_item,
)
from stead.server.dde.ports import DdeConversation
from stead.server.dde.sources import Source, split
from stead.server.dispatch import Dispatcher
from stead.server.object_entries import Entries
from stead.server.operations import require_plain

if TYPE_CHECKING:
    from stead.server.protected_server import ProtectedServer

Executes = Callable[[DdeConversation, str], object]
Pokes = Callable[[DdeConversation, str, Any], object]
_ExecutesT = TypeVar("_ExecutesT", bound=Executes)
_PokesT = TypeVar("_PokesT", bound=Pokes)

_Guarding: TypeAlias = tuple[SecurableObject, SecurityDescriptor]


class DdeTopic:
    """One topic of a service. Threads may share it if they may share its mapping.

    Attributes:
        name: as the server spells it.
        securable: the object that guards it.
    """

    def __init__(
        self,
        server: ProtectedServer,
        securable: SecurableObject,
        source: Source | None,
        *,
        name: str,
        require_offered: Callable[[], None],
    ) -> None:
        """Make one; `DdeService.topic` is what servers call.

        Args:
            server: whose topic.
            securable: what guards it; its name is the beginning of its items'.
            source: what it publishes.
            name: its name.
            require_offered: raises if the service is offered no more.
        """
        self.name: Final = name
        self.securable: Final = securable
        values, self._feed = split(source)
        self._items = Items(values)
        self._server = server
        self._require_offered = require_offered
        self._own = OwnDescriptors(server.find_object, monotonic=time.monotonic_ns)
        self._executes: Executes | None = None
        self._pokes: Pokes | None = None
        self._has_failed = False
        self._advises = Advises()

    # --- what servers do with it ------------------------------------------------------

    def publish(self, item: str, value: object = KEPT) -> None:
        """Give an item a new value and tell who asked to be told; from any thread.

        Nobody is waited for: each client gets the latest value when it can take it.

        Args:
            item: its name.
            value: text, bytes or what JSON holds, written to the topic's mapping; if
                not given, what the mapping holds by now is told.

        Raises:
            InvalidNameError: nothing can be called that.
            InvalidRequestError: the topic's mapping cannot be written, or has no such
                item to be read; or the value is none that an item can have.
        """
        for advise in self._advises.of(self._items.publish(item, value)):
            advise.ring()

    def protect_item(self, item: str, entries: Entries) -> SecurableObject:
        """Give an item a descriptor of its own, owned by who owns the topic's.

        As with every object, one that the store has already keeps its descriptor.

        Raises:
            InvalidNameError: nothing can be called that.
            UnknownAccountError: an entry names nobody.
        """
        made = self._server.protect(
            self._name_of(require_item(item)),
            DdeRights,
            entries,
            owner=self.securable.descriptor.owner,
        )
        self._own.add(made)
        return made

    def on_execute(self, handler: _ExecutesT) -> _ExecutesT:
        """Have a plain function `(conversation, command)` do what is executed."""
        require_plain(f"execute {self.name}", handler)
        self._executes = handler
        return handler

    def on_poke(self, handler: _PokesT) -> _PokesT:
        """Have a plain function `(conversation, item, value)` take what is poked."""
        require_plain(f"poke {self.name}", handler)
        self._pokes = handler
        return handler

    # --- what conversations do with it ------------------------------------------------

    def start(self) -> None:
        """Start the source, if values come by themselves; on the loop's thread."""
        if self._feed is not None:
            self._feed.start(self.publish, self._fail)

    def read(self, conversation: DdeConversation, item: str) -> DdeData:
        """Return an item's value to who may have it; see `dde_ports.Topic`."""
        client = conversation.client
        if key_or_none(item, require_item) == ITEM_LIST_KEY:
            self._require_offered()
            self._server.require(client, self.securable, DdeRights.CONNECT)
            listing = partial(self._list, client.subject)
            names: DdeData = self._attempt(client, "request", listing)
            return names
        return self._read_judged(client, item)

    def _read_judged(self, client: ClientContext, item: str) -> DdeData:
        """Return a value that was judged by what is in force when it is read.

        A value that came after the right was lost must not pass by what was judged
        before: the same descriptor is in force on both sides of the reading.
        """
        liveness = self._dispatcher.guard.liveness
        for _ in range(MOST_JUDGEMENTS):
            # What is judged may be newer than this; then the look behind sees that.
            before = self._in_force(item)
            key = self._judged(client, item, DdeRights.REQUEST)
            act = partial(self._items.read, item, key)
            data: DdeData = self._attempt(client, "request", act)
            liveness.require_live(client.subject.token)
            if before is not None and _are_the_same(before, self._in_force(item)):
                return data
        raise AccessDeniedError(object_name=f"{self.securable.name}/{item[:80]}")

    def _in_force(self, item: str) -> _Guarding | None:
        """Return the object that guards an item, and its descriptor now."""
        key = key_or_none(item, require_item)
        if key is None:
            return None
        securable = self.guarding(key)
        return securable, securable.in_force()

    def poke(self, conversation: DdeConversation, item: str, data: DdeData) -> None:
        """Take a value from a client that may give it; see `dde_ports.Topic`."""
        client = conversation.client
        if self._pokes is not None:
            self._judged(client, item, DdeRights.POKE, may_be_new=True)
            self._run(client, "poke", self._pokes, conversation, item, data.value)
            return
        self._judged(client, item, DdeRights.POKE)
        if self._feed is not None or not self._items.is_writable:
            raise DdeNotProcessedError(f"topic `{self.name}` takes no values")
        self._attempt(client, "poke", partial(self.publish, item, data.value))

    def execute(self, conversation: DdeConversation, command: str) -> None:
        """Run a command for a client that may; see `dde_ports.Topic`."""
        client = conversation.client
        self._require_offered()
        self._server.require(client, self.securable, DdeRights.EXECUTE)
        if self._executes is None:
            raise DdeNotProcessedError(f"topic `{self.name}` executes nothing")
        self._run(client, "execute", self._executes, conversation, command)

    def advise(
        self,
        conversation: DdeConversation,
        item: str,
        ring: Callable[[], None],
        *,
        is_hot: bool,
    ) -> Advise:
        """Judge a wish to be told of an item; see `dde_ports.Topic`.

        A hot advise gives the values, so it needs the right to REQUEST them too.
        """
        client = conversation.client
        rights = DdeRights.ADVISE | (DdeRights.REQUEST if is_hot else DdeRights(0))
        key = self._judged(client, item, rights)
        return Advise(
            guard=self._dispatcher.guard,
            subject=client.subject,
            topic=self.securable,
            key=key,
            rights=int(rights),
            guarding=self.guarding,
            latest=self._latest,
            told=self._advises,
            ring=ring,
        )

    def guarding(self, key: str) -> SecurableObject:
        """Return the object that guards an item."""
        return self._own.of(self._name_of(key)) or self.securable

    # --- inside -----------------------------------------------------------------------

    @property
    def _dispatcher(self) -> Dispatcher:
        return self._server.reception.dispatcher

    def _name_of(self, key: str) -> str:
        return f"{self.securable.name}/{key}"

    def _judged(
        self, client: ClientContext, item: str, rights: int, *, may_be_new: bool = False
    ) -> str:
        """Return the key of an item of which the client may ask that.

        One refusal and one record, whether there is no such item or it is closed.
        """
        self._require_offered()
        key = key_or_none(item, require_item)
        find = partial(self._items.find, item)
        is_there = self._attempt(client, "find", find) is not None
        is_waiting = self._feed is not None and not self._feed.has_yielded
        may_be = is_there or is_waiting or may_be_new
        if key is None or key == ITEM_LIST_KEY or not may_be:
            self._server.refuse_unknown(client, f"{self.securable.name}/{item[:80]}")
        self._server.require(client, self.guarding(key), rights)
        self._require_ready()
        if is_waiting:
            raise DdeBusyError(f"topic `{self.name}` has no values yet")
        return key

    def _require_ready(self) -> None:
        if self._has_failed:
            raise DdeNotProcessedError(
                f"topic `{self.name}` is not available: its source failed",
                advice="the server's log has the traceback",
            )

    def _fail(self) -> None:
        """End every advise: the source has failed."""
        self._has_failed = True
        for advise in self._advises.all():
            advise.ring()

    def _latest(self, key: str) -> DdeData:
        self._require_offered()
        self._require_ready()
        data = self._items.latest(key)
        if data is None:
            raise DdeNotProcessedError(f"topic `{self.name}` has published nothing")
        return data

    def _list(self, subject: Subject) -> DdeData:
        """Return the items whose values a client may request."""
        may: dict[str, bool] = {}  # most items share their topic's answer
        shown = []
        for key, spelled in self._items.spellings().items():
            securable = self.guarding(key)
            if securable.name not in may:
                may[securable.name] = may_do(subject, securable, DdeRights.REQUEST)
            if may[securable.name]:
                shown.append(spelled)
        return listed(sorted(shown))

    def _attempt(self, client: ClientContext, verb: str, act: Callable[[], Any]) -> Any:
        return self._dispatcher.attempt(client, self._called(verb), act)

    def _run(
        self, client: ClientContext, verb: str, handler: Callable[..., Any], *told: Any
    ) -> None:
        act = partial(handler, *told)
        self._dispatcher.run_code(client, self._called(verb), act)

    def _called(self, verb: str) -> str:
        return f"{verb} {self.securable.name}"


def _are_the_same(before: _Guarding, after: _Guarding | None) -> bool:
    """Tell whether it is one object with one descriptor: a restored one is another."""
    return after is not None and before[0] is after[0] and before[1] is after[1]


def may_do(subject: Subject, securable: SecurableObject, rights: int) -> bool:
    """Tell whether a client may; not recorded, for lists of what it may see."""
    mapping = securable.kind.mapping
    return is_granted(subject.token, securable.in_force(), int(rights), mapping)
