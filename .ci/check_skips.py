"""Fail if a test was skipped that the list does not name, or if no test ran.

usage: check_skips.py ALLOWED_SKIPS JUNIT_XML...

A line of the list is `module::test: reason`, as this program prints it.
Blank lines and lines that begin with `#` are comments.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def skips(report: ET.Element) -> list[str]:
    """List what was skipped, an expected failure included, with its reason."""
    found = []
    for case in report.iter("testcase"):
        for skipped in case.iter("skipped"):
            name = f"{case.get('classname')}::{case.get('name')}"
            found.append(f"{name}: {skipped.get('message')}")
    return found


def allowed(path: Path) -> frozenset[str]:
    """Read the list of skips that are known and reasoned."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def main(arguments: list[str]) -> int:
    """Compare the reports with the list and print every difference."""
    permitted, total, found = allowed(Path(arguments[0])), 0, list[str]()
    for junit in map(Path, arguments[1:]):
        if not junit.exists():
            print(f"no report at `{junit}`: the tests did not run")
            return 1
        report = ET.parse(junit).getroot()  # noqa: S314  # pytest wrote it a minute ago
        total += len(list(report.iter("testcase")))
        found += skips(report)
    unlisted = [skip for skip in found if skip not in permitted]
    for skip in unlisted:
        print(f"skipped, and not in the list: {skip}")
    print(f"{total - len(found)} tests ran, {len(found)} were skipped")
    return 1 if unlisted or total == len(found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
