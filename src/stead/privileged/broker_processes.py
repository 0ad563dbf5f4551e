"""The processes of one server's clients: its launchers, and the broker's holds.

A launcher starts what is ordered and a keeper holds it, as for a server that is root
(see ``launcher`` and ``keeper``). The broker adds whom the process becomes, and a hold
on the keeper, by which it ends the tree whatever the server wants.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from stead.errors import QuotaExceededError
from stead.privileged import parcels, sealing
from stead.privileged.broker_clients import Client, ClientTable, Hold
from stead.privileged.broker_poll import Poll, Turn
from stead.privileged.broker_wire import LONGEST_DOCUMENT, say
from stead.privileged.keeper import KEEPER
from stead.privileged.launcher_process import control_pair, execute
from stead.privileged.orders import Terms, Warrant
from stead.privileged.trees import kill_descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stead.privileged.broker_inheritance import Inheritance
    from stead.privileged.parcels import Parcel

_log: Final = logging.getLogger("stead.broker")

_SECONDS_TO_END: Final = 20.0


class Processes:
    """The processes of one server's clients."""

    def __init__(
        self,
        given: Inheritance,
        poll: Poll,
        clients: ClientTable,
        end: Callable[[], None],
    ) -> None:
        """Begin with none.

        Args:
            given: the monitor's.
            poll: likewise.
            clients: likewise.
            end: ends the monitor.
        """
        self._given = given
        self._limits = given.config.limits
        self._poll = poll
        self._clients = clients
        self._end = end
        self._launchers: dict[str, _Launcher] = {}
        self._holds: set[Hold] = set()

    def launch(self, name: str, preload: tuple[str, ...]) -> None:
        """Execute a launcher; orders may be sent at once.

        Args:
            name: what orders call it.
            preload: modules that it loads, as root: never one that a server names.

        Raises:
            OSError: it cannot be executed.
        """
        config = self._given.config
        terms = Terms(
            os.getpid(), config.guard_uid, config.allowed_system_uids, preload
        )
        launcher = _Launcher.execute(terms)
        self._launchers[name] = launcher

        def hear() -> None:
            why = launcher.why_not()
            if why:
                _log.error("the launcher of %s cannot serve: %s", name, why)
                self._end()

        self._poll.on(launcher.control.fileno(), select.POLLIN, Turn.ENDINGS, hear)

    def order(
        self,
        launcher: str,
        client: Client | None,
        parcel: Parcel,
        body: str = "",
        *,
        groups: tuple[int, ...] = (),
        seconds: float | None = None,
    ) -> None:
        """Send an order on, for the client that the table knows; or refuse it.

        Args:
            launcher: which one starts it.
            client: as whom; None for one that is gone.
            parcel: what came of the server; its descriptors stay the caller's.
            body: the function to be called; empty where the server names a program.
            groups: gids that it has beside the client's own.
            seconds: when the broker ends it at the latest; None for never.
        """
        if client is None:
            _refuse(parcel.channel, "client", "the client is gone")
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ends = None if seconds is None else time.monotonic() + seconds
        ours.setblocking(False)  # noqa: FBT003  # the library's signature
        held = Hold(ours, client, ends)
        own = client.identity
        identity = replace(own, groups=(*own.groups, *groups))
        warrant = Warrant(identity, body).to_bytes()
        with theirs, sealing.sealed(warrant) as document:
            whole = replace(parcel, warrant=document.fileno(), hold=theirs.fileno())
            try:
                self._clients.hold(client, held)
                parcels.send(self._launchers[launcher].control, whole)
            except QuotaExceededError as error:
                ours.close()
                _refuse(parcel.channel, "quota", str(error))
                return
            except OSError as error:
                ours.close()
                self._clients.release(held)
                _refuse(parcel.channel, "broker", str(error.strerror))
                return
        _log.info(
            "service `%s` starts %s as uid %s, its client %s",
            self._given.service.name, body or "a program", client.identity.uid,
            client.index,
        )  # fmt: skip
        self._holds.add(held)
        self._poll.on(
            ours.fileno(), select.POLLIN, Turn.ENDINGS, lambda: self._hear_keeper(held)
        )

    def _hear_keeper(self, held: Hold) -> None:
        """Hear who keeps a process, or that he is done: its place is free again."""
        try:
            said = held.socket.recv(KEEPER.size)
        except BlockingIOError:
            return
        except ConnectionResetError:
            said = b""
        if said:
            (pid,) = KEEPER.unpack(said)
            with suppress(ProcessLookupError):
                held.keeper = os.pidfd_open(pid), pid
            return
        self._poll.off(held.socket.fileno())
        held.socket.close()
        if held.keeper is not None:
            os.close(held.keeper[0])
        self._holds.discard(held)
        self._clients.release(held)

    def let_go(self, held: Hold) -> None:
        """Have a keeper end its tree, in its time; its own end comes when it has."""
        held.is_ending = True
        held.ends = time.monotonic() + self._limits.ending_seconds
        with suppress(OSError):  # it is done already
            held.socket.shutdown(socket.SHUT_WR)

    def moments(self) -> Iterator[float]:
        """Yield when something is to be ended, in monotonic seconds."""
        yield from (held.ends for held in self._holds if held.ends is not None)

    def end_what_is_due(self, now: float) -> None:
        """End what has had its time; by force what was told to end, and has not."""
        for held in tuple(self._holds):
            if held.ends is not None and held.ends <= now:
                if held.is_ending:
                    _end_by_force(held)
                self.let_go(held)

    def close(self) -> None:
        """Tell the launchers to end, which end every tree before; wait for that."""
        for launcher in self._launchers.values():
            launcher.control.close()
        deadline = time.monotonic() + _SECONDS_TO_END
        for launcher in self._launchers.values():
            launcher.wait(deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class _Launcher:
    """A launcher, whose server is this monitor."""

    control: socket.socket
    process: subprocess.Popen[bytes]

    @classmethod
    def execute(cls, terms: Terms) -> _Launcher:
        """Start it; orders may be sent at once."""
        ours, theirs = control_pair(terms)
        with theirs:
            return cls(ours, execute(theirs.fileno()))

    def why_not(self) -> str:
        """Hear what it says; say why it takes no orders, if it does not."""
        try:
            said = self.control.recv(LONGEST_DOCUMENT)
        except BlockingIOError:
            return ""
        except OSError as error:
            return str(error.strerror)
        if b'"ready"' in said:
            return ""
        return said.decode(errors="replace") or "it has ended"

    def wait(self, seconds: float) -> None:
        """Wait for its end; then kill it."""
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.process.kill()


def _end_by_force(held: Hold) -> None:
    """End a tree whose keeper does not: something that it was handed holds it."""
    if held.keeper is None:
        return  # nobody has taken the order, and who does will not begin
    descriptor, pid = held.keeper
    with suppress(ProcessLookupError):
        # While it is there its number is its own.
        signal.pidfd_send_signal(descriptor, 0)
        _log.error("the keeper %s does not end a tree, so it is ended with it", pid)
        kill_descendants(above=pid)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _refuse(channel: int, stage: str, why: str) -> None:
    """Say on a process's channel that there will be none."""
    refusal = {"refused": stage, "errno": 0, "text": why}
    with socket.socket(fileno=os.dup(channel)) as answer, suppress(OSError):
        say(answer, refusal)
