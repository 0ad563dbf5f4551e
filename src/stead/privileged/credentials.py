"""Become the client on this thread, and the server again. The file to audit.

While a thread is the client it has, in the kernel's order (real, effective, saved)::

    uids  guard, client, 0        gids  guard, client, 0
    groups  the client's          effective capabilities  none

- *effective* is what the kernel judges files, sockets and capabilities by;
- *real* is a guard that nobody runs as, so that no process of the client may signal
  the thread (and with it the whole server), and so that a program that were executed
  would not be the server;
- *saved* stays 0: that is the way back, and the reason for the filter in ``seccomp``.

Each verb is read back from the kernel after the fact (``thread_credentials``). Failing
to enter restores the server and refuses: nothing ran. Failing to leave ends the
process: a thread that is neither is never let run on. Nested stays are composed in
``hardened_thread``; at this level entering twice is refused. Callers prove beforehand
that the stack has room (``headroom``): a RecursionError in the middle would end the
process too.

What stands here is the reference. Where the twin in C was built, a switch is one call
of it: the same system calls in the same order, with nothing in between.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from stead.errors import ImpersonationRefusedError
from stead.model.posix_identity import PosixIdentity
from stead.privileged import syscalls
from stead.privileged.syscalls import LEAVE_UNCHANGED, call, words_of
from stead.privileged.thread_credentials import ThreadCredentials, read, three_ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_NOT_THE_SERVER: Final = "the thread is not the server now"
_NOT_BACK: Final = "a thread could not become the server again"
_SWITCHED: Final = "a thread was switched behind the back of its block"
# As in the C.
_NOT_WHO_WAS_EXPECTED: Final = -1
_NOT_THE_SERVER_AGAIN: Final = -2
_READS_BACK_OTHERWISE: Final = -3

ROOM_ALONE: Final = 16
"""Calls of any kind: twice what a block takes to be left with no other around it."""


class Twin(Protocol):
    """Switches in C, each of them whole (``_switch.c``).

    Attributes:
        Books: what a hardened thread keeps of its blocks (`hardened_thread`).
        Block: a block, as far as the plain way through it goes.
    """

    Books: type[Any]
    Block: type[Any]

    def enter(
        self, client: bytes, server: bytes, seal: int, /, *kept: list[Any] | object
    ) -> int:
        """Become a client, or stay the server: 0, an errno, or a code above.

        Given a list, something that it gets in the same moment, and for how many calls
        the stack must have room before that, RecursionError if it has not.
        """
        ...

    def leave(
        self, client: bytes, server: bytes, seal: int, /, *kept: list[Any]
    ) -> int:
        """Be the server again after a client: 0, or a code above.

        Given a list, it loses its last item in the same moment.
        """
        ...

    def is_now(self, who: bytes, /) -> bool:
        """Tell whether the kernel holds just this of the calling thread."""
        ...


def load(name: str = "stead.privileged._switch") -> Twin | None:
    """Return the twin, or None if it was not built."""
    return cast("Twin | None", syscalls.load(name))


TWIN: Final = load()


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a thread comes back to, and the means to switch it.

    Attributes:
        credentials: the server's own, read when the thread was hardened.
        guard: the uid and gid that stand as the real ones meanwhile.
        seal: the fourth argument of every switching call. The thread's filter denies
            those calls without it, so libc's and Python's own never pass.
        packed: the credentials, as the twin reads them.
        kept: the last client as the twin reads it; no part of the value.
    """

    credentials: ThreadCredentials
    guard: int
    seal: int = field(repr=False)
    packed: bytes = field(init=False, repr=False, compare=False)
    kept: tuple[PosixIdentity, bytes] | None = field(
        init=False, repr=False, compare=False, default=None
    )

    def __post_init__(self) -> None:
        """Pack what the twin compares each time."""
        object.__setattr__(self, "packed", self.credentials.packed)

    def pack(self, identity: PosixIdentity) -> bytes:
        """Return what the kernel must read back of a client, as the twin reads it."""
        known = self.kept
        if known is not None and known[0] is identity:
            return known[1]
        if known is not None and known[0] == identity:  # of another of their sessions
            packed = known[1]
        else:
            packed = _client(identity, self.guard).packed
        object.__setattr__(self, "kept", (identity, packed))
        return packed


