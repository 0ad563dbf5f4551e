"""`stead judge`: one access check over a descriptor and a token, with its reasons.

It needs no server and no store, and records nothing: the token is what somebody wrote
down, so the answer is what the judge would say of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Annotated, Any, Final

import typer

from stead.cli.descriptor_words import name_of
from stead.cli.output import REFUSED, JsonFlag, errors_are_lines, read_text, show
from stead.cli.reasons import explained
from stead.cli.right_names import (
    RightsKind,
    mapping_of_kind,
    mask_of_names,
    meaningful_rights,
    names_of_rights,
    spell_rights,
)
from stead.cli.sddl import fail_at, read_descriptor
from stead.cli.token_json import read_policies, read_token
from stead.codec.sid_text import read_sid
from stead.decision.access_check import decide
from stead.decision.effective import effective_rights
from stead.decision.explain import ExplainedReason, sentence
from stead.decision.explain import explain as explain_all
from stead.errors import InvalidRequestError, InvalidSddlError
from stead.model.access_mask import format_mask
from stead.model.decision import (
    AccessDecision,
    AccessQuestion,
    Intent,
    ObjectType,
    Reason,
)
from stead.model.guid import Guid
from stead.model.sid import Sid

_STDIN: Final = "-"


class Purpose(Enum):
    """What rights are asked for, where a privilege then grants some."""

    BACKUP = "backup"
    RESTORE = "restore"


Descriptor = Annotated[
    str, typer.Argument(help="SDDL, hexadecimal or base64; - reads it from stdin.")
]
WantedRights = Annotated[
    list[str] | None,
    typer.Argument(help="Rights by name or as 0x...; none lists what there is."),
]
Token = Annotated[str, typer.Option(help="Who asks: a file of JSON, or - for stdin.")]
Kind = Annotated[
    RightsKind, typer.Option(help="The object: file, key, ds, token or none.")
]
Domain = Annotated[
    str | None, typer.Option(help="The SID of the domain of aliases such as DA.")
]
SelfSid = Annotated[str | None, typer.Option(help="Whom PRINCIPAL_SELF stands for.")]
Parts = Annotated[
    list[str] | None,
    typer.Option(help="LEVEL:GUID of a part, from 0:GUID on; may be repeated."),
]
Purposes = Annotated[
    list[Purpose] | None,
    typer.Option(help="For backup or restore; may be repeated."),
]
Policies = Annotated[
    str | None, typer.Option(help="Central access policies: a file of JSON.")
]
ExplainFlag = Annotated[bool, typer.Option("--explain", help="Say why.")]


def judge(  # noqa: PLR0913 - a question has that many sides
    descriptor: Descriptor,
    rights: WantedRights = None,
    *,
    token: Token,
    kind: Kind = RightsKind.FILE,
    domain: Domain = None,
    self_sid: SelfSid = None,
    object_type: Parts = None,
    intent: Purposes = None,
    policies: Policies = None,
    explain: ExplainFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Judge a token written in JSON against a descriptor; status 1 if it may not.

    Nothing is asked of a server or a store, and nothing is recorded.

    The token is an object with `user`, a SID. What else is so stands beside it:
    `groups`, `device_groups`, `capabilities`: SIDs, or objects with `sid`,
    `enabled`, `deny_only`, `mandatory`, `owner`. `restricted`: SIDs.
    `privileges`: names, or objects with `name` and `enabled`. `user_claims`,
    `device_claims`, `local_claims`: objects with `name`, `type` (int64, uint64,
    string, sid, boolean, octets), `values`, `flags` (case_sensitive, disabled,
    deny_only). `owner`, `primary_group`, `integrity`, `package`, `trust`: a SID.
    `default_dacl`: SDDL. `type`, `level`, `mandatory_policy`: by name.
    `user_deny_only`, `write_restricted`: true or false.

    Policies are an object of lists: a policy's SID, and its rules with `dacl`,
    `applies_to`, `staged_dacl` and `name`.
    """
    if explain and not rights:
        raise typer.BadParameter("`--explain` needs the rights to be explained")
    with errors_are_lines():
        try:
            within = None if domain is None else Sid.from_string(domain)
            question = AccessQuestion(
                read_descriptor(
                    read_text(_STDIN) if descriptor == _STDIN else descriptor, within
                ),
                read_token(read_text(token), within),
                mask_of_names(rights or (), kind),
                mapping_of_kind(kind),
                tuple(map(_object_type, object_type or ())),
                None if self_sid is None else read_sid(self_sid, domain=within),
                _intent(intent or ()),
                () if policies is None else read_policies(read_text(policies), within),
            )
        except InvalidSddlError as error:
            fail_at(error)
        data = _judged(question, kind, within) if rights else _effective(question, kind)
    _tell(data, explain=explain, as_json=as_json)


