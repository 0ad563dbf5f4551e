"""`stead check`, `effective`, `who-can`, `what-can`: who may do what, before they try.

Each is judged and recorded: see `stead.server.questions` for who may ask.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stead.cli.opening import opened
from stead.cli.output import REFUSED, JsonFlag, StoreOption, errors_are_lines, show
from stead.cli.reasons import explained
from stead.model.access_mask import format_mask
from stead.server.questions import mask_of

AccountArgument = Annotated[
    str, typer.Argument(help="An account, `uid 1000`, or a SID.")
]
ObjectArgument = Annotated[str, typer.Argument(help="The object.")]
RightsArgument = Annotated[
    list[str], typer.Argument(help="Rights, such as READ WRITE.")
]


def check(
    account: AccountArgument,
    name: ObjectArgument,
    rights: RightsArgument,
    store: StoreOption,
    *,
    explain: Annotated[bool, typer.Option("--explain", help="Say why.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say whether an account may do something now; status 1 if it may not."""
    with errors_are_lines(), opened(store) as (server, client):
        securable = server.find_object(name)
        mask = mask_of(securable.kind, rights)
        found = server.explain(client, account, securable, mask)
    lines = found.lines() if explain else found.lines()[:1]
    data: dict[str, Any] = {
        "account": found.account,
        "object": found.object_name,
        "allowed": found.allowed,
        "asked": found.asked,
    }
    if found.granted:
        data["granted"] = found.granted
    if explain:
        data["reasons"] = [explained(reason) for reason in found.reasons]
    show(data, as_json=as_json, lines=lambda: lines)
    if not found.allowed:
        raise typer.Exit(REFUSED)


def effective(
    account: AccountArgument,
    name: ObjectArgument,
    store: StoreOption,
    *,
    as_json: JsonFlag = False,
) -> None:
    """List every right that an account has to an object, from wherever it has it."""
    with errors_are_lines(), opened(store) as (server, client):
        securable = server.find_object(name)
        found = server.questions_for(client).effective(account, securable)
    data = {
        "account": found.account,
        "object": found.object_name,
        "granted": format_mask(found.granted),
        "rights": found.rights,
    }
    show(data, as_json=as_json, lines=found.lines)


def who_can(
    name: ObjectArgument,
    rights: RightsArgument,
    store: StoreOption,
    *,
    as_json: JsonFlag = False,
) -> None:
    """List the accounts that may do something with an object, and through what."""
    with errors_are_lines(), opened(store) as (server, client):
        securable = server.find_object(name)
        mask = mask_of(securable.kind, rights)
        found = server.questions_for(client).who_can(securable, mask)
    data = {
        "object": found.object_name,
        "asked": found.asked,
        "accounts": [
            {
                "account": holder.account,
                "sid": str(holder.sid),
                "granted": format_mask(holder.granted),
                "rights": holder.rights,
                "through": list(holder.through),
            }
            for holder in found.found
        ],
        "not_judged": list(found.unjudged),
    }
    show(data, as_json=as_json, lines=found.lines)


def what_can(
    account: AccountArgument,
    rights: RightsArgument,
    store: StoreOption,
    *,
    names: Annotated[
        list[str] | None, typer.Option("--object", help="Only this; may be repeated.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the objects that an account may do something with.

    Objects whose descriptors you may not read are counted, and not named.
    """
    with errors_are_lines(), opened(store) as (server, client):
        questions = server.questions_for(client)
        found = questions.what_can(account, rights, names=names or None)
    data = {
        "account": found.account,
        "asked": found.asked,
        "objects": [
            {
                "object": one.name,
                "type": one.type_name,
                "granted": format_mask(one.granted),
                "rights": one.rights,
            }
            for one in found.found
        ],
        "hidden": found.hidden,
    }
    show(data, as_json=as_json, lines=found.lines)
