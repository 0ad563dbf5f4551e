"""Runs Starlette's and wsgidav's own tests, watched for leaked identities.

Five of wsgidav's eight modules import others that its source archive lacks; a load of
our own is beside the three that can be run.

usage: run.py [NAME ...]

The sources come from the index, pinned, into .cache/foreign; nothing of them is kept
in this repository. Threads enter and leave blocks all the while (`churn.py`). A test of
theirs that fails without the watch is left out of the comparison: what counts is that
none fails, or is said to leak, because of it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CACHE = ROOT / ".cache" / "foreign"
SECONDS = 1_200


@dataclass(frozen=True)
class Suite:
    """A library's own tests, at one version.

    Attributes:
        name: the library.
        version: the one that is run.
        needs: what its tests need beside it.
        options: what pytest is told.
        tests: where they are, in its source or here.
        is_churned: whether other threads enter and leave blocks, beside no server.
    """

    name: str
    version: str
    needs: tuple[str, ...]
    options: tuple[str, ...] = ()
    tests: tuple[str, ...] = ("tests",)
    is_churned: bool = True


SUITES = (
    Suite(
        "wsgidav",
        "4.3.3",
        ("requests", "cheroot"),
        options=("--noconftest", "-c", "/dev/null"),
        tests=(
            str(HERE / "dav_load.py"),
            *("tests/test_lock_manager.py", "tests/test_property_manager.py"),
            "tests/test_util.py",
        ),
        is_churned=False,
    ),
    Suite(
        "starlette",
        "1.0.0",
        ("httpx", "itsdangerous", "jinja2", "python-multipart", "pyyaml", "trio"),
        ("-W", "default"),
    ),
)


def main(names: list[str]) -> int:
    """Run the suites that are named, or all; return how many were disturbed."""
    return sum(disturbed(suite) for suite in SUITES if not names or suite.name in names)


def disturbed(suite: Suite) -> bool:
    """Run one suite without the watch and with it; tell whether that mattered."""
    python, folder = prepared(suite)
    bare = results(suite, python, folder, "-p", "no:stead")
    churn = ("-p", "churn") if suite.is_churned else ()
    watched = results(suite, python, folder, "-o", "stead_leaks=true", *churn)
    worse = sorted(
        name for name, failed in watched.items() if failed and not bare.get(name, True)
    )
    passed = sum(not failed for failed in watched.values())
    print(
        f"{suite.name} {suite.version}: {len(watched)} tests, {passed} passed, "
        f"{len(worse)} disturbed by the watch"
    )
    for name in worse:
        print("  disturbed:", name)
    return bool(worse) or not watched


def prepared(suite: Suite) -> tuple[Path, Path]:
    """Return an interpreter with the library and Stead, and the library's source."""
    home = CACHE / suite.name
    python = home / "venv" / "bin" / "python"
    folder = home / f"{suite.name}-{suite.version}"
    if not python.exists():
        venv.create(home / "venv", with_pip=True)
        pip(
            python,
            "install",
            "pytest>=8.3",
            "anyio",
            "--editable",
            f"{ROOT}[server]",
            *suite.needs,
        )
        pip(python, "install", f"{suite.name}=={suite.version}")
    if not folder.exists():
        pinned = f"{suite.name}=={suite.version}"
        pip(
            python, "download", "--no-deps", "--no-binary", ":all:",
            "--dest", str(home), pinned,
        )  # fmt: skip
        [archive] = home.glob(f"{suite.name}-{suite.version}.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(home, filter="data")
    return python, folder


def pip(python: Path, *arguments: str) -> None:
    """Run pip, and let it speak only of errors."""
    subprocess.run([str(python), "-m", "pip", "--quiet", *arguments], check=True)


def results(suite: Suite, python: Path, folder: Path, *options: str) -> dict[str, bool]:
    """Run the tests; return whether each failed, by name."""
    report = CACHE / suite.name / "report.xml"
    report.unlink(missing_ok=True)
    # Theirs is started in its own folder, with our `churn` on the path.
    subprocess.run(
        [
            str(python), "-m", "pytest", "-q", "--no-header",
            "-p", "no:cacheprovider", f"--junit-xml={report}", *suite.options,
            *options, *suite.tests,
        ],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HERE)},
        stdout=subprocess.DEVNULL,
        timeout=SECONDS,
        check=False,
    )  # fmt: skip
    if not report.exists():
        return {}
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - pytest has just written it
    found: dict[str, bool] = {}
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        failed = any(part.tag in {"failure", "error"} for part in case)
        found[name] = found.get(name, False) or failed
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
