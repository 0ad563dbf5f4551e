"""Passwords as they are typed: at a terminal, or on a line of standard input."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Annotated, Final

import typer

from stead.errors import InvalidRequestError
from stead.model.secret import Secret

FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read one line instead of asking, for programs.")
]

_LONGEST_LINE: Final = 4096


def ask_old(*, stdin: bool) -> Secret:
    """Return the password there is, from a line or from whoever sits there."""
    return _line() if stdin else Secret(_asked("Old password: "))


def ask_new(*, stdin: bool) -> Secret:
    """Return a new password, from a line or from whoever sits at the terminal."""
    if stdin:
        return _line()
    told = _asked("New password: ")
    if told != getpass("Once more: "):
        raise InvalidRequestError("the two passwords differ", advice="try again")
    return Secret(told)


def _line() -> Secret:
    return Secret(sys.stdin.buffer.readline(_LONGEST_LINE).rstrip(b"\r\n"))


def _asked(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter("no terminal to ask at; use --stdin")
    return getpass(prompt)
