"""The parts in C of this room: there where they were built, and can run."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final


def load(name: str) -> ModuleType | None:
    """Return a twin, or None where Python has to do without."""
    try:
        return import_module(name)
    except ImportError:
        return None


SEALING: Final = load("stead.ledger._sealing")
"""Hashes what the chain and the tree hash for each record; needs OpenSSL 3."""
