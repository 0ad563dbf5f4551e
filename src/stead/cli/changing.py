"""Verbs that change something: what each of them takes, and says when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, Final

import typer

from stead.cli.opening import opened
from stead.cli.output import (
    DryRunFlag,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    show,
)
from stead.server.administration import Administration

Name = Annotated[str, typer.Argument(help="The account's or group's name.")]
New = Annotated[str, typer.Argument(help="The new name.")]
Member = Annotated[
    str, typer.Argument(help="A name, `uid 1000`, or a SID such as S-1-22-1-1000.")
]
Gid = Annotated[int | None, typer.Option(help="Its group for the kernel.")]


@dataclass(frozen=True, slots=True)
class Change:
    """What a verb is about to do at the account desk.

    Attributes:
        done: what is so when it is done.
        act: does it; returns False where there was nothing to do.
    """

    done: str
    act: Callable[[Administration], object]


def changes(verb: Callable[..., Change]) -> Callable[..., None]:
    """Return a verb that makes the change which a function describes.

    Beside what the function takes, the verb takes `--store`, `--dry-run` and `--json`.
    """

    @wraps(verb)
    def run(*, store: str, dry_run: bool, as_json: bool, **said: Any) -> None:
        with errors_are_lines():
            change = verb(**said)
        make(change, store, dry_run=dry_run, as_json=as_json)

    # typer learns from the signature what a verb takes, in the order of its help.
    own = signature(verb, eval_str=True).parameters.values()
    words = [one for one in own if one.kind is not Parameter.KEYWORD_ONLY]
    options = [one for one in own if one.kind is Parameter.KEYWORD_ONLY]
    told = [*words, _STORE, *options, _DRY_RUN, _AS_JSON]
    run.__signature__ = signature(run).replace(  # type: ignore[attr-defined]
        parameters=told, return_annotation=None
    )
    return run


_STORE: Final = Parameter(
    "store", Parameter.POSITIONAL_OR_KEYWORD, annotation=StoreOption
)
_DRY_RUN: Final = Parameter(
    "dry_run", Parameter.KEYWORD_ONLY, annotation=DryRunFlag, default=False
)
_AS_JSON: Final = Parameter(
    "as_json", Parameter.KEYWORD_ONLY, annotation=JsonFlag, default=False
)


def make(change: Change, store: str, *, dry_run: bool, as_json: bool) -> None:
    """Make a change for whoever runs this, or say whether they might."""
    with errors_are_lines(), opened(store) as (server, client):
        desk = server.accounts_for(client)
        if dry_run:
            desk.require_may_change()
            how = "would"
        else:
            how = "nothing" if change.act(desk) is False else "done"
    say({how: change.done}, as_json=as_json)


def say(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print what a verb did, would do, or found done already.

    Args:
        answer: what is so under `done`, `would` or `nothing`; numbers beside it.
        as_json: whether programs read it.
    """
    said = next(
        before + answer[how] for how, before in _BEFORE.items() if how in answer
    )
    show(answer, as_json=as_json, lines=lambda: [said])


_BEFORE: Final = {"done": "", "would": "would: ", "nothing": "nothing to do: "}
