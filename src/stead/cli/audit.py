"""`stead audit`: what the trail is asked, what is recorded, and what is kept of it."""

from __future__ import annotations

from typing import Final

import typer

from stead.cli import (
    audit_archive,
    audit_asking,
    audit_export,
    audit_policy,
    audit_verify,
)


def _whole() -> typer.Typer:
    group = typer.Typer(help="The audit trail.", no_args_is_help=True)
    audit_verify.register(group)
    audit_archive.register(group)
    audit_export.add_to(group)
    group.add_typer(audit_policy.policy, name="policy")
    group.add_typer(audit_policy.global_sacl, name="global-sacl")
    group.add_typer(audit_policy.sacl, name="sacl")
    audit_asking.add_to(group)
    return group


audit: Final = _whole()
