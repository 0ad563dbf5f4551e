"""Print docs/cli.md from the verbs themselves: their help, arguments and options.

usage: cli_reference.py > docs/cli.md
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from stead.cli.main import app

HEAD = """# The command line

`stead`, or `python -m stead`. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
`stead --version` says which one it is, `--help` what a verb takes.
What a verb asks of a store it asks as whoever runs it, and is judged and recorded like
any client.
"""


def lines() -> Iterator[str]:
    """Yield the whole document."""
    yield from HEAD.splitlines()
    for path, command in verbs("stead", get_command(app)):
        yield ""
        yield f"## `{path}`"
        yield ""
        yield from inspect.cleandoc(command.help or "").splitlines()
        yield from table(command.params)


def verbs(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield every verb that does something, with what is typed for it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    else:
        for name, one in below.items():
            yield from verbs(f"{path} {name}", one)


def table(parameters: list[Any]) -> Iterator[str]:
    """Yield the arguments and options of a verb."""
    rows = [row(parameter) for parameter in parameters if parameter.name != "help"]
    if rows:
        yield ""
        yield "| what | meaning |"
        yield "|---|---|"
        yield from rows


def row(parameter: Any) -> str:
    """Return one argument or option; `--help` itself is every verb's."""
    if parameter.param_type_name == "argument":
        what = parameter.name.upper() + ("..." if parameter.nargs != 1 else "")
        what = what if parameter.required else f"[{what}]"
    else:
        what = ", ".join(parameter.opts)
        what += "" if parameter.is_flag else f" {parameter.name.upper()}"
    notes = [getattr(parameter, "help", "") or ""]
    notes += [f"`{parameter.envvar}` names it too."] if parameter.envvar else []
    is_told = parameter.default not in (None, False, "", ()) and not parameter.required
    default = getattr(parameter.default, "value", parameter.default)
    notes += [f"Default {default}."] if is_told and not callable(default) else []
    return f"| `{what}` | {' '.join(filter(None, notes))} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
