"""The broker: one small root process of a machine, so that no server needs to be root.

    python -I -m stead.privileged.broker --config /etc/stead/broker.toml

It listens where servers connect, and where their clients do. Whoever connects as a
server is known by the uid that the kernel names, and gets a monitor of its own, forked
here: see ``broker_monitor``, where all that matters happens. This process reads nothing
that a server or a client says.

It ends on SIGTERM and SIGINT. However it ends, every monitor ends, and with it every
process that was started for anybody.
"""

from __future__ import annotations

import argparse
import errno
import logging
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead.errors import SteadError, UnsafeConfigurationError
from stead.privileged.broker_config import DEFAULT_PATH, BrokerConfig
from stead.privileged.broker_desks import (
    Desk,
    inherited_sockets,
    listener,
    open_desks,
)
from stead.privileged.broker_file import load
from stead.privileged.broker_inheritance import PULSE, Inheritance
from stead.privileged.broker_monitor import serve
from stead.privileged.namespaces import own_namespace
from stead.privileged.peers import peer_credentials
from stead.privileged.syscalls import call
from stead.privileged.trees import ChildSignal, kill_descendants, reap

if TYPE_CHECKING:
    from collections.abc import Sequence

_log: Final = logging.getLogger("stead.broker")

_PR_SET_PDEATHSIG: Final = 1
_PRIVATE_UMASK: Final = 0o077
_MINUTE: Final = 60.0
_SECONDS_TO_END: Final = 30.0
_LOOK: Final = 1000  # milliseconds at most between two looks at everything
_PAUSE: Final = 100  # milliseconds between two looks at monitors that end
_PASSING: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED}
)


@dataclass(frozen=True, slots=True)
class _Monitor:
    """One monitor, as the broker sees it.

    Attributes:
        uid: whose it is.
        pulse: where it says that it is alive.
    """

    uid: int
    pulse: mmap.mmap

    def silence(self) -> float:
        """Return for how many seconds it has said nothing."""
        (last,) = PULSE.unpack(self.pulse[:])
        return time.monotonic() - float(last)


class Broker:
    """The process that listens."""

    def __init__(
        self, config: BrokerConfig, control: socket.socket, desks: dict[int, Desk]
    ) -> None:
        """Begin with no server."""
        self._config = config
        self._limits = config.limits
        self._control = control
        self._desks = desks
        self._child_signal = ChildSignal()
        self._monitors: dict[int, _Monitor] = {}
        self._strangers = 0
        self._alive, self._dead = os.pipe()
        self._is_over = False
        self._refilled = 0.0

    def run(self) -> None:
        """Take servers in until a signal asks to stop; then end every monitor."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # The wake-up descriptor is written to as well.
            signal.signal(number, self._stop)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._child_signal, select.POLLIN)
        while not self._is_over:
            self._refill()
            ready = {found for found, _ in poll.poll(_LOOK)}
            self._bury()
            self._end_the_silent()
            if self._control.fileno() in ready:
                self._accept()
        self._end()

    def _stop(self, *_signal: object) -> None:
        self._is_over = True

    def _refill(self) -> None:
        now = time.monotonic()
        if not self._refilled or now - self._refilled >= _MINUTE:
            self._refilled = now
            if self._strangers:
                _log.warning(
                    "%s connections of uids that are no service", self._strangers
                )
            self._strangers = 0
            for desk in self._desks.values():
                desk.refill(self._limits.passwords_per_minute)

    def _accept(self) -> None:
        """Accept one server, if it is one and there is room for it."""
        try:
            server, _ = self._control.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            _log.warning("no server can be accepted: %s", error.strerror)
            time.sleep(_PAUSE / 1000)
            return
        with server, suppress(SteadError):
            uid = peer_credentials(server)[1]
            desk = self._desks.get(uid)
            if desk is None:
                self._strangers += 1  # anybody may knock, and not fill the log
            elif why := self._why_not(desk):
                _log.warning("service `%s` is not heard: %s", desk.service.name, why)
            else:
                self._fork(server, desk)

    def _why_not(self, desk: Desk) -> str:
        """Say why a service's server is not taken in; nothing if it is."""
        there = Counter(each.uid for each in self._monitors.values())
        if len(self._monitors) >= self._limits.servers:
            return "there are as many servers as may be"
        if there[desk.service.uid] >= self._limits.servers_per_service:
            return "it has as many servers as it may have"
        if not desk.may_come(self._limits.connections_per_minute):
            return "it connects too often"
        return ""

    def _fork(self, server: socket.socket, desk: Desk) -> None:
        pulse = mmap.mmap(-1, PULSE.size)
        pulse[:] = PULSE.pack(time.monotonic())
        try:
            pid = os.fork()
        except OSError as error:
            _log.warning("no monitor can be forked: %s", error.strerror)
            return
        if pid:
            self._monitors[pid] = _Monitor(desk.service.uid, pulse)
            return
        code = 1
        try:
            self._become_monitor(server, desk, pulse)
            code = 0
        except BaseException:  # noqa: BLE001  # the process ends with it
            _log.exception("the monitor of `%s` failed", desk.service.name)
        finally:
            os._exit(code)

    def _become_monitor(
        self, server: socket.socket, desk: Desk, pulse: mmap.mmap
    ) -> None:
        """Keep what is this service's alone, and serve."""
        parent = os.getppid()
        self._child_signal.close()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(self._dead)
        self._control.close()
        for other in self._desks.values():
            os.close(other.tokens[1])
            if other is not desk:
                os.close(other.tokens[0])
                for gate in other.gates:
                    gate.close()
        if os.getppid() != parent:
            return
        serve(
            Inheritance(
                control=server,
                service=desk.service,
                config=self._config,
                gates=desk.gates,
                passwords=desk.tokens[0],
                broker=self._alive,
                pulse=pulse,
            )
        )

    def _end_the_silent(self) -> None:
        """End a monitor that does nothing, and everything below it.

        A server can hand over a descriptor whose closing never returns, and so hold
        its monitor. Then nobody notices that its clients leave; so all of it ends. Its
        launchers are its own, and whatever holds it does not hold them.
        """
        for pid, monitor in self._monitors.items():
            if monitor.silence() > self._limits.silence_seconds:
                _log.error("the monitor %s is silent, so all below it is ended", pid)
                kill_descendants(above=pid)
                os.kill(pid, signal.SIGKILL)

    def _bury(self) -> bool:
        """Reap monitors that have ended; say whether one is left."""
        self._child_signal.clear()
        ended, _ = reap()
        for pid in ended:
            self._monitors.pop(pid, None)
        return bool(self._monitors)

    def _end(self) -> None:
        """Tell every monitor to end, by the pipe's end, and wait for them."""
        os.close(self._dead)
        deadline = time.monotonic() + _SECONDS_TO_END
        poll = select.poll()
        poll.register(self._child_signal, select.POLLIN)
        while self._bury() and time.monotonic() < deadline:
            poll.poll(_PAUSE)


