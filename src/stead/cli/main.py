"""`stead`: the verbs, one module for each family.

Exit status: 0 done, 1 refused or failed, 2 usage.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

try:
    import typer
except ModuleNotFoundError:
    sys.exit("stead: the command line needs `typer`: pip install 'stead[all]'")

from stead.cli.families import Family

app = typer.Typer(
    name="stead",
    cls=Family,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:  # noqa: FBT001 - as typer hands it over
    if asked:
        typer.echo(f"stead {version('stead')}")
        raise typer.Exit


@app.callback()
def _stead(
    *,
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which this is."
        ),
    ] = False,
) -> None:
    """Act in a client's stead: serve, ask, administer, read the trail."""


def main() -> None:
    """Run the verb that the command line names."""
    app()
