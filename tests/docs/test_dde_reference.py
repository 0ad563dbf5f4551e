"""docs/dde.md says what the code does: its tables, its messages, its limits."""

import importlib.util
import re
from pathlib import Path

import msgspec
import pytest

from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import Message

TEXT = (Path(__file__).parents[2] / "docs" / "dde.md").read_text()
_SPEC = importlib.util.spec_from_file_location(
    "stead_dde_tables", Path(__file__).with_name("dde_tables.py")
)
dde_tables = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(dde_tables)


def test_the_tables_are_drawn_as_the_code_has_them():
    """`python tests/docs/dde_tables.py` prints what belongs between the marks."""
    drawn = TEXT.partition(dde_tables.BEGIN)[2].partition(dde_tables.END)[0]
    assert list(dde_tables.lines()) == drawn.strip("\n").split("\n")


@pytest.mark.parametrize("kind", Message.__args__)
def test_every_message_is_described_with_all_its_fields(kind):
    tag = kind.__struct_config__.tag
    [row] = [row for row in TEXT.splitlines() if row.startswith(f"| `{tag}` |")]
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    described = set(re.findall(r"`([a-z_]+)`", row.split("|")[2]))
    assert names == described


def test_the_limits_are_those_of_the_code():
    limits = DdeLimits()
    for name in ("conversations", "advises", "transactions"):
        assert f"{getattr(limits, name)} {name}" in TEXT
    assert f"{limits.ack_seconds:g} seconds" in TEXT
