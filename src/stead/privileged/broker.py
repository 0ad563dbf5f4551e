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
import fcntl
import logging
import mmap
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
from collections import Counter, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stead.errors import SteadError, UnsafeConfigurationError
from stead.privileged.binding import bind
from stead.privileged.broker_config import DEFAULT_PATH, BrokerConfig, Service, load
from stead.privileged.broker_inheritance import PULSE, Inheritance
from stead.privileged.broker_monitor import serve
from stead.privileged.peers import peer_credentials
from stead.privileged.syscalls import call
from stead.privileged.trees import ChildSignal, kill_descendants, reap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_log: Final = logging.getLogger("stead.broker")

_PR_SET_PDEATHSIG: Final = 1
_PRIVATE_UMASK: Final = 0o077
_MINUTE: Final = 60.0
_SECONDS_TO_END: Final = 30.0
_LOOK: Final = 1000  # milliseconds at most between two looks at everything
_PAUSE: Final = 100  # milliseconds between two looks at monitors that end
_FIRST_INHERITED: Final = 3
_PASSING: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED}
)


@dataclass(slots=True, eq=False)
class _Desk:
    """What the broker keeps for one service.

    Attributes:
        service: which.
        gates: its listening sockets.
        tokens: a pipe: one byte for each password that its servers may try now.
        came: when its servers connected lately, in monotonic seconds.
    """

    service: Service
    gates: tuple[socket.socket, ...]
    tokens: tuple[int, int]
    came: deque[float] = field(default_factory=deque)

    def refill(self, most: int) -> None:
        """Let its servers try as many passwords again as in any minute."""
        number = struct.pack("i", 0)
        (there,) = struct.unpack(
            "i", fcntl.ioctl(self.tokens[0], termios.FIONREAD, number)
        )
        if there < most:
            os.write(self.tokens[1], b"p" * (most - there))

    def may_come(self, most: int) -> bool:
        """Say whether another server may connect in this minute; count it."""
        now = time.monotonic()
        while self.came and now - self.came[0] > _MINUTE:
            self.came.popleft()
        if len(self.came) >= most:
            return False
        self.came.append(now)
        return True


def open_desks(
    config: BrokerConfig, inherited: Mapping[str, socket.socket], undo: ExitStack
) -> dict[int, _Desk]:
    """Take every gate's path, or what a service manager listens on already.

    Raises:
        SteadError: a path cannot be trusted, or is taken.
    """
    desks = {}
    for uid, service in config.services.items():
        gates = tuple(
            _listener(path, service.mode, socket.SOCK_STREAM, inherited, undo)
            for path in service.all_gates
        )
        tokens = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        desks[uid] = _Desk(service, gates, tokens)
    return desks


def _listener(
    path: str,
    mode: int,
    kind: socket.SocketKind,
    inherited: Mapping[str, socket.socket],
    undo: ExitStack,
) -> socket.socket:
    given = inherited.get(path)
    if given is not None:
        is_fit = given.type == kind and given.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
        if not is_fit:
            raise UnsafeConfigurationError(f"what was handed over at `{path}` is unfit")
        given.setblocking(False)  # noqa: FBT003  # the library's signature
        return given
    binding = bind(Path(path), mode, kind)
    undo.callback(binding.release)
    return binding.listener


def inherited_sockets(environment: Mapping[str, str]) -> dict[str, socket.socket]:
    """Return what a service manager handed over, by path; see sd_listen_fds(3)."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    found = {}
    count = int(environment.get("LISTEN_FDS", "0"))
    for number in range(_FIRST_INHERITED, _FIRST_INHERITED + count):
        given = socket.socket(fileno=number)
        given.set_inheritable(False)
        name = given.getsockname()
        if given.family == socket.AF_UNIX and isinstance(name, str):
            found[name] = given
    return found


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
        self, config: BrokerConfig, control: socket.socket, desks: dict[int, _Desk]
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

    def _why_not(self, desk: _Desk) -> str:
        """Say why a service's server is not taken in; nothing if it is."""
        there = Counter(each.uid for each in self._monitors.values())
        if len(self._monitors) >= self._limits.servers:
            return "there are as many servers as may be"
        if there[desk.service.uid] >= self._limits.servers_per_service:
            return "it has as many servers as it may have"
        if not desk.may_come(self._limits.connections_per_minute):
            return "it connects too often"
        return ""

    def _fork(self, server: socket.socket, desk: _Desk) -> None:
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
        self, server: socket.socket, desk: _Desk, pulse: mmap.mmap
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
    2. Nothing that it makes is anybody else's.
    3. It has every gate, and then its own socket: who can connect is served.
    4. It serves.

    Raises:
        UnsafeConfigurationError: step 1 fails.
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
    os.umask(_PRIVATE_UMASK)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    inherited = inherited_sockets(os.environ)
    with ExitStack() as undo:
        desks = open_desks(config, inherited, undo)
        # Anybody may knock; who is heard is decided by what the kernel says of them.
        control = _listener(
            config.socket, 0o666, socket.SOCK_SEQPACKET, inherited, undo
        )
        _log.info("the broker serves %s services", len(desks))
        Broker(config, control, desks).run()


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
