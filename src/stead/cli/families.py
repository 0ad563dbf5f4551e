"""Which module has which verb: it is imported when the verb is asked for.

What asks a server imports all of it, and that takes longer than most verbs do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, MutableMapping
from functools import cache
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

_MODULES: Final = {
    "demo": "demo",
    "serve": "serving",
    "broker": "broker",
    "whoami": "asking",
    "name": "names",
    "check": "judging",
    "effective": "judging",
    "who-can": "judging",
    "what-can": "judging",
    "judge": "offline",
    "sddl": "sddl",
    "doctor": "asking",
    "account": "account",
    "group": "group",
    "privilege": "privilege",
    "session": "session",
    "audit": "audit",
    "witness": "witness",
    "dde": "dde",
}


class Family(TyperGroup):
    """The group of all verbs, none of which is there before it is asked for."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.commands = _Verbs()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as the base class
        """Return the names of the verbs."""
        return list(self.commands)


class _Verbs(MutableMapping[str, Any]):
    def __getitem__(self, verb: str) -> Any:
        if verb not in _MODULES:
            raise KeyError(verb)
        return _command(verb)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)

    def __setitem__(self, verb: str, command: Any) -> None:
        raise TypeError("verbs stand in the table above")

    def __delitem__(self, verb: str) -> None:
        raise TypeError("verbs stand in the table above")


@cache
def _command(verb: str) -> Any:
    """Return one verb, or the group of a family's.

    Raises:
        SystemExit: a library that it needs is not installed.
    """
    found: typer.Typer | Callable[..., Any] = getattr(
        _module(_MODULES[verb]), verb.replace("-", "_")
    )
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(verb)(found)
    return get_command(alone)


def _module(name: str) -> Any:
    try:
        return import_module(f"stead.cli.{name}")
    except ModuleNotFoundError as missing:
        if (missing.name or "stead").partition(".")[0] == "stead":
            raise  # a mistake of ours, and no extra
        # An extra is not installed: say so instead of a traceback.
        sys.exit(
            f"stead: the command line needs `{missing.name}`: pip install 'stead[all]'"
        )
