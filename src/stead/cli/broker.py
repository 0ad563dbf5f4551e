"""`stead broker`: the root process by which servers need no root."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stead.cli.output import DryRunFlag
from stead.privileged.broker_config import DEFAULT_PATH


def broker(
    config: Annotated[
        Path, typer.Option(help="Its configuration, which only root may write.")
    ] = Path(DEFAULT_PATH),
    *,
    dry_run: DryRunFlag = False,
) -> None:
    """Be the broker of this machine until SIGTERM.

    It is executed as a program of its own, which loads nothing but what runs as root.
    """
    # Its own folder is none of the broker's: what is not absolute is meant here.
    arguments = ["--config", str(config.absolute()), *(["--check"] if dry_run else [])]
    command = [sys.executable, "-I", "-m", "stead.privileged.broker", *arguments]
    os.execv(sys.executable, command)  # noqa: S606  # without a shell, on purpose
