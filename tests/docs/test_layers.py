"""What the source says about imports, checked where import-linter cannot look."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE_ROOMS = (
    "errors",
    "model",
    "codec",
    "decision",
    "monitor",
    "authority",
    "ledger",
    "privileged",
)


def imports(path: Path) -> set[str]:
    """Top-level names of everything a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_rooms_below_the_adapters_import_the_standard_library_alone():
    modules: list[Path] = []
    for room in CORE_ROOMS:
        modules += (ROOT / "src/stead" / room).rglob("*.py")
    known = sys.stdlib_module_names | {"stead"}

    foreign = {str(path.relative_to(ROOT)): imports(path) - known for path in modules}

    assert {} == {path: names for path, names in foreign.items() if names}


def test_the_room_that_runs_as_root_loads_no_other_room_at_run_time():
    """What import-linter reads from the source holds in a live process too."""
    modules = sorted((ROOT / "src/stead/privileged").glob("*.py"))
    names = [f"stead.privileged.{path.stem}" for path in modules]
    program = (
        "import importlib, json, sys\n"
        f"for name in {[n.removesuffix('.__init__') for n in names]!r}:\n"
        "    importlib.import_module(name)\n"
        "print(json.dumps([n for n in sys.modules if n.startswith('stead.')]))"
    )

    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    rooms = {name.split(".")[1] for name in json.loads(out.stdout)}
    assert rooms <= {"errors", "model", "privileged"}