def _tell(data: dict[str, Any], *, explain: bool, as_json: bool) -> None:
    """Print an answer, with its reasons if they are asked for; refused is status 1."""
    lines = data.pop("lines")
    if not explain:
        data.pop("reasons", None)
    show(data, as_json=as_json, lines=lambda: lines if explain else lines[:1])
    if not data.get("allowed", True):
        raise typer.Exit(REFUSED)


def _effective(question: AccessQuestion, kind: RightsKind) -> dict[str, Any]:
    """Return every right that is granted if it alone is asked for."""
    if question.object_types or question.intent:
        raise InvalidRequestError(
            "name the rights that object types or purpose are for"
        )
    granted = effective_rights(
        question.token,
        question.descriptor,
        question.mapping,
        policies=question.policies,
        self_sid=question.self_sid,
    )
    granted &= meaningful_rights(kind)
    rights = spell_rights(granted, kind)
    return {
        "granted": format_mask(granted),
        "rights": rights,
        "lines": [f"granted: {rights}"],
    }


def _judged(
    question: AccessQuestion, kind: RightsKind, domain: Sid | None
) -> dict[str, Any]:
    """Return the decision, its reasons, and what staged policies would change."""
    decision = decide(question)
    asked = spell_rights(question.desired, kind)
    granted = spell_rights(decision.granted, kind)
    reasons = [_explained(reason, kind, domain) for reason in explain_all(decision)]
    lines = [f"{asked}: {f'granted {granted}' if decision else 'refused'}"]
    lines += [line for reason in reasons for line in reason.lines()]
    lines += [line for line, _ in _parts(decision, kind)]
    lines += [line for line, _ in _staged(decision, kind)]
    return {
        "allowed": decision.allowed,
        "asked": asked,
        "granted": format_mask(decision.granted),
        "rights": granted,
        "privileges_used": [used.value for used in decision.privileges_used],
        "object_results": [data for _, data in _parts(decision, kind)],
        "staged": [data for _, data in _staged(decision, kind)],
        "reasons": [explained(reason) for reason in reasons],
        "lines": lines,
    }


def _explained(reason: Reason, kind: RightsKind, domain: Sid | None) -> ExplainedReason:
    """Say one reason, and what else made it so, without anybody's memberships."""
    return ExplainedReason(
        reason,
        sentence(
            reason,
            names=lambda sid: name_of(sid, domain) or str(sid),
            rights=names_of_rights(kind),
        ),
        (),
        tuple(_explained(also, kind, domain) for also in reason.also),
    )


def _parts(
    decision: AccessDecision, kind: RightsKind
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the answer about each object type, as a line and as data."""
    pairs = zip(decision.question.object_types, decision.object_results, strict=True)
    for part, result in pairs:
        rights = spell_rights(result.granted, kind)
        verdict = f"granted {rights}" if result else "refused"
        yield (
            f"  {'  ' * part.level}{part.guid}: {verdict}",
            {
                "level": part.level,
                "guid": str(part.guid),
                "allowed": result.allowed,
                "granted": format_mask(result.granted),
            },
        )


def _staged(
    decision: AccessDecision, kind: RightsKind
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what staged policies would answer differently, as a line and as data."""
    for one in decision.staged:
        now, then = (spell_rights(mask, kind) for mask in (one.effective, one.staged))
        name = f" (rule `{one.rule.name}`)" if one.rule.name else ""
        yield (
            f"  staged in {one.policy}{name}: would grant {then}, grants {now}",
            {
                "policy": str(one.policy),
                "rule": one.rule.name,
                "effective": format_mask(one.effective),
                "staged": format_mask(one.staged),
            },
        )


# --- what is typed --------------------------------------------------------------------


def _object_type(text: str) -> ObjectType:
    level, separator, guid = text.partition(":")
    if not separator or not (level.isascii() and level.isdigit() and len(level) == 1):
        raise InvalidRequestError(
            f"`{text[:80]}` is no object type", advice="write 0:GUID, 1:GUID, ..."
        )
    return ObjectType(int(level), Guid.from_string(guid))


def _intent(purposes: Iterable[Purpose]) -> Intent:
    intent = Intent.NONE
    for purpose in purposes:
        intent |= Intent[purpose.name]
    return intent
