"""The name under which another process finds a function.

A worker imports what it runs, by name, as the client. So only what a module holds under
its own name can be run there, and this is checked before anything is sent.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stead.errors import InvalidRequestError

_MAIN = "__main__"


@dataclass(frozen=True, slots=True)
class ImportableName:
    """Where a function is found.

    Attributes:
        module: to be imported.
        qualname: in that module, with dots through classes.
        is_main: whether the module is the program that runs here.
    """

    module: str
    qualname: str
    is_main: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname}"


def name_of(function: Callable[..., object]) -> ImportableName:
    """Return the name of a function that another process can import.

    It is a module's function or class, a static or class method of a module's class, or
    a built-in function. The name is looked up here: it must lead to the very same.

    Raises:
        InvalidRequestError: it is a lambda, a local function, a bound method of an
            instance, or anything else without such a name.
    """
    owner = getattr(function, "__self__", None)
    holder = owner if isinstance(owner, type) else function
    module = getattr(holder, "__module__", None)
    qualname = getattr(holder, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise _refusal(function, "it has no name in a module")
    if holder is owner:
        qualname = f"{qualname}.{function.__name__}"
    if "<" in qualname:
        raise _refusal(function, "a lambda or local function has no importable name")
    if _found(module, qualname) != function:
        raise _refusal(function, "its name leads to something else than this")
    if module == _MAIN:
        return ImportableName(_main_module(function), qualname, is_main=True)
    return ImportableName(module, qualname)


def resolve(module: str, qualname: str) -> Any:
    """Return what a module holds under a name, importing it.

    Raises:
        ImportError, AttributeError: it holds nothing; or whatever the module raises.
    """
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _found(module: str, qualname: str) -> object:
    """Return what this process has under a name; None if nothing."""
    try:
        # Nothing is imported: who asks may be in a block, and the function exists.
        found: object = sys.modules[module]
        for part in qualname.split("."):
            found = getattr(found, part)
    except (AttributeError, KeyError):
        return None
    return found


def _main_module(function: Callable[..., object]) -> str:
    """Return the name of the running program, if ``python -m`` knows one."""
    spec = getattr(sys.modules[_MAIN], "__spec__", None)
    if spec is None:
        raise _refusal(function, "a script has no name to import it by")
    name: str = spec.name
    return name


def _refusal(function: object, why: str) -> InvalidRequestError:
    shown = getattr(function, "__qualname__", None) or type(function).__qualname__
    return InvalidRequestError(
        f"`{shown}` cannot run in a client's worker: {why}",
        advice="put a plain function into a module that can be imported, and pass "
        "what it needs as arguments",
    )
