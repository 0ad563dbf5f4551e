"""Start clients' processes by way of the broker: a `Launcher` without root.

It is called as `stead.privileged.launching.Launcher` is. Whom a process becomes is not
said here: the broker knows, by the client that comes with the order's identity.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Final

from stead.errors import (
    ImpersonationRefusedError,
    InvalidRequestError,
    LauncherUnavailableError,
    ServerClosedError,
    SteadError,
)
from stead.privileged import sealing
from stead.privileged.broker_wire import LARGEST_ORDER, WORKERS
from stead.privileged.brokered_client import BrokeredIdentity
from stead.privileged.child import Child, begin
from stead.privileged.parcels import MAXIMUM_EXTRA
from stead.privileged.syscalls import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stead.privileged.broker_link import BrokerLink
    from stead.privileged.brokered_client import BrokeredClient
    from stead.privileged.orders import Order
    from stead.privileged.watch import Watch

_log: Final = logging.getLogger(__name__)

_SECONDS_TO_CLOSE: Final = 20.0


class BrokeredLauncher:
    """Starts processes as clients whom the broker knows. Leave it by `close`."""

    def __init__(self, name: str, watch: Watch, link: BrokerLink) -> None:
        """Prepare; nothing is started.

        Args:
            name: for messages.
            watch: notices what keepers say.
            link: the way to the broker.
        """
        self._name = name
        self._watch = watch
        self._link = link
        self._server = os.getpid()
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._is_closed = False

    def open(self) -> None:
        """See that the broker answers; raises as `BrokerLink.open`."""
        self._link.open()

    def start(
        self,
        order: Order,
        stdio: tuple[int, int, int],
        *,
        extra: Sequence[int] = (),
        on_end: Callable[[int | None], None],
    ) -> Child:
        """Send the order, without waiting for the process.

        Args:
            order: what to start; its identity is a `BrokeredIdentity`.
            stdio: what becomes descriptors 0, 1 and 2; still the caller's to close.
            extra: what becomes 3 and so on; likewise. A function is called with 3.
            on_end: as of `Launcher.start`.

        Returns:
            The process that will be.

        Raises:
            ImpersonationRefusedError: the broker knows no such client.
            InvalidRequestError: a function needs a descriptor; or there are too many.
            LauncherUnavailableError: the broker is gone, or has too much to do; nothing
                was started, and `on_end` is not called.
            ServerClosedError: it is closed, or is another process's; likewise.
        """
        self._require_own()
        if len(extra) > MAXIMUM_EXTRA or (order.body and not extra):
            raise InvalidRequestError(
                "a process inherits too many descriptors, or none"
            )
        client, mapped = _client_of(order)
        request, fields = _request_of(order)
        if mapped:
            fields["groups"] = list(mapped)
        name = order.body or os.fsdecode(order.argv[0])
        part = order.to_server_part()
        if len(part) > LARGEST_ORDER:
            raise InvalidRequestError(
                f"`{name}` has more arguments and variables than a broker takes",
                advice="hand over what is long by a pipe or a file",
            )
        try:
            with sealing.sealed(part) as document:
                child, theirs = begin(self._watch, name, on_end)
                with theirs:
                    self._send(
                        child,
                        client,
                        (request, fields),
                        (theirs.fileno(), document.fileno(), *stdio, *extra),
                    )
        except SteadError:
            raise  # some are OSErrors, too
        except OSError as error:
            raise LauncherUnavailableError(
                f"`{name}` cannot be ordered: {words_of(error)}"
            ) from error
        child.ended.add_done_callback(lambda _: self._forget(child))
        return child

    def close(self) -> None:
        """End every tree; wait for that, but not for ever.

        Not on the watch's own thread, which hears of those ends. A forked process ends
        nothing and waits for nothing.
        """
        if os.getpid() != self._server:
            for child in tuple(self._children):
                child.let_go()
            return
        with self._lock:
            self._is_closed = True
            children = tuple(self._children)
        for child in children:
            child.end()
        late = wait([each.ended for each in children], _SECONDS_TO_CLOSE).not_done
        if late:
            _log.error("%s processes of clients did not end in time", len(late))

    def _send(
        self,
        child: Child,
        client: BrokeredClient,
        request: tuple[str, dict[str, object]],
        descriptors: Sequence[int],
    ) -> None:
        try:
            self._remember(child)
            client.ask(*request, descriptors)
        except BaseException:
            child.let_go()
            self._forget(child)
            raise

    def _remember(self, child: Child) -> None:
        with self._lock:
            if self._is_closed:
                raise ServerClosedError(f"the launcher `{self._name}` is closed")
            self._children.add(child)

    def _forget(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)

    def _require_own(self) -> None:
        # Before any lock: a fork may have copied one that a thread held.
        if os.getpid() != self._server:
            raise ServerClosedError(
                f"the launcher `{self._name}` is another process's",
                advice="let the parent start it, or open a server in the child",
            )


def _client_of(order: Order) -> tuple[BrokeredClient, tuple[int, ...]]:
    """Return by what the broker knows a client, and the groups that are added."""
    identity = order.identity
    if not isinstance(identity, BrokeredIdentity) or identity.client is None:
        raise ImpersonationRefusedError(
            f"the broker knows nothing of uid {identity.uid} as a client of this server"
        )
    return identity.client, identity.mapped


def _request_of(order: Order) -> tuple[str, dict[str, object]]:
    if not order.body:
        return "start", {"session": bool(order.pam_user)}
    for kind, body in WORKERS.items():
        if body == order.body:
            return "worker", {"kind": kind}
    raise InvalidRequestError(f"the broker calls no function `{order.body}`")
