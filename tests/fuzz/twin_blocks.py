"""The twins of blocks and of switches beside Python, at random; `twin.py` runs them."""

from __future__ import annotations

import gc
import os
import random
import struct
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import cache


def differ(what: str) -> SystemExit:
    """Return what ends the run."""
    return SystemExit(f"twin and Python differ: {what}")


# --- blocks ---------------------------------------------------------------------


def walk(source: random.Random) -> None:
    """Enter and leave blocks in any order, and ask who is in force after each step."""
    from stead.errors import RevertOrderError
    from stead.monitor import context
    from stead.monitor.impersonation import impersonate

    tokens = [_token(number) for number in range(3)]
    open_: list[
        tuple[Generator[None], object]
    ] = []  # the `with` statement, and whose it is

    def statement(token: object):
        with impersonate(token):  # type: ignore[arg-type]  # a token
            yield

    for _ in range(30):
        act = source.randrange(5)
        if act < 2:
            token = source.choice(tokens)
            open_.append((statement(token), token))  # nobody else keeps it
            next(open_[-1][0])
        elif act == 2 and open_:
            with suppress(StopIteration):
                next(open_.pop()[0])
        elif act == 3 and open_:
            open_.pop()  # dropped: the generator is closed, and leaves
            gc.collect(0)
        elif act == 4 and open_:
            _leave_elsewhere(context.raw_frame())
        expected = open_[-1][1] if open_ else None
        found = context.current_frame()
        if (None if found is None else found.subject.token) is not expected:
            raise differ(f"{expected} is in force, and {found} was found")
        if [frame.subject.token for frame in context.here()] != [t for _, t in open_]:
            raise differ("the blocks that are open here")
    while open_:
        with suppress(StopIteration, RevertOrderError):
            next(open_.pop()[0])