def run(path: str) -> None:
    """Be the broker that a configuration describes.

    1. It is root, what it is told by is root's, and it imports nothing from wherever it
       happens to be started.
    2. Whom its file names there are here: a container may have few ids.
    3. Nothing that it makes is anybody else's.
    4. It has every gate, and then its own socket: who can connect is served.
    5. It serves.

    Raises:
        UnsafeConfigurationError: step 1 or 2 fails.
        SteadError: a path cannot be taken.
    """
    if os.geteuid() != 0:
        raise UnsafeConfigurationError(
            "the broker is root, and nothing else is", advice="start it as root"
        )
    if not sys.flags.safe_path:
        raise UnsafeConfigurationError(
            "the broker would import from its working directory",
            advice="start it with `python -I -m stead.privileged.broker`",
        )
    config = load(path)
    _require_ids(config)
    os.umask(_PRIVATE_UMASK)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    inherited = inherited_sockets(os.environ)
    with ExitStack() as undo:
        desks = open_desks(config, inherited, undo)
        # Anybody may knock; who is heard is decided by what the kernel says of them.
        control = listener(config.socket, 0o666, socket.SOCK_SEQPACKET, inherited, undo)
        _log.info("the broker serves %s services", len(desks))
        Broker(config, control, desks).run()


def _require_ids(config: BrokerConfig) -> None:
    """Refuse to serve whom this user namespace cannot have; warn of who is left out.

    Raises:
        UnsafeConfigurationError: it has not all that the configuration names.
    """
    peers = [(f"service `{one.name}`", uid) for uid, one in config.services.items()]
    needed = [("the guard", config.guard_uid)]
    if config.kerberos is not None:
        needed.append(("the verifiers' uid", config.kerberos.uid))
    namespace = own_namespace()
    for reason in namespace.reasons(needed, peers):
        raise UnsafeConfigurationError(reason)
    for warning in namespace.warnings():
        _log.warning("%s", warning)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="stead broker", description="Serve servers that are not root."
    )
    parser.add_argument("--config", default=DEFAULT_PATH, help="its configuration")
    parser.add_argument(
        "--check", action="store_true", help="read the configuration, and do no more"
    )
    told = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s"
    )
    try:
        if told.check:
            config = load(told.config)
            names = ", ".join(each.name for each in config.services.values())
            sys.stdout.write(f"the broker would serve {names}\n")
        else:
            run(told.config)
    except (SteadError, OSError) as error:
        advice = getattr(error, "advice", "")
        sys.stderr.write(f"stead broker: {error}{f': {advice}' if advice else ''}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
