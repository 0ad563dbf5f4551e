"""`stead audit policy`, `global-sacl`, `sacl`: what is recorded; see docs/trail.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from stead.cli.audit_asking import event_named
from stead.cli.changing import say
from stead.cli.opening import opened
from stead.cli.output import (
    DryRunFlag,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    show,
)
from stead.codec.sddl import spelled
from stead.errors import InvalidRequestError
from stead.model.access_mask import AccessMask
from stead.model.acl import ABSENT_DACL, Acl, NoAcl
from stead.model.audit_policy import (
    AccountAuditing,
    Auditing,
    AuditPolicy,
    Subcategory,
    can_leave_out,
)
from stead.model.security_descriptor import SecurityDescriptor
from stead.server.auditing import words
from stead.server.protected_server import ProtectedServer

policy = typer.Typer(
    help="What is recorded beyond what always is.", no_args_is_help=True
)
global_sacl = typer.Typer(
    help="Audit entries for every object of a kind.", no_args_is_help=True
)
sacl = typer.Typer(help="Audit entries of one object.", no_args_is_help=True)

Which = Annotated[
    str, typer.Argument(help="A subcategory, such as 'Handle Manipulation'.")
]
Success = Annotated[
    bool | None, typer.Option("--success/--no-success", help="What was done.")
]
Failure = Annotated[
    bool | None, typer.Option("--failure/--no-failure", help="What was refused.")
]
Example = Annotated[
    str, typer.Argument(metavar="OBJECT", help="Any object of the kind.")
]
Object = Annotated[str, typer.Argument(help="The object's name.")]
Entries = Annotated[
    str,
    typer.Argument(help="A SACL in SDDL, such as 'S:(AU;SAFA;CC;;;WD)'; empty: none."),
]


@policy.command("show")
def show_policy(store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """Show what is recorded, of whom, and what of it can be left out."""
    with errors_are_lines(), opened(store) as (server, me):
        found = server.audit_policy_for(me).policy()
        data = _described(server, found)
    show(data, as_json=as_json, lines=lambda: _lines(data))


@policy.command("set")
def set_policy(
    subcategory: Which,
    store: StoreOption,
    *,
    success: Success = None,
    failure: Failure = None,
    account: Annotated[
        str | None, typer.Option(help="Of this account alone: include or exclude it.")
    ] = None,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what of a subcategory is recorded; of an account, beside everybody's.

    With --account, --success includes the account's successes, --no-success excludes
    them, and what is not named is as for everybody.
    """
    with errors_are_lines(), opened(store) as (server, me):
        which, desk = _subcategory(subcategory), server.audit_policy_for(me)
        desk.require_may_change()
        act: Callable[[], None]
        if account is None:
            before = desk.policy()
            wanted = _changed(before.of(which), success=success, failure=failure)
            done = f"{which.value}: {words(wanted)} of everybody"
            before.with_setting(which, wanted)
            act = partial(desk.set_everybody, which, wanted)
        else:
            own = _own(success=success, failure=failure)
            done = f"{which.value}: include {words(own.included)} and exclude "
            done += f"{words(own.excluded)} of {account}"
            act = partial(desk.set_account, account, which, own)
        if not dry_run:
            act()
    say({"would" if dry_run else "done": done}, as_json=as_json)


