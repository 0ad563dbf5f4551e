"""Print the tables of a DDE conversation, drawn and as rows, for docs/dde.md.

usage: dde_tables.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from stead.gates.dde.conversation import (
    ADVISES,
    CONVERSATIONS,
    TRANSACTIONS,
    Event,
)

BEGIN = "<!-- the tables, as tests/docs/dde_tables.py prints them -->"
END = "<!-- the end of the tables -->"
TABLES: dict[str, Mapping[tuple[Any, Event], Any]] = {
    "A conversation": CONVERSATIONS,
    "A transaction": TRANSACTIONS,
    "An advised item": ADVISES,
}


def lines() -> Iterator[str]:
    """Yield what stands between the two marks."""
    for number, (title, table) in enumerate(TABLES.items()):
        yield from [""] if number else []
        yield f"### {title}"
        yield ""
        yield "```mermaid"
        yield "stateDiagram-v2"
        yield from drawing(table)
        yield "```"
        yield ""
        yield "| while | may be said | and then |"
        yield "|---|---|---|"
        for (state, after), events in arrows(table).items():
            yield f"| {state.value} | {', '.join(events)} | {after.value} |"


def drawing(table: Mapping[tuple[Any, Event], Any]) -> Iterator[str]:
    """Yield a diagram's lines: what there is not yet, or not any more, is `[*]`."""
    for (state, after), events in arrows(table).items():
        yield f"    {place(state)} --> {place(after)}: {'<br>'.join(events)}"


def arrows(
    table: Mapping[tuple[Any, Event], Any],
) -> dict[tuple[Any, Any], list[str]]:
    """Return what leads from each state to each other one."""
    found: dict[tuple[Any, Any], list[str]] = {}
    for (state, event), after in table.items():
        found.setdefault((state, after), []).append(event.value)
    return found


def place(state: Enum) -> str:
    """Return a state's name in a diagram."""
    return "[*]" if state.name == "NONE" else str(state.name.lower())


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
