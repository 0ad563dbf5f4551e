"""`stead name`: who a name, a SID, a uid or a gid is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stead.authority.name_lookup import FoundName
from stead.cli.opening import opened
from stead.cli.output import JsonFlag, StoreOption, errors_are_lines, show

Who = Annotated[
    list[str],
    typer.Argument(
        help="A name, `domain\\name`, `name@realm`, SID, `uid 1000` or `gid 100`."
    ),
]


def name(who: Who, store: StoreOption, *, as_json: JsonFlag = False) -> None:
    """Say who a name, a SID, a uid or a gid means, and for how long that counts.

    A directory that does not answer is an error, and never "nobody".
    """
    with errors_are_lines(), opened(store) as (server, _client):
        rows = [_row(server.lookup(each)) for each in who]
    show(rows, as_json=as_json, lines=lambda: [_line(row) for row in rows])


def _row(found: FoundName) -> dict[str, Any]:
    return {
        "name": str(found),
        "kind": found.kind.value,
        "sid": str(found.sid),
        "unix_id": found.unix_id,
        "account": None if found.account is None else str(found.account),
        "source": found.source,
        "seconds": found.lifetime,
    }


def _line(row: dict[str, Any]) -> str:
    word = "gid" if row["kind"] == "group" else "uid"
    number = "" if row["unix_id"] is None else f", {word} {row['unix_id']}"
    account = "" if row["account"] is None else f", account {row['account']}"
    until = "for ever" if row["seconds"] is None else f"for {row['seconds']:.0f} s"
    return (
        f"{row['name']}  {row['sid']}  {row['kind']}{number}{account} "
        f"(by {row['source']}, {until})"
    )