@policy.command("may-lose")
def may_lose(
    store: StoreOption,
    events: Annotated[
        list[str] | None, typer.Argument(help="Names or numbers; none for none.")
    ] = None,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Say which events may be lost, and counted, while the trail cannot be written."""
    with errors_are_lines(), opened(store) as (server, me):
        wanted = frozenset(map(event_named, events or ()))
        desk = server.audit_policy_for(me)
        desk.policy().with_losable(wanted)
        desk.require_may_change()
        if not dry_run:
            desk.set_losable(wanted)
    named = ", ".join(event.name.lower() for event in sorted(wanted)) or "nothing"
    say({"would" if dry_run else "done": f"may be lost: {named}"}, as_json=as_json)


@global_sacl.command("show")
def show_global_sacl(
    name: Example, store: StoreOption, *, as_json: JsonFlag = False
) -> None:
    """Show the audit entries for every object of the kind that an object is of."""
    with errors_are_lines(), opened(store) as (server, me):
        kind = server.find_object(name).kind
        found = _sddl(server.audit_policy_for(me).global_sacl(kind))
    show(
        {"kind": kind.name, "sacl": found},
        as_json=as_json,
        lines=lambda: [f"{kind.name}  {found or 'none'}"],
    )


@global_sacl.command("set")
def set_global_sacl(
    name: Example,
    entries: Entries,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Replace the audit entries for every object of the kind that an object is of."""
    with errors_are_lines(), opened(store) as (server, me):
        kind, aces = server.find_object(name).kind, _aces(entries)
        desk = server.audit_policy_for(me)
        if dry_run:
            desk.require_may_set_global_sacl(kind)
        else:
            desk.set_global_sacl(kind, aces)
    done = f"{len(aces)} audit entries for every {kind.name}"
    say({"would" if dry_run else "done": done}, as_json=as_json)


@sacl.command("set")
def set_sacl(
    name: Object,
    entries: Entries,
    store: StoreOption,
    *,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Replace the audit entries of one object; it takes SeSecurityPrivilege."""
    with errors_are_lines(), opened(store) as (server, me):
        aces, securable = _aces(entries), server.find_object(name)
        if dry_run:
            server.require(me, securable, AccessMask.ACCESS_SYSTEM_SECURITY)
        else:
            server.set_audit(me, securable, aces)
    done = f"{len(aces)} audit entries for {name}"
    say({"would" if dry_run else "done": done}, as_json=as_json)


def _subcategory(text: str) -> Subcategory:
    for known in Subcategory:
        if text.casefold() in {known.value.casefold(), known.name.casefold()}:
            return known
    raise InvalidRequestError(
        f"`{text[:80]}` is no subcategory",
        advice="there are " + ", ".join(known.value for known in Subcategory),
    )


def _changed(
    before: Auditing, *, success: bool | None, failure: bool | None
) -> Auditing:
    for said, flag in ((success, Auditing.SUCCESS), (failure, Auditing.FAILURE)):
        if said is not None:
            before = before | flag if said else before & ~flag
    return before


def _own(*, success: bool | None, failure: bool | None) -> AccountAuditing:
    included, excluded = Auditing.NONE, Auditing.NONE
    for said, flag in ((success, Auditing.SUCCESS), (failure, Auditing.FAILURE)):
        included |= flag if said is True else Auditing.NONE
        excluded |= flag if said is False else Auditing.NONE
    return AccountAuditing(included, excluded)


def _aces(text: str) -> tuple[Any, ...]:
    if not text.strip():
        return ()
    found = SecurityDescriptor.from_sddl(text)
    if not isinstance(found.dacl, NoAcl) or found.owner or found.group:
        raise InvalidRequestError(
            "only a SACL is set here", advice="write 'S:(AU;SAFA;CC;;;WD)'"
        )
    return found.sacl.aces if isinstance(found.sacl, Acl) else ()


def _sddl(found: Acl | None) -> str:
    if found is None:
        return ""
    return spelled(SecurityDescriptor(ABSENT_DACL, sacl=found))


def _described(server: ProtectedServer, found: AuditPolicy) -> dict[str, Any]:
    return {
        "subcategories": [
            {
                "category": sub.category.value,
                "subcategory": sub.value,
                "guid": str(sub.guid),
                "recorded": words(found.of(sub)),
                "can be left out": words(can_leave_out(sub, of_account=False)),
            }
            for sub in Subcategory
        ],
        "accounts": [
            {
                "account": server.name_of(sid),
                "sid": str(sid),
                "subcategory": sub.value,
                "included": words(own.included),
                "excluded": words(own.excluded),
            }
            for (sid, sub), own in found.accounts.items()
        ],
        "global sacls": {
            kind: _sddl(sacl) for kind, sacl in sorted(found.global_sacls.items())
        },
        "may be lost": [event.name.lower() for event in sorted(found.losable)],
    }


def _lines(data: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    category = ""
    for row in data["subcategories"]:
        if row["category"] != category:
            category = row["category"]
            lines.append(category)
        lines.append(f"  {row['subcategory']:<32}{row['recorded']}")
    lines += [
        f"{row['account']}: {row['subcategory']}: include {row['included']}, "
        f"exclude {row['excluded']}"
        for row in data["accounts"]
    ]
    lines += [f"every {kind}: {text}" for kind, text in data["global sacls"].items()]
    lost = ", ".join(data["may be lost"]) or "nothing"
    return [*lines, f"may be lost while the trail cannot be written: {lost}"]