def enter(identity: PosixIdentity, server: ServerIdentity) -> None:
    """Become the client on the calling thread, or change nothing.

    1. Refuse what guard mode cannot express: as uid 0 no capability would be lost, and
       the guard stands for nobody.
    2. Refuse a thread that is not the server now.
    3. Switch groups, then gids, then uids: the last takes the capabilities away.
    4. Read everything back.

    Raises:
        ImpersonationRefusedError: the thread is as it was before.
    """
    if identity.uid in {0, server.guard}:
        raise ImpersonationRefusedError(
            f"no thread becomes uid {identity.uid}",
            advice="act as the server itself, in a block that says so",
        )
    if TWIN is not None:
        outcome = TWIN.enter(server.pack(identity), server.packed, server.seal)
        if outcome:
            _refuse(outcome, identity)
        return
    if three_ids("getresuid") != server.credentials.uids:
        raise ImpersonationRefusedError(_NOT_THE_SERVER)
    try:
        _become(identity, server)
    except OSError as error:
        restore(server)
        raise _refusal(identity, error) from error
    except BaseException:
        restore(server)
        raise


def enter_alone(
    identity: PosixIdentity, server: ServerIdentity, kept: list[Any], block: object
) -> bool:
    """Prove that the thread is the server, become the client and keep the block.

    All in one call of the twin, or nothing: nobody can come in between.

    Args:
        identity: whom to become.
        server: whom to come back to.
        kept: what gets the block.
        block: the block.

    Returns:
        whether it is done; if not, it has to be done step by step.

    Raises:
        ImpersonationRefusedError, MemoryError, RecursionError: as of `enter`.
    """
    if TWIN is None or not identity.uid or identity.uid == server.guard:
        return False
    client = server.pack(identity)
    outcome = TWIN.enter(client, server.packed, server.seal, kept, block, ROOM_ALONE)
    if outcome:
        give_up(outcome, identity)
    return True


def leave_alone(
    identity: PosixIdentity, server: ServerIdentity, kept: list[Any]
) -> bool:
    """Prove that the thread is the client, become the server, and drop the last block.

    Args:
        identity: who the thread entered as.
        server: whom to come back to.
        kept: what loses the block.

    Returns:
        whether it is done, as of `enter_alone`; if it cannot, the process ends.
    """
    if TWIN is None:
        return False
    client = server.pack(identity)
    outcome = TWIN.leave(client, server.packed, server.seal, kept)
    if outcome:  # pragma: no cover  # the process ends here
        give_up(outcome, identity)
    return True


def give_up(outcome: int, identity: PosixIdentity) -> NoReturn:
    """Say why the twin did not switch a thread whose blocks say who it is.

    Raises:
        ImpersonationRefusedError: it is the server still. Else the process ends.
    """
    if outcome == _NOT_WHO_WAS_EXPECTED:  # pragma: no cover  # the process ends here
        stop(_SWITCHED)
    _refuse(outcome, identity)


def leave(identity: PosixIdentity | None, server: ServerIdentity) -> None:
    """Become the server again; end the process if that cannot be proved.

    A thread that is no longer who it entered as ends the process too: something
    switched it behind our back, and what ran since then ran as somebody else.

    Args:
        identity: who the thread entered as; None if it was the server all the time.
        server: whom to come back to.

    Raises:
        MemoryError, RecursionError: who the thread is could not be asked, and nothing
            is changed. Once the switch has begun these end the process like any other.
    """
    if TWIN is not None:
        if identity is None:
            outcome = 0 if TWIN.is_now(server.packed) else _NOT_WHO_WAS_EXPECTED
        else:
            client = server.pack(identity)
            outcome = TWIN.leave(client, server.packed, server.seal)
        if outcome:  # pragma: no cover  # the process ends here
            stop(_SWITCHED if outcome == _NOT_WHO_WAS_EXPECTED else _NOT_BACK)
        return
    expected = server.credentials
    if identity is not None:
        expected = client_credentials(identity, server)
    try:
        _require(expected)
    except OSError:  # pragma: no cover  # the process ends here
        stop(_SWITCHED)
    if identity is not None:
        restore(server)


