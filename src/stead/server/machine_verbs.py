"""The verbs that act on this machine, as whoever has them hands them out."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, ParamSpec, TypeVar, Unpack

from stead.errors import LoopThreadError
from stead.monitor import loops
from stead.monitor.carrying import carried, carried_by
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject
from stead.server.acting.acting import Acting
from stead.server.acting.aio import ClientAio
from stead.server.acting.file_request import FileRequest
from stead.server.acting.process_plan import Argument, Options, Plan
from stead.server.acting.processes import ClientProcess

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Hand:
    """What acts for one client.

    Attributes:
        subject: whom checks and records are about.
        guard: checks and records.
        acting: opens, runs and starts.
        keep: the client; its session lives as long as what acts in it.
    """

    subject: Subject
    guard: Guard
    acting: Acting
    keep: object


class MachineVerbs:
    """Acts on this machine as one client."""

    __slots__ = ()

    @property
    @abstractmethod
    def _hand(self) -> Hand:
        """What acts for the client; raises if it may no longer."""

    def open(
        self,
        path: str | os.PathLike[str],
        mode: str = "r",
        *,
        encoding: str = "utf-8",
        timeout: float | None = None,
    ) -> IO[Any]:
        """Open a file as the client, judged by the kernel.

        A worker of the client's opens it and hands the descriptor back. Only regular
        files are opened; a FIFO or device is refused, and nothing waits for one. What
        is asked and what comes of it are recorded before this returns.

        Args:
            path: absolute.
            mode: as of `open`: `r`, `w`, `a` or `x`, with `b` and `+`.
            encoding: of text.
            timeout: seconds until the client's worker is ended; the server's own
                limit if not given.

        Raises:
            KernelRefusedError: the kernel, judging as the client, refused.
            NotARegularFileError: the path names a directory, FIFO, socket or device.
            ProcessTimeoutError: the client's file system did not answer in time.
            QuotaExceededError: too much of this client's is waiting already.
            EnforcementUnavailableError: this server does not have the kernel's help.
            BadImpersonationLevelError: the level is below Impersonation.
            LoopThreadError: an event loop runs on this thread, and this waits.
            InvalidRequestError: the mode or the encoding is none.
        """
        request = FileRequest.of(path, mode, encoding)
        _require_may_wait("open", "path")
        hand = self._hand
        opened = hand.acting.open_file(
            hand.subject, request.path, request.flags, timeout
        )
        return request.file_of(opened.take())

    def run(
        self,
        function: Callable[..., _T],
        /,
        *arguments: object,
        timeout: float | None = None,
    ) -> _T:
        """Run a function in a process that is the client, and return its value.

        That it runs is recorded durably before; what it is called with and what it
        returns is not recorded.

        Args:
            function: any that can be imported by module and name, there as the client.
            arguments: what it is called with.
            timeout: seconds until its process is killed; the server's own limit if not
                given.

        Returns:
            what it returns, which must be plain data.

        Raises:
            Exception: what the function raises, if it is one of Python's own errors;
                its cause shows the traceback there.
            WorkerFailedError: it raised anything else.
            WorkerLostError: its process ended before it answered.
            ProcessTimeoutError: it did not end in time; its process is killed.
            NotPlainDataError: an argument or the value cannot be sent.
            InvalidRequestError: the function cannot be imported.
            QuotaExceededError, EnforcementUnavailableError, LoopThreadError,
            BadImpersonationLevelError: as in `open`.
        """
        _require_may_wait("run", "function, *arguments")
        hand = self._hand
        return hand.acting.call(hand.subject, function, arguments, timeout).take()

    def start(
        self, argv: Sequence[Argument], **options: Unpack[Options]
    ) -> ClientProcess:
        """Start a program that is the client for good (Win32: CreateProcessAsUser).

        It gets the client's ids, groups and home, and nothing of the server's: no
        descriptor, no variable, no terminal. The client's session lives as long as it
        does, and when the session is ended, so is it, with all that it started.

        That it starts is recorded durably before; the program's name and the number of
        its arguments are, their text and the environment are not.

        Args:
            argv: the program and its arguments, which no shell reads. A name without
                a slash is looked for in the PATH that the process gets.
            options: see `stead.server.acting.process_plan.Options`.

        Raises:
            KernelRefusedError: the kernel, judging as the client, refused the program
                or the directory.
            PrivilegeNotHeldError: the server's token lacks SeAssignPrimaryToken or
                SeIncreaseQuota.
            ImpersonationRefusedError: the account has no uid, or the kernel cannot
                become this client.
            LauncherUnavailableError: what starts processes is gone or did not answer.
            InvalidRequestError: it is no list of words, or the options are wrong.
            QuotaExceededError, EnforcementUnavailableError, LoopThreadError,
            BadImpersonationLevelError: as in `open`.
        """
        plan = Plan.of(argv, options)
        _require_may_wait("start", "argv")
        hand = self._hand
        return ClientProcess(hand.acting.start(hand.subject, plan))

    def carry(
        self, function: Callable[_P, _T], *, many: bool = False
    ) -> Callable[_P, _T]:
        """Return `function` as one that runs as the client wherever it is called.

        A plain function runs in a block of the client's on the thread that calls it; a
        coroutine function runs as the client, token only, in the steps of its task.
        It runs once, or as often as is asked with `many`. It holds the client's session
        until it has run or is dropped; each run is recorded as a block is.

        What it raises when called: `LoopThreadError` if a plain function is called on
        an event loop's thread, `RevertOrderError` if it has run, and what entering a
        block raises, which counts as a run.

        Raises:
            LogonSessionEndedError: the client's session has ended.
            InvalidRequestError: it is a generator function, which runs later by itself.
        """
        hand = self._hand
        lease = carried_by(hand.subject, hand.guard, many=many, keep=hand.keep)
        return carried(function, lease, self.aio.aside)

    @property
    def aio(self) -> ClientAio:
        """`open`, `run` and `start` for asyncio; none of them blocks the loop."""
        hand = self._hand
        return ClientAio(hand.subject, hand.acting, keep=hand.keep)


def _require_may_wait(verb: str, arguments: str) -> None:
    if loops.is_loop_thread():
        raise LoopThreadError(
            f"`client.{verb}` waits, and an event loop runs on this thread",
            advice=f"use `await client.aio.{verb}({arguments})`",
        )
