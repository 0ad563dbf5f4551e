"""What is known of one entered identity, and where code entered it.

The twin in C (`_frames.c`), where it was built, has the same fields and functions. It
changes no answer. `stead.monitor.context` says what a frame means.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar
from weakref import ref

if TYPE_CHECKING:
    import asyncio
    import threading
    from types import CodeType, ModuleType

    from stead.monitor.context import Frame
    from stead.monitor.covering import Cover
    from stead.monitor.guard import Guard
    from stead.monitor.holding import Hold, SharedHold
    from stead.monitor.passing import Pass
    from stead.monitor.ports import Entered, Standing, Subject

Hook: TypeAlias = Callable[[str, tuple[Any, ...]], None]
_Block = TypeVar("_Block", bound="PureDoor")

_OURS: Final = __name__.partition(".")[0] + "."
_NOBODYS: Final = frozenset({"contextlib", _OURS[:-1]})


class FrameKind(Enum):
    """What a frame makes of its thread."""

    HANDLER = "a server's handler, which is nobody until it says who"
    CLIENT = "the client"
    SERVER = "the server, on purpose"


class Place(list["Frame"]):
    """One thread, by the clients' blocks that are open on it, whatever its context.

    It stands for the thread: another thread has another, and its number is not used
    again.

    Attributes:
        thread: the thread.
        kernels: the blocks that made the kernel follow, and whatever is inside them.
        passes: on which blocks are entered here again (`stead.monitor.passing`).
    """

    __slots__ = ("kernels", "passes", "thread")

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self.thread = thread
        self.kernels: list[Frame] = []
        self.passes: list[Pass] = []


class Grip:
    """What a `with` statement holds while it is at work; it is never handed on."""

    __slots__ = ("__weakref__",)


class PureExit:
    """`Block.__exit__`: the `with` statement is handed it together with the grip.

    A `with` statement looks up `__exit__` before it calls `__enter__`, and drops what
    it got when it has ended, however it ended. Python may raise KeyboardInterrupt
    before the first line of any function, this one's too. So what is in force does not
    hang on whether that line ran, but on the grip, which only the statement holds.
    """

    def __get__(
        self, block: PureDoor | None, owner: type[PureDoor]
    ) -> Callable[..., None]:
        if block is None:
            return owner.leave
        leave, grip = partial(owner.leave, block), Grip()
        vars(leave)["grip"] = grip  # held, and never passed on to the call
        if block._frame is None:  # noqa: SLF001 - it is a part of the block
            # The last one counts: others look it up for other reasons.
            block._grip = ref(grip)  # noqa: SLF001 - likewise
        return leave


class PureFields:
    """What is known of one entered identity.

    Attributes:
        kind: what it makes of the thread.
        subject: the client, for a CLIENT frame; for a SERVER one its own token's copy,
            or None for the token itself.
        guard: the server's guard, or None for a bare token outside any server.
        outer: the frame around this one.
        place: the thread that entered it.
        task: the asyncio task that entered it, or None.
        grip: lives as long as the `with` statement that entered it; None if something
            else did.
        at: file and line that entered it, if they were given.
        code: else the code that did.
        last: and how far it was.
        process: the process that entered it; a fork copies everything else.
        is_kernel: whether the kernel judges this thread as the client.
        is_closed: left, wherever that happened; it makes nobody anything any more.
        is_left: left on the thread that entered it, whose identity it is no more.
        look: refuses a path that must not be opened, where the kernel judges.
        revert: how `revert_to_self` leaves it; None for a block's frame.
    """

    __slots__ = (
        "__weakref__", "at", "code", "grip", "guard", "is_closed", "is_kernel",
        "is_left", "kind", "last", "look", "outer", "place", "process", "revert",
        "subject", "task",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - all that is known
        self,
        *,
        kind: FrameKind,
        subject: Subject | None,
        guard: Guard | None,
        outer: Frame | None,
        place: Place,
        task: asyncio.Task[object] | None,
        grip: ref[Any] | None,
        at: str,
        code: CodeType | None,
        last: int,
    ) -> None:
        self.kind = kind
        self.subject = subject
        self.guard = guard
        self.outer = outer
        self.place = place
        self.task = task
        self.grip = grip
        self.at = at
        self.code = code
        self.last = last
        self.process = os.getpid()
        self.is_kernel = False
        self.is_closed = False
        self.is_left = False
        self.look: Callable[[object], None] | None = None
        self.revert: Callable[[], None] | None = None


class PureDoor:
    """A block, as far as the plain way through it goes.

    In C, a client's block outside any server is entered and left by one call each, if
    all is in order; whatever else it finds, it calls what stands in Python.
    """

    __slots__ = (
        "_at", "_entered", "_frame", "_grip", "_guard", "_hold", "_is_announced",
        "_is_told", "_keep", "_kind", "_pass", "_subject",
    )  # fmt: skip

    def __init__(
        self,
        kind: FrameKind,
        subject: Subject | None,
        guard: Guard | None,
        *,
        keep: object = None,
        at: str = "",
    ) -> None:
        self._kind = kind
        self._subject = subject
        self._guard = guard
        self._keep = keep  # whose session must live as long as the block does
        self._at = at  # what records and errors name, if not who enters it
        self._entered: Entered | None = None
        self._frame: Frame | None = None
        self._grip: ref[Any] | None = None
        self._is_announced = False
        self._is_told = False
        self._hold: Hold | SharedHold | None = None
        self._pass: Pass | None = None

    __exit__ = PureExit()

    def __enter__(self) -> Self:
        self._enter()
        return self

    def _enter(self) -> Self:
        raise NotImplementedError

    def leave(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: object = None,
    ) -> None:
        """Leave it."""
        raise NotImplementedError

    def _forgotten(self) -> None:
        raise NotImplementedError

    def __del__(self) -> None:
        try:
            is_told = self._is_told or self._frame is None
            matters = not is_told or self._hold is not None
        except AttributeError:
            return  # nor could it be made
        if matters:
            self._forgotten()


def pure_made(
    block: type[_Block],
    kind: FrameKind,
    subject: Subject | None,
    guard: Guard | None,
    keep: object,
    /,
) -> _Block:
    """Return a new block of a type that has no way of its own to be made."""
    return block(kind, subject, guard, keep=keep)


class PurePassFields:
    """What is looked at of a pass when a block is entered (`stead.monitor.passing`).

    In C, a pass that is good is entered and left by one call each; a pass that is not,
    and whatever goes wrong, is what stands in Python.

    Attributes:
        cover: the operation.
        subject: the client.
        guard: the server's guard.
        at: file and line, if they were given.
        code: else the code that enters its blocks.
        last: and how far it is.
        hold: keeps the session as long as the operation or a block is at work.
        is_kernel: whether the kernel follows.
        look: as of a frame.
        entered: how many blocks were entered on it.
        left: how many of these were left in order.
    """

    __slots__ = (
        "_again", "_is_well", "_standing", "_until", "at", "code", "cover", "entered",
        "guard", "hold", "is_kernel", "last", "left", "look", "subject",
    )  # fmt: skip

    cover: Cover
    subject: Subject
    guard: Guard
    at: str
    code: CodeType | None
    last: int
    hold: SharedHold | None
    is_kernel: bool
    look: Callable[[object], None] | None
    entered: int
    left: int
    _again: Callable[[], Entered]
    _standing: Standing
    _is_well: Callable[[], bool]
    _until: int

    def enter(self) -> Entered | None:
        """Count one more block and have the kernel follow, if nothing has changed.

        Returns:
            what gives the identity back; None if everything is to be asked again: then
            those before are told of.

        Raises:
            ImpersonationRefusedError: the kernel cannot become the client; recorded.
        """
        return self._enter()

    def leave(self) -> None:
        """Count one that was left in order."""
        self._leave()

    def _enter(self) -> Entered | None:
        raise NotImplementedError

    def _leave(self) -> None:
        raise NotImplementedError


class PureStandingFields:
    """What is known of how a session stands (`stead.authority.standing`).

    Attributes:
        session: has `lease_ends` and `over`, in nanoseconds that never step.
        clock: nanoseconds since the epoch, UTC.
        monotonic: nanoseconds that never step.
    """

    __slots__ = ("clock", "monotonic", "session")

    def __init__(
        self, session: Any, clock: Callable[[], int], monotonic: Callable[[], int]
    ) -> None:
        self.session = session
        self.clock = clock
        self.monotonic = monotonic

    def good_at(self) -> int:
        """Return this moment if the session is believed now; 0 if it must be asked.

        The moment is in nanoseconds that never step. Nothing is asked of the store.
        """
        return self._good_at()

    def _good_at(self) -> int:
        raise NotImplementedError


def pure_spot() -> tuple[CodeType, int]:
    """Return the nearest code outside Stead that calls this, and how far it is.

    Its line is worked out when somebody asks for it (`where`).
    """
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to name the caller cheaply
    while frame.f_back is not None and (
        (name := frame.f_globals.get("__name__", "")).startswith(_OURS)
        or name in _NOBODYS
    ):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def where(code: CodeType | None, last: int) -> str:
    """Return file and line of a spot."""
    if code is None:
        return ""
    for begin, end, line in code.co_lines():
        if begin <= last < end and line is not None:
            return f"{code.co_filename}:{line}"
    return f"{code.co_filename}:{code.co_firstlineno}"


def pure_add_hook(events: frozenset[str], told: Hook) -> None:  # noqa: ARG001 - the twin's
    """Add an audit hook that has `told` told of these events, or of all.

    While a hook runs Python code, for whatever event, no other thread can set a trace
    function or be born with one (CPython 3.11). The twin's runs it for these alone.
    """
    sys.addaudithook(told)


def load(name: str = "stead.monitor._frames") -> ModuleType | None:
    """Return the twin, or None if it was not built."""
    try:
        return import_module(name)
    except ImportError:
        return None


TWIN: Final = load()

if TYPE_CHECKING:
    Door = PureDoor
    Exit = PureExit
    Fields = PureFields
    PassFields = PurePassFields
    StandingFields = PureStandingFields
    add_hook = pure_add_hook
    made = pure_made
    process = os.getpid
    spot = pure_spot
else:
    Door = getattr(TWIN, "Door", PureDoor)
    Exit = getattr(TWIN, "Exit", PureExit)
    Fields = getattr(TWIN, "Fields", PureFields)
    PassFields = getattr(TWIN, "PassFields", PurePassFields)
    StandingFields = getattr(TWIN, "StandingFields", PureStandingFields)
    add_hook = getattr(TWIN, "add_hook", pure_add_hook)
    made = getattr(TWIN, "made", pure_made)
    process = getattr(TWIN, "process", os.getpid)
    spot = getattr(TWIN, "spot", pure_spot)
