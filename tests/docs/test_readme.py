"""What the documents say is so: examples run, links lead somewhere, names exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from stead.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)(?:#[^)]*)?\)")
SPOKEN = {
    "server.accounts.": "stead.server.administration.Administration.",
    "server.sessions.": "stead.server.session_desk.SessionDesk.",
    "server.trail.": "stead.server.trail.Trail.",
    "server.": "stead.ProtectedServer.",
    "client.": "stead.ClientContext.",
}
ROOMS = (
    "errors", "model", "codec", "decision", "monitor", "authority", "ledger",
    "privileged", "adapters", "gates", "server",
)  # fmt: skip
_SPEC = importlib.util.spec_from_file_location(
    "stead_cli_reference", Path(__file__).with_name("cli_reference.py")
)
cli_reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cli_reference)
MAP_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ?([^|]*?) ?\|$", re.MULTILINE)


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
        timeout=240,
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


def map_rows():
    """Return the rows of the Win32 map: their names, ours, and the note."""
    rows = MAP_ROW.findall((ROOT / "docs/win32-map.md").read_text("utf-8"))
    return [row for row in rows if row[0] not in {"Win32", "---"}]


def test_every_name_of_the_win32_map_that_is_said_to_exist_does():
    cells = [cell for row in map_rows() for cell in row[1:]]
    spans = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
    named = re.compile(r"(?:stead[ .]|server\.|client\.)[^(,]+")
    names = [match[0] for match in map(named.match, spans) if match]
    verbs = {path for path, _ in cli_reference.verbs("stead", get_command(app))}
    typed = [" ".join(n.partition(" --")[0].split()) for n in names if " " in n]
    dotted = [name for name in names if " " not in name]

    assert len(names) > 200
    assert [] == [name for name in typed if name not in verbs]
    assert [] == [name for name in dotted if not exists(name)]


def test_every_row_of_the_win32_map_says_what_there_is_or_why_not():
    for theirs, ours, note in map_rows():
        is_named = re.fullmatch(r"`[^`]+`(, `[^`]+`)*", ours) is not None
        assert is_named or ours in {"*not yet*", "*no need*"}, theirs
        assert note or ours != "*no need*", theirs


def test_the_win32_map_has_every_name_that_win32_documents_for_authorization():
    text = Path(__file__).with_name("secauthz.txt").read_text("utf-8")
    documented = {line for line in text.splitlines() if not line.startswith("#")}
    mapped = {name for row in map_rows() for name in re.findall(r"`(\w+)`", row[0])}

    assert [] == sorted(documented - mapped)


def exists(name):
    """Whether a name of the map exists; `server` and `client` stand for one of each."""
    for spoken, meant in SPOKEN.items():
        if name.startswith(spoken):
            return resolves(name.replace(spoken, meant, 1))
    return resolves(name)


def test_every_name_in_the_stories_exists():
    text = (ROOT / "docs/stories.md").read_text("utf-8")
    rooms = "|".join(ROOMS)
    names = re.findall(rf"`((?:{rooms})\.[\w.]+)`", text)

    assert len(names) > 40
    assert [] == [name for name in names if not resolves(f"stead.{name}")]


def test_the_command_line_s_document_is_what_the_verbs_say():
    """`python tests/docs/cli_reference.py > docs/cli.md` writes it anew."""
    written = (ROOT / "docs/cli.md").read_text("utf-8").splitlines()

    assert list(cli_reference.lines()) == written


def test_every_verb_explains_itself_and_its_options():
    for path, command in cli_reference.verbs("stead", get_command(app)):
        assert command.help, path
        shown = CliRunner().invoke(app, [*path.split()[1:], "--help"])
        assert 0 == shown.exit_code
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in shown.output


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


def test_every_document_is_in_the_readme_s_table():
    table = (ROOT / "README.md").read_text("utf-8").split("## The documents")[1]
    pages = sorted(page.name for page in (ROOT / "docs").glob("*.md"))
    assert pages
    assert [] == [page for page in pages if f"| [{page}](docs/{page}) |" not in table]


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
