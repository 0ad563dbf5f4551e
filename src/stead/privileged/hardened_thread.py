"""A hardened thread, and the blocks in which it is a client.

Blocks nest: the inner client takes over from the outer one by way of the server, and
leaving the inner block brings the outer client back, proved at every step. A block is
entered and left once, on one thread.

INVARIANT: code inside a block runs as that block's client, or as nobody. Blocks that
are left out of order (a generator closed late, exits paired wrongly) contradict each
other about who the thread is, and the error may be swallowed where it is raised (a
finalizer's is). So the thread becomes nobody, the guard who owns nothing, until the
work that it does has ended, and that work fails.

INVARIANT: a switch runs whole or not at all. Before its first system call the stack is
proved to have room, and a failure there leaves the thread and its blocks as they were.
A finalizer that Python runs in the middle (a generator collected late) is told no.

A block with no other around it, whose client the thread knows from the last one, is
entered and left by one call each of the twin in C (`_switch.c`), where that was built.
Whatever else it finds, it has changed nothing, and what stands here is done.

>>> with KernelBlock(PosixIdentity(70001, 70001)):   # doctest: +SKIP
...     text = open("/srv/notes/alice.txt").read()
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from stead.errors import EnforcementUnavailableError, RevertOrderError
from stead.privileged import credentials, headroom
from stead.privileged.hardening import harden

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from stead.model.posix_identity import PosixIdentity
    from stead.privileged.credentials import ServerIdentity

_ANY_UMASK: Final = 0o077


class PureBooks:
    """What a hardened thread keeps of its blocks.

    Attributes:
        _blocks: those that are open, the innermost last.
        _known: the client of the last one with no other around it.
        _client: that client, as the twin reads it.
        _is_disordered: whether blocks were left out of order in this work.
        _is_switching: whether this is the middle of a switch.
    """

    _blocks: list[KernelBlock]
    _known: PosixIdentity | None
    _client: bytes | None
    _is_disordered: bool
    _is_switching: bool

    def _open_books(
        self, server: bytes, seal: int, room: Callable[[], None] | None, /
    ) -> None:
        """Say that this very thread works by them: blocks may be one call each.

        Args:
            server: whom the thread comes back to, as the twin reads it.
            seal: of its switching calls.
            room: proves beforehand that the stack has room, where C cannot.
        """

    def _close_books(self) -> None:
        """Say that it does no more."""


class PureBlock:
    """A block, as far as the plain way through it goes."""

    __slots__ = ("_thread", "identity")

    def __init__(self, identity: PosixIdentity | None) -> None:
        self.identity = identity
        self._thread: HardenedThread | None = None

    def enter(self) -> Self:
        """Make the calling thread the identity; `with` does at first.

        Raises:
            EnforcementUnavailableError: the thread is not a hardened one.
            ImpersonationRefusedError: the kernel or the guard forbids it; the thread
                is whoever it was.
            MemoryError, RecursionError: there is no room for the switch; likewise.
            RevertOrderError: the block was entered before, or blocks were left out of
                order in this work before.
        """
        self._enter()
        return self

    def leave(self, *_exception: object) -> None:
        """Make the calling thread whoever it was before the block; `with` does at last.

        Raises:
            MemoryError, RecursionError: there is no room for the switch; the block is
                still open. Left on the frame that entered it, it always has room.
            RevertOrderError: the block was left before, not entered, or entered on
                another thread, and nothing is touched; or it holds one that is still
                open, and the thread is nobody until its work ends.
        """
        self._leave()

    __enter__, __exit__ = enter, leave

    def again(self) -> Self:
        """Enter a new block of the same kind, as the same client; raises as `enter`."""
        return type(self)(self.identity).enter()

    def _enter(self) -> Self:
        raise NotImplementedError

    def _leave(self) -> None:
        raise NotImplementedError


if TYPE_CHECKING:
    Books = PureBooks
    Block = PureBlock
else:
    Books = getattr(credentials.TWIN, "Books", PureBooks)
    Block = getattr(credentials.TWIN, "Block", PureBlock)


class HardenedThread(threading.Thread, Books):
    """A thread that hardens itself first, says how that went, and then works.

    It is a daemon: a client whose file never answers cannot keep the process from
    ending.

    Attributes:
        ready: becomes done once the thread is hardened, or holds why it is not; it has
            ended then.
    """

    def __init__(
        self, work: Callable[[HardenedThread], None], *, guard: int, name: str
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.ready: Future[None] = Future()
        self._work = work
        self._guard = guard
        self._umask = 0
        self._server: ServerIdentity | None = None
        self._blocks = []
        self._known, self._client = None, None
        self._is_disordered = self._is_switching = False

    def run(self) -> None:
        """Harden, report, work. A thread that is not hardened does nothing."""
        try:
            self._server = harden(self._guard)
            self._umask = os.umask(_ANY_UMASK)
            os.umask(self._umask)
            self._begin_books(self._server)
        except BaseException as error:  # noqa: BLE001  # it reaches who waits for ready
            self.ready.set_exception(error)
            return
        try:
            self.ready.set_result(None)
            self._work(self)
        finally:
            self._close_books()

    def _begin_books(self, server: ServerIdentity) -> None:
        if credentials.TWIN is not None:
            room = partial(headroom.require, headroom.ROOM_TO_ENTER)
            proof = room if headroom.COUNTS_APART else None
            self._open_books(server.packed, server.seal, proof)

    @property
    def server(self) -> ServerIdentity:
        """The server's identity.

        Raises:
            EnforcementUnavailableError: the thread is not hardened.
        """
        if self._server is None:
            raise EnforcementUnavailableError("the thread is not hardened")
        return self._server

    @property
    def is_client(self) -> bool:
        """Whether the kernel judges the thread as somebody else than the server."""
        if self._is_disordered or self._is_switching:
            return True
        return self._innermost() is not None

    @property
    def has_blocks(self) -> bool:
        """Whether anything is open on the thread, or was left in disorder."""
        return bool(self._blocks) or self.is_client

    def open(self, block: KernelBlock) -> None:
        """Make the block's identity the thread's, over whoever it is now.

        Raises:
            ImpersonationRefusedError: the thread is whoever it was before.
            MemoryError, RecursionError: likewise; there is no room for the switch.
            RevertOrderError: blocks were left out of order before.
        """
        if self._is_disordered:
            raise RevertOrderError("blocks were left out of order in this work before")
        if headroom.COUNTS_APART:
            headroom.require(headroom.ROOM_TO_ENTER)
        # With no other around it, the twin does it in one call.
        if (
            block.identity is None
            or self._blocks
            or self._is_switching
            or not self._open_alone(block, block.identity)
        ):
            headroom.require(headroom.ROOM_TO_ENTER)
            self._switch(self._begin, block)

    def _open_alone(self, block: KernelBlock, identity: PosixIdentity) -> bool:
        server = self.server
        if not credentials.enter_alone(identity, server, self._blocks, block):
            return False
        # The next block of this very client is one call as a whole. Nobody is known by
        # what was packed of another, wherever this is interrupted.
        packed = server.pack(identity)
        self._known = None
        self._client = packed
        self._known = identity
        return True

    def close(self, block: KernelBlock) -> None:
        """End the block: whoever is open below it is the thread's identity again.

        Raises:
            MemoryError, RecursionError: there is no room for the switch. The block is
                still open, and can be left where the stack is not as deep.
            RevertOrderError: the block is not open, and nothing is changed; or it is
                not the innermost one, and the thread is nobody until `settle`.
        """
        blocks, identity = self._blocks, block.identity
        if block not in blocks:
            raise RevertOrderError("the block is not open: it was left before")
        is_alone = len(blocks) == 1 and not self._is_switching
        if (
            identity is None
            or not is_alone
            or not credentials.leave_alone(identity, self.server, blocks)
        ):
            headroom.require(headroom.ROOM_TO_LEAVE)
            self._switch(self._end, block)

    def settle(self) -> bool:
        """End every block that is still open; the thread is the server, proved.

        Returns:
            Whether there was nothing to mend: no block was open or left out of order,
            and the kernel said that the thread was the server.
        """
        self._is_switching = True  # a finalizer opens or closes nothing meanwhile
        clean = not self._blocks and not self._is_disordered
        clean = clean and credentials.is_now(self.server.credentials)
        if not clean:
            credentials.restore(self.server)
        self._blocks.clear()
        self._is_disordered = False
        self._is_switching = False
        os.umask(self._umask)
        return clean

    def _switch(self, act: Callable[[KernelBlock], None], block: KernelBlock) -> None:
        """Run one switch; nobody else's runs in the middle of it.

        Raises:
            RevertOrderError: this is the middle of one, and the thread becomes nobody
                when that has ended; or that happened meanwhile.
        """
        if self._is_switching:
            self._is_disordered = True
            raise RevertOrderError(
                "a finalizer met its thread in the middle of a switch"
            )
        self._is_switching = True
        try:
            act(block)
        finally:
            self._is_switching = False
            if self._is_disordered:
                self._blocks.clear()
                credentials.become_nobody(self.server)
        if self._is_disordered:
            raise RevertOrderError("blocks were left out of order")

    def _begin(self, block: KernelBlock) -> None:
        credentials.leave(self._innermost(), self.server)
        try:
            if block.identity is not None:
                credentials.enter(block.identity, self.server)
            self._blocks.append(block)
        except BaseException:
            credentials.restore(self.server)
            self._resume()
            raise

    def _end(self, block: KernelBlock) -> None:
        if block is not self._blocks[-1]:
            self._is_disordered = True
            raise RevertOrderError("a block was left while one inside it was open")
        credentials.leave(block.identity, self.server)
        self._blocks.pop()
        self._resume()

    @staticmethod
    def _give_up(identity: PosixIdentity, outcome: int) -> NoReturn:
        """Raise what a block of the twin's came to, or end the process."""
        credentials.give_up(outcome, identity)

    def _innermost(self) -> PosixIdentity | None:
        return self._blocks[-1].identity if self._blocks else None

    def _resume(self) -> None:
        """Become the innermost block's client again, from the server."""
        outer = self._innermost()
        if outer is None:
            return
        try:
            credentials.enter(outer, self.server)
        except BaseException:  # noqa: BLE001  # pragma: no cover  # the process ends
            # INVARIANT: nothing of an outer block runs unless the thread is its client.
            credentials.stop("a thread could not become its outer client again")


