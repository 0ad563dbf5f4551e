"""`stead audit list`, `follow`, `show` and more: questions to the trail.

Each is judged as whoever runs it, and recorded.
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from stead.cli.audit_printing import (
    Counts,
    check_lines,
    field_lines,
    print_act,
    print_begun,
    print_judged,
    print_record,
    record_data,
    speller,
    tell_next,
    touch_data,
    touch_line,
)
from stead.cli.opening import opened
from stead.cli.output import (
    REFUSED,
    JsonFlag,
    StoreOption,
    errors_are_lines,
    show,
)
from stead.errors import InvalidRequestError, UnknownObjectError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.security_descriptor import SecurityDescriptor

_LOOK_AGAIN: Final = 0.25  # seconds
_NANOSECONDS: Final = 1_000_000_000
_AGO: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

AfterOption = Annotated[int, typer.Option(help="Only later numbers.", min=0)]
LimitOption = Annotated[int, typer.Option(help="At most so many.", min=1)]
FromOption = Annotated[
    str | None,
    typer.Option("--from", help="Not before: 2026-01-31, 2026-01-31T12:00, or 2h ago."),
]
ToOption = Annotated[str | None, typer.Option("--to", help="Before; as --from.")]
ClientOption = Annotated[str | None, typer.Option(help="Name or SID.")]
ServerOption = Annotated[str | None, typer.Option(help="The server's name or SID.")]
MemberOption = Annotated[
    str | None, typer.Option(help="Client, server or between them: name or SID.")
]
ObjectOption = Annotated[str | None, typer.Option("--object", help="Exact name.")]
PrefixOption = Annotated[
    str | None, typer.Option("--object-prefix", help="How the name begins.")
]
EventOption = Annotated[
    list[str] | None, typer.Option(help="Name or number; may be repeated.")
]
CorrelationOption = Annotated[
    str | None, typer.Option(help="A request, with all below it; or its trace.")
]
SessionOption = Annotated[str | None, typer.Option(help="Logon id, such as 0x10002.")]
PeerOption = Annotated[str | None, typer.Option(help="The other end: uid 1000.")]


def add_to(audit: typer.Typer) -> None:
    """Add these verbs to `stead audit`."""
    audit.command("list")(list_records)
    audit.command("follow")(follow)
    audit.command("show")(show_record)
    audit.command("who-touched")(who_touched)
    audit.command("session")(session)
    audit.command("would-refuse")(would_refuse)
    audit.command("reindex")(reindex)


def list_records(  # noqa: PLR0913 - a question has that many sides
    store: StoreOption,
    *,
    client: ClientOption = None,
    server: ServerOption = None,
    member: MemberOption = None,
    name: ObjectOption = None,
    prefix: PrefixOption = None,
    event: EventOption = None,
    outcome: Annotated[Outcome | None, typer.Option()] = None,
    since: FromOption = None,
    until: ToOption = None,
    correlation: CorrelationOption = None,
    session: SessionOption = None,
    gate: Annotated[str | None, typer.Option(help="How the client came.")] = None,
    peer: PeerOption = None,
    after: AfterOption = 0,
    before: Annotated[int | None, typer.Option(help="Only earlier numbers.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    limit: LimitOption = 1000,
    as_json: JsonFlag = False,
) -> None:
    """List records, oldest first; JSON is one record a line.

    Where more follow, the key of the next page is said on standard error.
    """
    with errors_are_lines(), opened(store) as (host, me):
        query = Query(
            client=client,
            server=server,
            member=member,
            object_name=name,
            object_prefix=prefix,
            event=_events(event),
            outcome=outcome,
            since=_moment(since),
            until=_moment(until),
            correlation=correlation,
            session=None if session is None else _session(session),
            gate=gate,
            peer=peer,
            after=after,
            before=before,
            newest_first=newest,
            limit=limit,
        )
        last, count = 0, 0
        for last, record in host.trail_for(me).find(query):
            count += 1
            print_record(last, record, as_json=as_json)
        if count == limit:
            tell_next(last, newest=newest)


def follow(  # noqa: PLR0913 - a question has that many sides
    store: StoreOption,
    *,
    client: ClientOption = None,
    name: ObjectOption = None,
    prefix: PrefixOption = None,
    event: EventOption = None,
    outcome: Annotated[Outcome | None, typer.Option()] = None,
    session: SessionOption = None,
    after: AfterOption = 0,
    limit: Annotated[int | None, typer.Option(help="End after so many.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print records as they become durable, until Ctrl-C.

    With --after, those since that number come first.
    """
    with errors_are_lines(), opened(store) as (host, me), suppress(KeyboardInterrupt):
        query = Query(
            client=client,
            object_name=name,
            object_prefix=prefix,
            event=_events(event),
            outcome=outcome,
            session=None if session is None else _session(session),
            after=after,
            limit=limit,
        )
        trail = host.trail_for(me)
        for number, record in trail.follow(query, wait=lambda: time.sleep(_LOOK_AGAIN)):
            print_record(number, record, as_json=as_json)
            sys.stdout.flush()


