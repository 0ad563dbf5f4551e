"""docs/trail.md says of every event what the code says."""

from __future__ import annotations

from pathlib import Path

from stead.model.audit_policy import LOSABLE, OPTIONAL, subcategory_of
from stead.model.audit_record import AuditEvent

PAGE = Path(__file__).resolve().parents[2] / "docs" / "trail.md"


def test_the_table_has_every_event_with_its_number_and_what_the_policy_may_do():
    rows = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[1].isdigit():
            rows[cells[0].strip("`")] = cells[1:]
    assert {event.name for event in AuditEvent} == set(rows)
    for event in AuditEvent:
        number, subcategory, when, _, left_out, lost = rows[event.name]
        assert (str(int(event)), subcategory_of(event).value) == (number, subcategory)
        assert when
        assert (event in OPTIONAL, event in LOSABLE) == (bool(left_out), bool(lost))
