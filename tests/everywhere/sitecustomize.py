"""Puts the programs that tests start under the law of the trail, too.

Python loads this module at its start where PYTHONPATH names its folder, which
tests/conftest.py sees to. It watches each server that such a program opens, from the
moment the program loads what servers are made of, and writes each breach into the
folder that STEAD_LAW names, where the test that started the program finds it.
"""

from __future__ import annotations

import atexit
import os
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

_FOLDER = os.environ.get("STEAD_LAW", "")
_WHERE_SERVERS_ARE_MADE = "stead.server.composition"


class _Finder:
    """Has the law stand as soon as servers could be made."""

    def find_spec(self, name, path=None, target=None):
        if name != _WHERE_SERVERS_ARE_MADE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            _follow(spec)
        return spec


def _follow(spec: ModuleSpec) -> None:
    load = spec.loader.exec_module

    def load_and_watch(module):
        load(module)
        _watch()

    spec.loader.exec_module = load_and_watch


def _watch() -> None:
    from stead.testing.law import Law

    law = Law(told=_tell)
    law.__enter__()
    # A program that is killed has told its breaches before, one by one.
    atexit.register(law.take)


def _tell(breach: str) -> None:
    path = os.path.join(_FOLDER, str(os.getpid()))  # noqa: PTH118 - others' start is short
    try:
        with open(path, "a", encoding="utf-8") as told:  # noqa: PTH123 - likewise
            told.write(f"{sys.argv[:3]}: {breach}\n")
    except OSError as error:
        print(f"a breach of the law was not told: {breach}: {error}", file=sys.stderr)


if _FOLDER:
    sys.meta_path.insert(0, _Finder())