def become_nobody(server: ServerIdentity) -> None:
    """Become the guard, who owns nothing and is in no group, from whatever state.

    End the process if that cannot be proved. `restore` leads back.
    """

    def nobody() -> None:
        _switch_back(server)
        _become(PosixIdentity(server.guard, server.guard), server)

    _prove(nobody, "a thread could not become nobody")


def restore(server: ServerIdentity) -> None:
    """Become the server from whatever state; end the process if not proved."""

    def the_server_again() -> None:
        _switch_back(server)
        _require(server.credentials)

    _prove(the_server_again, _NOT_BACK)


def is_now(expected: ThreadCredentials) -> bool:
    """Ask the kernel whether the calling thread is just this.

    Raises:
        OSError: the kernel did not say.
    """
    if TWIN is not None:
        return TWIN.is_now(expected.packed)
    return read() == expected


def client_credentials(
    identity: PosixIdentity, server: ServerIdentity
) -> ThreadCredentials:
    """Return what the kernel must read back while a thread is the client."""
    return _client(identity, server.guard)


def _client(identity: PosixIdentity, guard: int) -> ThreadCredentials:
    return ThreadCredentials(
        uids=(guard, identity.uid, 0),
        gids=(guard, identity.gid, 0),
        groups=identity.groups,
        effective=0,
    )


def stop(reason: str) -> NoReturn:  # pragma: no cover  # the process ends here
    """End the process at once, saying why: nothing may run as nobody knows whom."""
    try:
        os.set_blocking(2, False)  # a full pipe must not keep the process alive
        os.write(2, f"stead: {reason}; the process stops\n".encode())
    finally:
        os.abort()


# --- natively: each switch is one call, in which nothing of Python's runs -----------


def _refuse(outcome: int, identity: PosixIdentity) -> NoReturn:
    """Say why the twin did not enter, or end the process."""
    if outcome == _NOT_WHO_WAS_EXPECTED:
        raise ImpersonationRefusedError(_NOT_THE_SERVER)
    if outcome == _NOT_THE_SERVER_AGAIN:  # pragma: no cover  # the process ends here
        stop(_NOT_BACK)
    is_errno = outcome != _READS_BACK_OTHERWISE
    error = OSError(outcome, os.strerror(outcome)) if is_errno else _otherwise()
    raise _refusal(identity, error) from error


# --- one call after another ---------------------------------------------------------


def _refusal(identity: PosixIdentity, error: OSError) -> ImpersonationRefusedError:
    return ImpersonationRefusedError(
        f"the kernel would not make this thread uid {identity.uid}: {words_of(error)}"
    )


def _require(expected: ThreadCredentials) -> None:
    if read() != expected:
        raise _otherwise()


def _otherwise() -> OSError:
    return OSError(errno.EPERM, "the kernel reads back something else")


def _prove(act: Callable[[], None], reason: str) -> None:
    try:
        act()
    except BaseException:  # noqa: BLE001  # pragma: no cover  # the process ends here
        stop(reason)


def _become(identity: PosixIdentity, server: ServerIdentity) -> None:
    # The uids last: they take away the capabilities that the others need.
    call("setgroups", *_array_of(identity.groups), 0, server.seal)
    call("setresgid", server.guard, identity.gid, LEAVE_UNCHANGED, server.seal)
    call("setresuid", server.guard, identity.uid, LEAVE_UNCHANGED, server.seal)
    _require(client_credentials(identity, server))


def _switch_back(server: ServerIdentity) -> None:
    groups = _array_of(server.credentials.groups)  # nothing is made in between
    # The uids first: they bring back the capabilities that the others need.
    call("setresuid", 0, 0, LEAVE_UNCHANGED, server.seal)
    call("setresgid", 0, 0, LEAVE_UNCHANGED, server.seal)
    call("setgroups", *groups, 0, server.seal)


def _array_of(groups: tuple[int, ...]) -> tuple[int, ctypes.Array[ctypes.c_uint32]]:
    return len(groups), (ctypes.c_uint32 * len(groups))(*groups)