def show_record(
    number: Annotated[int, typer.Argument(help="The record's number.", min=1)],
    store: StoreOption,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Show one record, a field a line."""
    with errors_are_lines(), opened(store) as (host, me):
        query = Query(after=number - 1, before=number + 1)
        found = next(host.trail_for(me).find(query), None)
        if found is None:
            raise UnknownObjectError(
                f"the trail has no record {number}",
                advice="`stead audit list --newest` shows the last ones",
            )
    data = record_data(*found)
    show(data, as_json=as_json, lines=lambda: field_lines(found[1], number))


def who_touched(
    name: Annotated[str, typer.Argument(help="The object.")],
    store: StoreOption,
    *,
    since: FromOption = None,
    until: ToOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List who did something with an object: since when, how often, with what rights.

    Of failures, the rights are those that were asked for.
    """
    with errors_are_lines(), opened(store) as (host, me):
        query = Query(object_name=name, since=_moment(since), until=_moment(until))
        found = host.trail_for(me).who_touched(query)
        spell = speller(host, name)
    data = [touch_data(touch, spell) for touch in found]
    show(data, as_json=as_json, lines=lambda: (touch_line(t, spell) for t in found))


def session(
    logon_id: Annotated[str, typer.Argument(help="Such as 0x10002.")],
    store: StoreOption,
    *,
    after: AfterOption = 0,
    limit: LimitOption = 1000,
    as_json: JsonFlag = False,
) -> None:
    """Say what a logon session did, and the sessions and processes that it began."""
    with errors_are_lines(), opened(store) as (host, me):
        number = _session(logon_id)
        told = host.trail_for(me).session(number, Query(after=after, limit=limit))
        for begun in told.begun:
            print_begun(begun, as_json=as_json)
        last, count = 0, 0
        for act in told.acts:
            last, count = act.number, count + 1
            print_act(act, as_json=as_json)
        if count == limit:
            tell_next(last, newest=False)


def would_refuse(
    name: Annotated[str, typer.Argument(help="The object.")],
    sddl: Annotated[str, typer.Argument(help="The other descriptor.")],
    store: StoreOption,
    *,
    since: FromOption = None,
    until: ToOption = None,
    client: ClientOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the recorded accesses to an object that another descriptor would refuse.

    Each is judged as the client was then: by the groups, privileges and integrity that
    the record of its logon holds. Those that nobody can judge again are listed too, and
    why.
    """
    with errors_are_lines(), opened(store) as (host, me):
        trail, securable = host.trail_for(me), host.find_object(name)
        query = Query(client=client, since=_moment(since), until=_moment(until))
        descriptor = SecurityDescriptor.from_sddl(sddl)
        counts = Counts()
        for judged in trail.would_refuse(securable, descriptor, query):
            counts.add(judged)
            if judged.is_refused or judged.unknown:
                print_judged(judged, securable.kind.spell, as_json=as_json)
    if not as_json:
        typer.echo(counts.line())


def reindex(
    store: StoreOption,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Compare it with the trail; change nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make the trail's index anew; with --check, say what it hides instead.

    Status 1 if it hides something. `stead audit verify` is about the trail itself.
    """
    with errors_are_lines(), opened(store) as (host, me):
        trail = host.trail_for(me)
        if not check:
            reached = trail.reindex()
            show(
                {"indexed": reached},
                as_json=as_json,
                lines=lambda: [f"index made anew: {reached} records"],
            )
            return
        found = trail.check_index()
    data = {
        "compared": found.entries,
        "hidden": list(found.hidden),
        "hidden_count": found.hidden_count,
        "invented": found.invented,
    }
    show(
        data,
        as_json=as_json,
        lines=lambda: check_lines(found),
    )
    if found.hidden_count:
        raise typer.Exit(REFUSED)


# --- what is asked --------------------------------------------------------------------


def _events(texts: list[str] | None) -> frozenset[AuditEvent] | None:
    return frozenset(map(event_named, texts)) if texts else None


def event_named(text: str) -> AuditEvent:
    """Return the event of a name or number; raises `InvalidRequestError`."""
    try:
        return AuditEvent(int(text)) if text.isdigit() else AuditEvent[text.upper()]
    except (KeyError, ValueError):
        known = ", ".join(event.name.lower() for event in AuditEvent)
        raise InvalidRequestError(
            f"`{text[:80]}` is no event", advice=f"there are {known}"
        ) from None


def _session(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise InvalidRequestError(
            f"`{text[:80]}` is no logon id", advice="write it as 0x10002"
        )
    return number


def _moment(text: str | None) -> int | None:
    """Return a time in nanoseconds; what names no time zone is UTC."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return time.time_ns() - int(ago[1]) * _UNITS[ago[2]] * _NANOSECONDS
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"`{text[:80]}` is no time", advice="write 2026-01-31T12:00, or 2h for ago"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
