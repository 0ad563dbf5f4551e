"""`stead`: the verbs, one module for each family.

Exit status: 0 done, 1 refused or failed, 2 usage.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

try:
    import typer

    from stead.cli import (
        account,
        account_times,
        asking,
        audit_archive,
        audit_asking,
        audit_export,
        audit_policy,
        audit_verify,
        broker,
        dde,
        demo,
        group,
        judging,
        names,
        offline,
        privilege,
        sddl,
        serving,
        session,
        witness,
    )
except ModuleNotFoundError as missing:
    if (missing.name or "stead").partition(".")[0] == "stead":
        raise  # a mistake of ours, and no extra
    # An extra is not installed: say so instead of a traceback.
    sys.exit(
        f"stead: the command line needs `{missing.name}`: pip install 'stead[all]'"
    )

app = typer.Typer(
    name="stead",
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


app.command("demo")(demo.demo)
app.command("serve")(serving.serve)
app.command("broker")(broker.broker)
app.command("whoami")(asking.whoami)
account_times.join(account.account)
app.add_typer(account.account, name="account")
app.add_typer(group.group, name="group")
app.add_typer(privilege.privilege, name="privilege")
app.add_typer(session.session, name="session")
app.command("name")(names.name)
app.command("check")(judging.check)
app.command("effective")(judging.effective)
app.command("who-can")(judging.who_can)
app.command("what-can")(judging.what_can)
app.command("judge")(offline.judge)
app.command("sddl")(sddl.sddl)
audit_verify.register(asking.audit)
audit_archive.register(asking.audit)
audit_export.add_to(asking.audit)
asking.audit.add_typer(audit_policy.policy, name="policy")
asking.audit.add_typer(audit_policy.global_sacl, name="global-sacl")
asking.audit.add_typer(audit_policy.sacl, name="sacl")
audit_asking.add_to(asking.audit)
app.add_typer(asking.audit, name="audit")
app.add_typer(witness.witness, name="witness")
app.add_typer(dde.dde, name="dde")
app.command("doctor")(asking.doctor)


def main() -> None:
    """Run the verb that the command line names."""
    app()
