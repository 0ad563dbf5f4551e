"""Become the client on this thread, and the server again. The file to audit.

While a thread is the client it has, in the kernel's order (real, effective, saved)::

    uids  guard, client, 0        gids  guard, client, 0
    groups  the client's          effective capabilities  none

- *effective* is what the kernel judges files, sockets and capabilities by;
- *real* is a guard that nobody runs as, so that no process of the client may signal
  the thread (and with it the whole server), and so that a program that were executed
  would not be the server;
- *saved* stays 0: that is the way back, and the reason for the filter in ``seccomp``.

Each verb is read back from the kernel after the fact. Failing to enter restores the
server and refuses: nothing ran. Failing to leave ends the process: a thread that is
neither is never let run on. Nested stays are composed in ``hardened_thread``; at
this level entering twice is refused. Callers prove beforehand that the stack has room
(``headroom``): a RecursionError in the middle would end the process too.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stead.errors import ImpersonationRefusedError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.syscalls import LEAVE_UNCHANGED, call, words_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_CAPABILITY_VERSION_3 = 0x2008_0522


@dataclass(frozen=True, slots=True)
class ThreadCredentials:
    """What the kernel holds about one thread.

    Attributes:
        uids: real, effective and saved. The file-system uid follows every change of
            the effective one, and the filter denies the call that would part them.
        gids: likewise.
        groups: supplementary groups, sorted.
        effective: the effective capabilities, as bits.
    """

    uids: tuple[int, int, int]
    gids: tuple[int, int, int]
    groups: tuple[int, ...]
    effective: int


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a thread comes back to, and the means to switch it.

    Attributes:
        credentials: the server's own, read when the thread was hardened.
        guard: the uid and gid that stand as the real ones meanwhile.
        seal: the fourth argument of every switching call. The thread's filter denies
            those calls without it, so libc's and Python's own never pass.
    """

    credentials: ThreadCredentials
    guard: int
    seal: int = field(repr=False)


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
    if _three("getresuid") != server.credentials.uids:
        raise ImpersonationRefusedError("the thread is not the server now")
    try:
        _become(identity, server)
    except OSError as error:
        restore(server)
        raise ImpersonationRefusedError(
            f"the kernel would not make this thread uid {identity.uid}: "
            f"{words_of(error)}",
        ) from error
    except BaseException:
        restore(server)
        raise


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
    if identity is None:
        expected = server.credentials
    else:
        expected = client_credentials(identity, server)
    try:
        _require(expected)
    except OSError:  # pragma: no cover  # the process ends here
        stop("a thread was switched behind the back of its block")
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

    _prove(the_server_again, "a thread could not become the server again")


def read() -> ThreadCredentials:
    """Ask the kernel who the calling thread is.

    Raises:
        OSError: the kernel did not say.
    """
    return ThreadCredentials(
        uids=_three("getresuid"),
        gids=_three("getresgid"),
        groups=_groups(),
        effective=_effective_capabilities(),
    )


def client_credentials(
    identity: PosixIdentity, server: ServerIdentity
) -> ThreadCredentials:
    """Return what the kernel must read back while a thread is the client."""
    return ThreadCredentials(
        uids=(server.guard, identity.uid, 0),
        gids=(server.guard, identity.gid, 0),
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


def _require(expected: ThreadCredentials) -> None:
    if read() != expected:
        raise OSError(errno.EPERM, "the kernel reads back something else")


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


def _three(name: str) -> tuple[int, int, int]:
    one = ctypes.c_uint32 * 1
    real, effective, saved = one(), one(), one()
    call(name, real, effective, saved)
    return real[0], effective[0], saved[0]


def _groups() -> tuple[int, ...]:
    count = call("getgroups")
    if not count:
        return ()
    array = (ctypes.c_uint32 * count)()
    call("getgroups", count, array)
    return tuple(sorted(array))


def _effective_capabilities() -> int:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, first their low and then their high words.
    words = (ctypes.c_uint32 * 6)()
    call("capget", header, words)
    return words[0] | words[3] << 32
