"""Become the client for good, in a child that has nothing else to do.

The other file to audit. The child was forked from a keeper, which never holds more than
the descriptors of one order. It goes through the steps of `wait_and_become` once; there
is no way back and no weaker way. Whatever fails is told to the keeper by stage and
error number, and the child ends: until the last step nothing of the client's runs.

Between the change of ids and the program the child cannot be traced or read by other
processes of the client: the kernel clears its dumpable flag (prctl(2)). A program that
is executed is dumpable again, as any of the client's programs is. A function that runs
here instead never is, so the descriptors and answers of a worker are its own.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib
import json
import os
import resource
import signal
import socket
import sys
import termios
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from stead.errors import SteadError
from stead.model.posix_identity import PosixIdentity
from stead.privileged import parcels, sealing, thread_credentials
from stead.privileged.confining import confine
from stead.privileged.orders import Order
from stead.privileged.parcels import Parcel
from stead.privileged.syscalls import call
from stead.privileged.system_uids import refuse_system_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stead.privileged.orders import Terms

    _Stage = tuple[str, Callable[[], object]]

BEGUN: Final = b"."
"""What the keeper reads when every step but the last is done."""

WORK: Final = 3
"""The first descriptor after stdio: what a function is called with."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_JOIN_SESSION_KEYRING: Final = 1
_CAPABILITY_VERSION_3: Final = 0x2008_0522
_CAPABILITIES: Final = 64
_LAST_DESCRIPTOR: Final = 0xFFFF_FFFF
_FAILED: Final = 127

_MEANS_NOTHING: Final = Order(PosixIdentity(1, 1), (b"/",))
_HANDLED: Final = (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
"""What a keeper handles, or what Python ignores in every process."""


@dataclass(frozen=True, slots=True)
class Cradle:
    """What a child is forked with, before it knows its order.

    Attributes:
        keeper: the process that forks it.
        orders: where its one order comes from.
        report: where a failure is told; whoever reads there sees the end of it when the
            program or the function has begun.
        terms: what holds for every order.
        variables: what a PAM session adds to the environment.
        has_keyring: whether a PAM session made a keyring for it.
    """

    keeper: int
    orders: socket.socket
    report: int
    terms: Terms
    variables: Mapping[bytes, bytes]
    has_keyring: bool


def wait_and_become(cradle: Cradle) -> NoReturn:
    """Become the client that an order names, for good; the process ends here.

    Before the order, so that a start does not wait for it:

    1. Keep none of the launcher's descriptors open: it would not be missed.
    2. End with the keeper.
    3. Take back the handling of the signals that keepers handle; the launcher did so
       with all others.
    4. A session of its own.
    5. A session keyring of its own, unless PAM made one.
    6. Rehearse what follows, with an order that means nothing.

    With the order:

    7. Read it, and refuse whom nobody may become.
    8. Place the descriptors it inherits, and close every other one.
    9. A controlling terminal, if ordered.
    10. Limits.
    11. Groups, gids and uids, all of them.
    12. Give up whatever capabilities are left.
    13. Prove it: ids, groups and capabilities read back, and root does not come back.
    14. No new privileges, if ordered.
    15. End with the keeper: a change of ids has taken that away.
    16. The directory, entered as the client, and the umask.
    17. Confine it, if ordered.
    18. Say so, and execute the program or call the function.
    """
    report = [cradle.report]
    _go_through(_before_the_order(cradle, report), report)
    parcel = parcels.receive(cradle.orders)
    if parcel is None:
        os._exit(0)
    taken: list[Order] = []
    _go_through((("order", lambda: taken.append(_read(parcel, cradle.terms))),), report)
    order = taken[0]
    _go_through(_with_the_order(order, parcel, cradle.keeper, report), report)
    os.write(report[-1], BEGUN)
    environment = {**cradle.variables, **dict(order.environment)}
    if order.body:
        _call_function(order.body, environment, report)
    _go_through((("exec", lambda: _execute(order.argv, environment)),), report)
    os._exit(_FAILED)


def _before_the_order(cradle: Cradle, report: list[int]) -> tuple[_Stage, ...]:
    return (
        ("isolation", lambda: _close_all_but({cradle.orders.fileno(), *report})),
        ("parent", lambda: _end_with(cradle.keeper)),
        ("signals", _reset_own_signals),
        ("session", os.setsid),
        ("keyring", lambda: None if cradle.has_keyring else _own_keyring()),
        ("rehearsal", _rehearse),
    )


def _with_the_order(
    order: Order, parcel: Parcel, keeper: int, report: list[int]
) -> tuple[_Stage, ...]:
    return (
        ("descriptors", lambda: _place(parcel.inherited, report)),
        ("terminal", lambda: _take_terminal() if order.terminal else None),
        ("limits", lambda: _limit(order.limits, may_raise=not parcel.is_warranted)),
        ("identity", lambda: _switch(order.identity)),
        ("capabilities", _drop_capabilities),
        ("proof", lambda: _prove(order.identity)),
        ("privileges", lambda: _stay() if order.no_new_privileges else None),
        ("parent", lambda: _end_with(keeper)),
        ("directory", lambda: _enter(order)),
        ("confinement", lambda: _confine(order)),
    )


def reset_signals() -> None:
    """Give every signal its default handling, and block none."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def drop_bounding_set() -> None:
    """Leave set-uid programs no capability to gain, as far as CAP_SETPCAP is held."""
    for number in range(_CAPABILITIES):
        try:
            call("prctl", _PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.EPERM}:
                return  # the kernel has no more; or this process may not
            raise


def _go_through(stages: tuple[_Stage, ...], report: list[int]) -> None:
    """Do one after the other; if one fails, report it and end."""
    for stage, act in stages:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  # nothing may go on after it
            refusal = {"refused": stage, **_said_of(error)}
            os.write(report[-1], json.dumps(refusal).encode())
            os._exit(_FAILED)


def _said_of(error: BaseException) -> dict[str, int | str]:
    if isinstance(error, SteadError):
        return {"errno": errno.EPERM, "text": str(error)}
    if isinstance(error, OSError) and error.errno:
        return {"errno": error.errno, "text": ""}
    if isinstance(error, MemoryError):
        return {"errno": errno.ENOMEM, "text": ""}
    return {"errno": 0, "text": f"{type(error).__name__}: {error}"}


def _reset_own_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)


def _rehearse() -> None:
    """Touch what the steps need, so that its pages are this process's own by then.

    After a fork every page is copied, or mapped, when it is first used; done here, that
    costs nobody any time.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, sealing.sealed(_MEANS_NOTHING.to_bytes()) as document:
        number = document.fileno()
        parcels.send(ours, Parcel(number, number, (number, number, number)))
        parcel = parcels.receive(theirs)
    if parcel is not None:
        parcel.order()
        parcel.let_go()
        os.close(parcel.channel)
    _capabilities()
    thread_credentials.read()
    _places(b"rehearsal", {b"PATH": b"/"})


def _read(parcel: Parcel, terms: Terms) -> Order:
    order = parcel.order()
    refuse_system_uid(order.identity, guard=terms.guard, allowed=terms.allowed)
    return order


def _close_all_but(kept: set[int]) -> None:
    """Close every descriptor but stdio and these."""
    first = WORK
    for number in sorted(kept):
        if first < number:
            call("close_range", first, number - 1, 0)
        first = number + 1
    call("close_range", first, _LAST_DESCRIPTOR, 0)


def _place(inherited: Sequence[int], report: list[int]) -> None:
    """Number what is inherited from 0, put the report behind, and close all else.

    First everything is moved out of the way: a descriptor may stand where another one
    belongs.
    """
    count = len(inherited)
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, count + 1) for each in inherited]
    report.append(fcntl.fcntl(report[-1], fcntl.F_DUPFD_CLOEXEC, count + 1))
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number, inheritable=True)
    report.append(os.dup2(report[-1], count, inheritable=False))
    call("close_range", count + 1, _LAST_DESCRIPTOR, 0)


