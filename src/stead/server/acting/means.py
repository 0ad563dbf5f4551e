"""What acts for a server's clients: launchers, workers, and what keeps them going.

Its threads are started when it is put together, before anybody can impersonate; its
processes at the first order, or by `Acting.open`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from stead.model.posix_identity import PosixIdentity
from stead.model.token import AccessToken
from stead.privileged.broker_link import BrokerLink
from stead.privileged.brokered_launching import BrokeredLauncher
from stead.privileged.launching import Launcher, Starter
from stead.privileged.watch import Watch
from stead.server.acting.brokered_opening import BrokeredOpener, Opener
from stead.server.acting.deadlines import Deadlines
from stead.server.acting.environments import environment_of
from stead.server.acting.errands import Errands
from stead.server.settings import Settings
from stead.server.workers.workers import WorkerLimits, Workers

_OPENINGS: Final = 16  # at once, by the broker itself

WORKER: Final = "stead.server.workers.start"
"""What every worker needs; it is loaded before a worker becomes a client."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Means:
    """What acts.

    Attributes:
        watch: notices what keepers and workers say.
        programs: starts programs.
        functions: starts workers.
        workers: run functions and open files.
        opener: opens files: those workers, or the broker by itself.
        worker_limits: how much that may cost.
        deadlines: ends what takes too long.
        errands: threads that are always the server.
        processes_per_client: how many processes one uid may have at once.
        process: the one whose threads these are.
    """

    watch: Watch
    programs: Starter
    functions: Starter
    workers: Workers
    opener: Opener
    worker_limits: WorkerLimits
    deadlines: Deadlines
    errands: Errands
    processes_per_client: int
    process: int = field(default_factory=os.getpid)

    def open(self) -> None:
        """Start the launchers now, and wait until they are ready.

        Raises:
            LauncherUnavailableError: one cannot be started, or a module that workers
                need cannot be loaded.
        """
        self.programs.open()
        self.functions.open()

    def close(self) -> None:
        """End every worker and process, and then what keeps them going.

        A process that was forked from this one closes its own descriptors: what acts
        is the parent's, and goes on.
        """
        if os.getpid() == self.process:
            self.workers.close()
            if isinstance(self.opener, BrokeredOpener):
                self.opener.close()
        self.programs.close()
        self.functions.close()
        self.errands.close()
        self.deadlines.close()
        self.watch.close()


def put_together(
    settings: Settings,
    identity: Callable[[AccessToken], PosixIdentity],
    link: BrokerLink | None = None,
) -> Means:
    """Start the threads; if one cannot be started, end the others.

    Args:
        settings: the server's.
        identity: says what the kernel calls a token's client, or why it is not asked as
            this client.
        link: the way to a broker, where processes are started by one.
    """
    name = settings.name
    with ExitStack() as undo:
        watch = Watch(f"{name}-watch")
        undo.callback(watch.close)
        deadlines = Deadlines(f"{name}-deadlines")
        undo.callback(deadlines.close)
        errands = Errands(f"{name}-errand")
        undo.callback(errands.close)
        preload = (WORKER, *settings.worker_modules)
        functions = _launcher("workers", watch, settings, preload, link)
        workers = Workers(
            functions,
            watch,
            identity=identity,
            environment=environment_of,
            limits=settings.worker_limits,
        )
        undo.callback(workers.close)
        opener = _opener(settings, workers, identity, link)
        undo.pop_all()
    return Means(
        watch=watch,
        programs=_launcher("programs", watch, settings, (), link),
        functions=functions,
        workers=workers,
        opener=opener,
        worker_limits=settings.worker_limits,
        deadlines=deadlines,
        errands=errands,
        processes_per_client=settings.processes_per_client,
    )


def _opener(
    settings: Settings,
    workers: Workers,
    identity: Callable[[AccessToken], PosixIdentity],
    link: BrokerLink | None,
) -> Opener:
    """Return what opens files: the broker, for a service that has no workers there."""
    if link is not None:
        may = link.open().may
        if "open" in may and "worker" not in may:
            return BrokeredOpener(settings.name, link, identity, _OPENINGS)
    return workers


def _launcher(
    name: str,
    watch: Watch,
    settings: Settings,
    preload: tuple[str, ...],
    link: BrokerLink | None,
) -> Starter:
    """Return a launcher that is not started."""
    if link is not None:
        return BrokeredLauncher(name, watch, link)
    return Launcher(
        name,
        watch,
        preload=preload,
        guard=settings.guard_uid,
        allowed=frozenset(settings.allowed_system_uids),
    )
