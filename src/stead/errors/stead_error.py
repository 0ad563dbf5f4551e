"""The root of every error, and what it tells to whom."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["SteadError"]


class SteadError(Exception):
    """The root of every error Stead raises.

    Attributes:
        status: the Win32 code ([MS-ERREF] 2.2), an int.
        win32_name: that code's name, for output and grep.
        public: the one sentence that a client may be told.
        advice: what the operator can do about it; empty if there is nothing to say.
        record: the number of the audit record that holds the reason, or None.
    """

    __module__ = "stead.errors"

    status: ClassVar[int] = 87
    win32_name: ClassVar[str] = "ERROR_INVALID_PARAMETER"
    public: ClassVar[str] = "the request is not valid"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice
        self.record: int | None = None
        if advice:
            self.add_note(f"what to do: {advice}")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Tracebacks, logs and pickles name the room, whichever of its files has it.
        if cls.__module__.startswith("stead.errors."):
            cls.__module__ = "stead.errors"