def _take_terminal() -> None:
    # 0: not by force, if it is the terminal of another session.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _own_keyring() -> None:
    call("keyctl", _JOIN_SESSION_KEYRING)


def _limit(limits: Sequence[tuple[int, int, int]], *, may_raise: bool) -> None:
    """Set limits; a server that is not root itself may only lower them."""
    for name, soft, hard in limits:
        most = resource.getrlimit(name)[1]
        if not may_raise and _is_above(hard, most):
            raise OSError(errno.EPERM, f"limit {name} would be raised")
        resource.setrlimit(name, (soft, hard))


def _is_above(limit: int, most: int) -> bool:
    if most == resource.RLIM_INFINITY:
        return False
    return limit == resource.RLIM_INFINITY or limit > most


def _switch(identity: PosixIdentity) -> None:
    # The uids last: they take away the capabilities that the others need.
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def _drop_capabilities() -> None:
    # Most are gone with the uids, but not under every securebits(7).
    call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    call("capset", _capability_header(), (ctypes.c_uint32 * 6)())


def _prove(identity: PosixIdentity) -> None:
    uid, gid = identity.uid, identity.gid
    expected = thread_credentials.ThreadCredentials(
        uids=(uid, uid, uid),
        gids=(gid, gid, gid),
        groups=identity.groups,
        effective=0,
    )
    if thread_credentials.read() != expected or any(_capabilities()):
        raise OSError(errno.EPERM, "the kernel reads back something else")
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise OSError(errno.EPERM, "root came back")


def _stay() -> None:
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1)


def _end_with(keeper: int) -> None:
    call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(_FAILED)


def _enter(order: Order) -> None:
    os.umask(order.umask)
    try:
        os.chdir(order.directory)
    except OSError:
        if not order.fallback_directory:
            raise
        os.chdir(order.fallback_directory)


def _confine(order: Order) -> None:
    if order.confinement is not None:
        confine(order.confinement)


def _execute(argv: Sequence[bytes], environment: dict[bytes, bytes]) -> None:
    refusal: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for program in _places(argv[0], environment):
        try:
            os.execve(program, list(argv), environment)  # noqa: S606  # without a shell
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refusal = error  # another place may have one that may be executed
    raise refusal


def _places(program: bytes, environment: dict[bytes, bytes]) -> list[bytes]:
    if b"/" in program:
        return [program]
    folders = environment.get(b"PATH", b"").split(b":")
    # An empty or relative entry means the directory that it happens to start in.
    return [folder + b"/" + program for folder in folders if folder.startswith(b"/")]


def _call_function(
    body: str, environment: dict[bytes, bytes], report: list[int]
) -> NoReturn:
    """Call the function as the client, and end with what it returns."""
    call("prctl", _PR_SET_DUMPABLE, 0)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)  # as Python code everywhere expects
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environb.update(environment)
    found: list[Callable[[int], int]] = []
    _go_through((("body", lambda: found.append(_function(body))),), report)
    os.close(report[-1])
    try:
        status = found[0](WORK)
    except BaseException:  # noqa: BLE001  # whatever it was, this process ends with it
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _function(body: str) -> Callable[[int], int]:
    module, _, name = body.partition(":")
    function: Callable[[int], int] = getattr(importlib.import_module(module), name)
    return function


def _capabilities() -> tuple[int, ...]:
    """Return the words of the effective, permitted and inheritable capabilities."""
    words = (ctypes.c_uint32 * 6)()
    call("capget", _capability_header(), words)
    return tuple(words)


def _capability_header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