class KernelBlock(Block):
    """One stay as somebody on the hardened thread that enters it.

    Attributes:
        identity: the client; None for the server itself, inside a client's block.
    """

    __slots__ = ()

    def _enter(self) -> Self:
        """Do what `enter` says."""
        if self._thread is not None:
            raise RevertOrderError("a block is entered once")
        thread = current_hardened_thread()
        thread.open(self)
        self._thread = thread
        return self

    def _leave(self) -> None:
        """Do what `leave` says."""
        thread = self._thread
        if thread is None or thread is not threading.current_thread():
            raise RevertOrderError("a block is left on the thread that entered it")
        thread.close(self)


def current_hardened_thread() -> HardenedThread:
    """Return the calling thread.

    Raises:
        EnforcementUnavailableError: it is not a hardened one.
    """
    thread = threading.current_thread()
    if not isinstance(thread, HardenedThread):
        raise EnforcementUnavailableError(
            "this thread is not hardened, so it becomes nobody",
            advice="run the block on `server.executor()`",
        )
    return thread


def is_hardened() -> bool:
    """Say whether the calling thread is a hardened one."""
    return isinstance(threading.current_thread(), HardenedThread)


def switch_to(identity: PosixIdentity | None) -> Callable[[], None]:
    """Enter a block and return what leaves it; see `KernelBlock`."""
    block = KernelBlock(identity)
    block.enter()
    return block.leave
