"""The launcher: a small root process that starts clients' processes for one server.

It is a program of its own and not a fork of the server: it has none of the server's
memory, descriptors, environment or threads, so nothing of these can reach a client, and
a start costs the same however large the server is.

It does little itself. Orders are taken by *keepers* (see ``keeper``), of which one
always waits; the launcher forks another one when none does, buries those that have
ended, and ends what a killed keeper leaves behind. It ends when the server closes the
control socket or ends, and all trees end with it.

A second one has an application's modules loaded for its workers, which are forked and
not executed. Modules that leave a thread behind when they are imported are refused: a
process that is forked while one runs may wait for ever for what that thread held.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from stead.errors import LauncherUnavailableError
from stead.privileged.becoming import drop_bounding_set, reset_signals
from stead.privileged.keeper import wait_and_keep
from stead.privileged.orders import Terms
from stead.privileged.post import Post, read_news
from stead.privileged.scheduling import give_up_priority
from stead.privileged.trees import (
    ChildSignal,
    become_subreaper,
    kill_descendants,
    reap,
)

if TYPE_CHECKING:
    import socket

_PRIVATE_UMASK: Final = 0o077
_PAUSE: Final = 50  # milliseconds until something that failed is tried again
_ROUNDS_OF_ENDING: Final = 300
_SEATS: Final = 4  # keepers that may wait beside the one that always does


def serve(control: socket.socket, document: dict[str, Any]) -> None:
    """Be the launcher until the server ends or closes the control socket.

    1. Take back every signal's handling, and the server's priority: its child would
       have them.
    2. Be a subreaper, and hold the server, so that its end is noticed even where
       somebody else keeps a copy of the control socket.
    3. Load the modules that were asked for, and refuse those that start threads.
    4. Drop capabilities from the bounding set, as far as this process may: so no
       program of a client ever gains any, and the launcher executes none.
    5. Keep what is loaded out of the garbage collector's sight: what it does not touch
       is shared with every process that is forked.
    6. Tell the server that it may count on it.
    7. Fork keepers, so that one always waits.

    Args:
        control: where orders come from.
        document: the terms, as the server sent them.
    """
    terms = Terms.from_document(document)
    reset_signals()
    os.umask(_PRIVATE_UMASK)
    become_subreaper()
    server = os.pidfd_open(terms.server)
    if os.getppid() != terms.server:
        return
    try:
        give_up_priority()
        _preload(terms.preload)
    except LauncherUnavailableError as refusal:
        control.send(json.dumps({"failed": str(refusal)}).encode())
        return
    reset_signals()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    drop_bounding_set()
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": os.getpid()}).encode())
    _Launcher(control, server, terms).run()


def _preload(names: tuple[str, ...]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # a module may raise anything
            raise LauncherUnavailableError(
                f"`{name}` cannot be preloaded: {type(error).__name__}: {error}"
            ) from error
        if len(tuple(Path("/proc/self/task").iterdir())) > 1:
            raise LauncherUnavailableError(
                f"`{name}` starts a thread when it is imported, so it is not preloaded"
            )


class _Launcher:
    """The keepers, and which of them wait."""

    def __init__(self, control: socket.socket, server: int, terms: Terms) -> None:
        self._server = server
        self._child_signal = ChildSignal()
        self._news, news = os.pipe()
        seats = os.pipe()
        os.set_blocking(seats[0], False)
        os.write(seats[1], b"s" * _SEATS)
        control.setblocking(False)  # noqa: FBT003  # the library's signature
        self._post = Post(control, news, seats, terms)
        self._keepers: set[int] = set()
        self._waiting: set[int] = set()
        self._has_orphans = False

    def run(self) -> None:
        """Serve until the server is gone; then wait for every tree's end."""
        control = self._post.control
        poll = select.poll()
        poll.register(self._news, select.POLLIN)
        poll.register(self._child_signal, select.POLLIN)
        poll.register(control, select.POLLRDHUP)
        poll.register(self._server, select.POLLIN)
        gone = {control.fileno(), self._server}
        ready: set[int] = set()
        while not ready & gone:
            is_busy = self._has_orphans or not self._prepare()
            ready = {found for found, _ in poll.poll(_PAUSE if is_busy else None)}
            if self._news in ready:
                self._note(read_news(self._news))
            self._bury()
        self._end()

    def _note(self, news: list[tuple[int, bool]]) -> None:
        for pid, is_waiting in news:
            # One that was buried meanwhile waits for nothing, whatever it said last.
            if is_waiting and pid in self._keepers:
                self._waiting.add(pid)
            else:
                self._waiting.discard(pid)

    def _prepare(self) -> bool:
        """Fork a keeper, unless one waits; say whether one does."""
        if self._waiting:
            return True
        try:
            pid = os.fork()
        except OSError:
            return False  # no memory or too many processes: orders wait meanwhile
        if not pid:
            self._become_keeper()
        self._waiting.add(pid)
        self._keepers.add(pid)
        return True

    def _become_keeper(self) -> NoReturn:
        code = 1
        try:
            self._child_signal.close()
            os.close(self._news)
            os.close(self._server)
            code = wait_and_keep(self._post)
        except BaseException:  # noqa: BLE001  # the process ends with it
            traceback.print_exc()
        finally:
            os._exit(code)

    def _bury(self) -> bool:
        """Reap keepers, and end what killed ones left; say whether a child is left."""
        self._child_signal.clear()
        ended, is_left = reap()
        self._has_orphans |= any(ended[pid] for pid in ended.keys() & self._keepers)
        self._keepers -= ended.keys()
        self._waiting -= ended.keys()
        if self._has_orphans:
            self._has_orphans = kill_descendants(spared=self._keepers) > 0
        return is_left

    def _end(self) -> None:
        """Let every keeper end its tree, and be the last.

        1. Break the pipe: that tells them.
        2. Wait for them, and end what those that failed have left behind.
        3. One that does not end holds something that does not let it go: its tree is
           ended without it.
        """
        os.close(self._news)
        self._post.control.close()
        poll = select.poll()
        poll.register(self._child_signal, select.POLLIN)
        for _ in range(_ROUNDS_OF_ENDING):
            if not self._bury():
                return
            self._has_orphans |= not self._keepers
            poll.poll(_PAUSE)
        kill_descendants()