def _leave_elsewhere(frame: object) -> None:
    """Have another thread look at a frame; it must find a stranger's."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(frame.is_mine()))  # type: ignore[attr-defined]  # a frame
    thread.start()
    thread.join()
    if found != [False]:
        raise differ("another thread's frame is its own")


def _token(number: int):
    from stead.model.sid import Sid
    from stead.model.token import AccessToken

    return AccessToken(Sid.from_string(f"S-1-5-21-1-2-3-{1000 + number}"))


def misuse(source: random.Random) -> None:
    """Hand each function of the twin of blocks what is no block; it says so."""
    from stead.monitor import frames

    twin = frames.TWIN
    if twin is None:
        raise SystemExit("the twin of blocks is not there")
    things = (None, 1, "x", b"x", [], object(), frames.FrameKind.CLIENT, type)
    draw = lambda: source.choice(things)  # noqa: E731 - as often as is asked
    door = twin.Door(draw(), draw(), draw(), at="x")
    for act in (
        lambda: twin.connect(*(draw() for _ in range(source.randrange(12)))),
        lambda: twin.Door(*(draw() for _ in range(source.randrange(5)))),
        lambda: twin.Fields(*(draw() for _ in range(source.randrange(12)))),
        lambda: twin.Exit().__get__(draw(), draw()),
        lambda: twin.add_hook(draw(), draw()),  # none of them is a set
        lambda: twin.add_hook(frozenset({"x", draw}), draw()),
        lambda: twin.add_hook(frozenset({"x", "\ud800"}), draw()),
        door.__enter__,
        lambda: twin.Exit().__get__(door, type(door))(draw(), draw(), draw()),
    ):
        _attempt(act)


def _attempt(act: Callable[[], object]) -> None:
    with suppress(TypeError, AttributeError, ValueError):
        act()


def sift(source: random.Random) -> None:
    """Raise random events; a hook is told of what it asked for, and may refuse."""
    events = [(source.choice(_EVENTS), (source.random(),)) for _ in range(20)]
    told = _told()
    told.clear()
    for event, arguments in events:
        with suppress(LookupError):
            sys.audit(event, *arguments)
            if event in _REFUSED:
                raise differ(f"{event} was not refused")
    if told != [event for event in events if event[0] in _ASKED_FOR | _REFUSED]:
        raise differ(f"of {events} the hook told {told}")


_EVENTS = ("", "open", "opened", "ope", "a.b", "a.bc", "z", "\N{SNOWMAN}", "refused")
_ASKED_FOR = frozenset({"opened", "a.b", "z", "\N{SNOWMAN}"})
_REFUSED = frozenset({"refused"})


@cache
def _told() -> list[object]:
    from stead.monitor import frames

    told: list[object] = []

    def tell(event: str, arguments: tuple[object, ...]) -> None:
        told.append((event, arguments))
        if event in _REFUSED:
            raise LookupError(event)

    frames.add_hook(_ASKED_FOR | _REFUSED, tell)
    return told


# --- switches -------------------------------------------------------------------


def garbage(source: random.Random) -> None:
    """Hand the twin of switches what was never packed; it does nothing."""
    from stead.privileged import thread_credentials

    twin = _switches()
    before = thread_credentials.read()
    fixed = source.randbytes(source.choice((0, 1, 35, 36, 39, 40, 44)))
    count = struct.pack("I", source.choice((0, 1, 2, 65536, 65537, 0xFFFFFFFF)))
    packed = source.choice((fixed, fixed[:36] + count, fixed[:36] + count + fixed))
    for act in (
        lambda: twin.enter(packed, before.packed, 0),
        lambda: twin.enter(packed, before.packed, 0, [], object(), 1 << 20),
        lambda: twin.enter(before.packed, packed, -1),
        lambda: twin.enter(packed, packed, 0, None, None, 0),
        lambda: twin.leave(packed, before.packed, 0, []),
        lambda: twin.leave(packed, before.packed, 1 << 70),
        lambda: twin.leave(packed),
        lambda: twin.is_now(packed),
    ):
        with suppress(TypeError, ValueError, OverflowError, RecursionError):
            # What happens to be well formed is nobody whom this thread is.
            if act() not in {False, -1}:
                raise differ(f"garbage was taken: {packed.hex()}")
    if thread_credentials.read() != before:
        raise differ("garbage switched the thread")


def compare_calls(source: random.Random) -> None:
    """Have both make a call that touches no memory, of whatever they are handed."""
    import ctypes

    from stead.privileged import syscalls

    twin, number = _switches(), syscalls._kernel().numbers["getgroups"]
    things = (0, -1, 1 << 63, b"", b"x", (ctypes.c_uint32 * 3)(), bytearray(5))
    rest = [source.choice(things) for _ in range(5)]
    memory = [
        bytes(each) if isinstance(each, bytearray) else each for each in rest
    ]  # ctypes takes no other
    expected = syscalls.door_of(ctypes.PyDLL(None, use_errno=True))
    for first in (0, -1, 1 << 31):  # how many fit: none, and what is no number
        answers = {
            expected(number, first, *memory),
            twin.holding(number, first, *rest),
            twin.releasing(number, first, *rest),
        }
        if len(answers) != 1:
            raise differ(f"{answers} of {rest}")
    for door in (twin.holding, twin.releasing):
        for arguments in ((), (number,), (number, "x", *rest), (None, 0, *rest)):
            with suppress(TypeError):
                door(*arguments)
                raise differ(f"{arguments} was taken")


def compare_reading(source: random.Random) -> None:
    """Ask both who this thread is, and whether it is somebody like it."""
    from dataclasses import replace

    from stead.privileged import thread_credentials

    own = thread_credentials.read()
    changed = source.choice((
        own,
        replace(own, uids=(*own.uids[:2], own.uids[2] ^ source.choice((0, 1)))),
        replace(own, gids=(own.gids[0] ^ source.choice((0, 4)), *own.gids[1:])),
        replace(own, groups=tuple(sorted({*own.groups, source.randrange(9)}))),
        replace(own, effective=own.effective ^ (1 << source.randrange(40))),
    ))  # fmt: skip
    if _switches().is_now(changed.packed) != (own == changed):
        raise differ(f"{own} and {changed}")


def switch(source: random.Random) -> None:
    """Be random clients on a hardened thread, and read back by Python who it is."""
    from stead.privileged.executor import KernelExecutor

    if os.geteuid() != 0:
        return
    seeds = [source.random() for _ in range(100)]
    with KernelExecutor(1, name="fuzz") as executor:
        for seed in seeds:
            executor.submit(_stay, random.Random(seed), 2).result()


def _stay(source: random.Random, depth: int) -> None:
    from stead.model.posix_identity import PosixIdentity
    from stead.privileged import credentials, thread_credentials
    from stead.privileged.hardened_thread import KernelBlock, current_hardened_thread

    own = thread_credentials.read()
    many = source.choice((0, 0, 1, 16, 300))
    groups = tuple(sorted(source.sample(range(71_000, 72_000), many)))
    uid = source.randrange(70_001, 70_100)
    identity = PosixIdentity(uid, uid + 1, groups)
    server = current_hardened_thread().server
    expected = credentials.client_credentials(identity, server)
    for _ in range(source.choice((1, 1, 3))):  # the thread knows them from the first on
        with KernelBlock(identity) as block:
            found = thread_credentials.read()
            if found != expected or not credentials.is_now(expected):
                raise differ(f"{expected} was entered")
            if depth and source.random() < 0.5:
                _stay(source, depth - 1)
        if thread_credentials.read() != own:
            raise differ(f"{own} was left to")
        _disorder(source, block, own)


def _disorder(source: random.Random, block, own: object) -> None:
    """Do with a block that was left what must not be done; it changes nothing."""
    from stead.errors import RevertOrderError
    from stead.privileged import thread_credentials
    from stead.privileged.hardened_thread import KernelBlock

    act = source.choice((block.enter, block.leave, KernelBlock(block.identity).leave))
    try:
        act()
    except RevertOrderError:
        pass
    else:
        raise differ("a block that was left is of use")
    block.again().leave()
    if thread_credentials.read() != own:
        raise differ(f"{own} was left to")


def misuse_of_stays(source: random.Random) -> None:
    """Hand the types of the twin of switches anything; they switch nothing."""
    from stead.privileged import thread_credentials

    twin, before = _switches(), thread_credentials.read()
    things = (None, 1, "x", b"x", [], object(), type, before.packed, 1 << 70, -1)
    draw = lambda: source.choice(things)  # noqa: E731 - as often as is asked
    books, block = twin.Books(), twin.Block(draw())
    block.identity, block._thread = draw(), draw()
    books._blocks, books._known, books._client = draw(), draw(), draw()
    for act in (
        lambda: twin.Block(*(draw() for _ in range(source.randrange(3)))),
        lambda: books._open_books(*(draw() for _ in range(source.randrange(4)))),
        lambda: books._open_books(before.packed, draw(), draw()),
        lambda: books._open_books(before.packed, 1, None),
        block.enter,  # it has no way in Python
        block.again,
        lambda: block.leave(draw(), draw(), draw()),
        lambda: twin.Books()._close_books(),
    ):
        with suppress(OverflowError, RuntimeError):
            _attempt(act)
    books._close_books()
    if thread_credentials.read() != before:
        raise differ("garbage switched the thread")


def _switches():
    from stead.privileged import credentials

    if credentials.TWIN is None:
        raise SystemExit("the twin of switches is not there")
    return credentials.TWIN
