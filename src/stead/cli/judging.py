"""`stead check`, `effective`, `who-can`, `what-can`: who may do what, before they try.

Each is judged and recorded: see `stead.server.questions` for who may ask.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stead.cli.opening import opened
from stead.cli.output import REFUSED, JsonFlag, StoreOption, errors_are_lines, show
from stead.codec.sddl import ace_to_sddl
from stead.errors import SteadError
from stead.model.access_mask import format_mask
from stead.model.ace import Ace
from stead.model.decision import Reason
from stead.server.explaining import ExplainedReason
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


def explained(found: ExplainedReason) -> dict[str, Any]:
    """Return one reason as plain data, with its words, path and further causes."""
    return {
        **reason_data(found.reason),
        "sentence": found.sentence,
        "path": list(found.path),
        "also": [explained(other) for other in found.also],
    }


def reason_data(reason: Reason) -> dict[str, Any]:
    """Return what a reason says, as plain data; what it does not say is left out."""
    rule, ace = reason.central_rule, reason.ace
    said = {
        "entry": None if reason.position is None else reason.position + 1,
        "ace": None if ace is None else _spelled(ace),
        "matched": None if reason.matched is None else str(reason.matched),
        "privilege": None if reason.privilege is None else reason.privilege.value,
        "policy": None if reason.policy is None else str(reason.policy),
        "central_rule": None if rule is None else rule.name,
    }
    return {
        "right": format_mask(reason.right),
        "granted": reason.granted,
        "rule": reason.rule.name,
        "whom": reason.whom.name,
        **{name: value for name, value in said.items() if value is not None},
        **({} if reason.is_complete else {"is_complete": False}),
    }


def _spelled(ace: Ace) -> str:
    """Spell an entry in SDDL, or name its kind where SDDL has no words for it."""
    try:
        return ace_to_sddl(ace)
    except SteadError:
        return f"type {ace.number:#04x}"
