"""Write the examples of docs/export.md anew: one refused record in every form.

usage: export_examples.py
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from google.protobuf.json_format import MessageToJson

from stead.adapters.sinks.otlp_form import logs_request
from stead.ledger.export_json import json_line
from stead.ledger.export_linux_audit import linux_audit_message
from stead.ledger.export_ocsf import ocsf_event
from stead.ledger.export_syslog import syslog_messages
from stead.ledger.export_windows import windows_xml
from stead.ledger.exporting import Numbered, Origin
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.luid import Luid
from stead.model.sid import Sid

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
ORIGIN = Origin("files.example", "S-1-5-21-1-2-3", "0.1.0")
SERVER = Principal(Sid.from_string("S-1-5-80-1-2-3-4-5"), "notes", Luid(0x3E7))
ALICE = Principal(Sid.from_string("S-1-5-21-1-2-3-1001"), "alice", Luid(0x1_0000))
RECORD = AuditRecord(
    event=AuditEvent.HANDLE_REQUESTED,
    outcome=Outcome.FAILURE,
    time=1_795_000_000_123_456_789,
    server=SERVER,
    client=ALICE,
    chain=(SERVER, ALICE),
    gate="pipe",
    peer="uid 1000 pid 42",
    correlation="9f2c 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    object_type="Doc",
    object_name="plan",
    desired=2,
    reasons=("WRITE is denied by entry 1 of the DACL, (D;;0x2;;;WD)",),
    status=5,
)
NUMBERED = Numbered(12, RECORD, bytes(range(32)))


def examples() -> dict[str, str]:
    """Return the text of each example by its name."""
    xml = re.sub(
        r"(</?(?:System|EventData)>)", r"\n\1\n", windows_xml(NUMBERED, ORIGIN)
    )
    xml = re.sub(r"(/>|</\w+>)(?=<)", r"\1\n", xml)
    return {
        "jsonl": json_line(NUMBERED, ORIGIN),
        "ocsf": json.dumps(ocsf_event(NUMBERED, ORIGIN), indent=1),
        "windows-xml": re.sub(r"\n+", "\n", xml),
        "syslog": syslog_messages(NUMBERED, ORIGIN)[0].decode(),
        "otlp": MessageToJson(logs_request([NUMBERED], ORIGIN), indent=1),
        "linux-audit": linux_audit_message(NUMBERED, ORIGIN).decode(),
    }


def with_examples(page: str) -> str:
    """Return the page with every example as it is now."""
    for name, text in examples().items():
        block = re.compile(
            rf"(<!-- example: {name} -->\n```\w*\n).*?(\n```)", re.DOTALL
        )
        page, count = block.subn(lambda m, t=text: f"{m[1]}{t}{m[2]}", page)
        if count != 1:
            sys.exit(f"docs/export.md has {count} places for `{name}`")
    return page


if __name__ == "__main__":
    PAGE.write_text(with_examples(PAGE.read_text("utf-8")), "utf-8")
