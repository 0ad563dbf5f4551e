"""What the documents say is so: examples run, links lead somewhere, names exist."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")
MAP_ROW = re.compile(r"^\| `\w+`[^|]* \| (`[^|]+?) \|", re.MULTILINE)


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def examples(document: Path) -> str:
    return "\n".join(EXAMPLE.findall(document.read_text("utf-8")))


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if examples(d)], ids=name_of)
def test_the_python_examples_of_a_document_run_from_top_to_bottom(document, tmp_path):
    """One fresh interpreter in an empty folder runs all of them in their order."""
    tmp_path.chmod(0o700)  # a store's folder may be written by its owner alone
    program = tmp_path / "example.py"
    program.write_text(examples(document), "utf-8")

    ran = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "") == (ran.returncode, ran.stderr)


def test_the_readme_begins_with_the_promise_and_a_program_that_is_run():
    first_screen = (ROOT / "README.md").read_text("utf-8").splitlines()[:60]

    assert "```python" in first_screen
    assert {"make demo", "make test"} <= set(first_screen)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_between_documents_leads_to_a_file(document):
    targets = LINK.findall(document.read_text("utf-8"))
    local = [target for target in targets if "://" not in target]

    missing = [target for target in local if not (document.parent / target).exists()]

    assert [] == missing


def test_every_name_of_the_win32_map_that_is_said_to_exist_does():
    rows = MAP_ROW.findall((ROOT / "docs/win32-map.md").read_text("utf-8"))
    names = [name for row in rows for name in re.findall(r"`(stead[\w.]+)", row)]

    assert len(names) > 20
    assert [] == [name for name in names if not resolves(name)]


def resolves(dotted: str) -> bool:
    """Whether the longest importable prefix has the rest as its attributes."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


def test_every_library_of_an_extra_has_its_reason_written_down():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    required = [line for extra in extras.values() for line in extra] + groups["dev"]
    libraries = {re.split(r"[\[<>=]", line)[0] for line in required} - {"stead"}
    reasons = (ROOT / "docs/dependencies.md").read_text("utf-8")

    assert set() == {name for name in libraries if f"| `{name}`" not in reasons}
    assert [] == project["project"]["dependencies"]


def test_every_decision_record_has_a_status_a_context_and_consequences():
    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    headings = {"## Context", "## Decision", "## Consequences"}

    wanting = [
        record.name
        for record in records
        if not headings <= set(record.read_text("utf-8").splitlines())
        or "Status: " not in record.read_text("utf-8")
    ]

    assert [] == wanting
    assert [f"{n + 1:04}" for n in range(len(records))] == [
        record.name[:4] for record in records
    ]


def test_every_decision_record_is_named_in_the_index():
    index = (ROOT / "docs/adr/README.md").read_text("utf-8")

    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))

    assert [] == [record.name for record in records if record.name not in index]
