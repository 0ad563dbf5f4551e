"""How a server ends: its work, its sessions, and the trail says so, in that order."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Executor
from typing import Final

from stead.authority.session import Session
from stead.authority.sessions import Sessions
from stead.model.audit_record import AuditEvent
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.privileged.executor import KernelExecutor
from stead.server.acting.acting import Acting

_log: Final = logging.getLogger("stead.server")
_GRACE_SECONDS: Final = 5.0


def end_sessions(sessions: Sessions, own: Session) -> None:
    """End whatever session is still open, as long as that can be recorded."""
    for record in sessions.records():
        if record.logon_id != own.record.logon_id:
            sessions.end(record.logon_id)


def end_work(handlers: Executor, executor: Executor, acting: Acting) -> None:
    """Let handlers and blocks end in time; then end what acts for clients.

    A handler may wait for ever for a process of a client's, or for a kernel thread that
    a client's file holds. Once these are ended, or given up, it hears so and ends.
    """
    ending = threading.Thread(target=handlers.shutdown, name="stead-ending")
    ending.daemon = True
    ending.start()
    ending.join(_GRACE_SECONDS)
    if isinstance(executor, KernelExecutor):
        executor.close(0.0 if ending.is_alive() else _GRACE_SECONDS)
    acting.close()
    ending.join(_GRACE_SECONDS)
    if ending.is_alive():
        _log.critical("handlers still run after the server was closed")


def record_stop(guard: Guard, subject: Subject) -> None:
    """Record that the server stops; nobody waits for it."""
    guard.recorder.queue(AuditEvent.TRAIL_STOPPED, subject, None)
