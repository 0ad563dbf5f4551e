"""A client whom the broker knows, as its server holds it: an index, and who it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stead.errors import ImpersonationRefusedError, LauncherUnavailableError
from stead.model.posix_identity import PosixIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stead.privileged.broker_connection import Connection


def _at_once(act: Callable[[], object]) -> None:
    act()


class BrokeredClient:
    """By what the broker knows one client of this server.

    Attributes:
        identity: who it is to the kernel.
        why: why the broker does nothing as it; empty if it does.
        lease: seconds after which it is gone unless renewed; None if it is connected.
        principal: whose Kerberos ticket it showed; empty if the kernel vouches for it.
        through: the services that its ticket came through, the nearest first.
        expires: nanoseconds since the epoch, UTC, of that ticket's end; None without.
    """

    def __init__(  # noqa: PLR0913 - what the broker says of it, each by name
        self,
        connection: Connection,
        index: int | None,
        identity: PosixIdentity,
        *,
        why: str = "",
        lease: float | None = None,
        principal: str = "",
        through: tuple[str, ...] = (),
        expires: int | None = None,
        defer: Callable[[Callable[[], object]], object] = _at_once,
    ) -> None:
        self.identity: Final = identity
        self.why: Final = why
        self.lease: Final = lease
        self.principal: Final = principal
        self.through: Final = through
        self.expires: Final = expires
        self._connection = connection
        self._index = index
        self._is_closed = False
        self._defer = defer

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be done as it any more, as far as is known here."""
        return self._is_closed or self._connection.is_gone

    def ask(
        self, name: str, fields: Mapping[str, Any], descriptors: Sequence[int] = ()
    ) -> None:
        """Ask for something to be done as the client.

        Raises:
            ImpersonationRefusedError: the broker does nothing as it, or nothing of this
                kind for this service.
            LauncherUnavailableError: the broker is gone, or too busy.
        """
        if self._index is None or self._is_closed:
            raise ImpersonationRefusedError(
                f"the broker does nothing as this client: {self.why or 'it is gone'}"
            )
        self._connection.require_may(name)
        self._connection.ask(name, {"client": self._index, **fields}, descriptors)

    @property
    def mappable(self) -> frozenset[int]:
        """Gids that this server may add to its clients, by the broker's file."""
        return self._connection.welcome.mapped_groups

    def renew(self) -> None:
        """Ask for another lease; raises as `ask`."""
        self.ask("renew", {})

    def close(self) -> None:
        """Tell the broker that the client is gone; again does nothing.

        A client whose connection with this server has ended is gone there, too.
        """
        if not self._is_closed and self._index is not None:
            self._is_closed = True
            self._defer(self._log_off)

    def _log_off(self) -> None:
        try:
            self._connection.ask("log_off", {"client": self._index})
        except LauncherUnavailableError:
            # It is gone, and with it the client; or it does not hear what it must.
            self._connection.close()


@dataclass(frozen=True, slots=True)
class BrokeredIdentity(PosixIdentity):
    """Who a client is to the kernel, and by what the broker knows it.

    Attributes:
        client: that.
        mapped: those of its groups that this server adds, and the broker lets it.
    """

    client: BrokeredClient | None = field(default=None, repr=False)
    mapped: tuple[int, ...] = ()
