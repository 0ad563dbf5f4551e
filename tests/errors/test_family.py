"""One room for every error, whichever of its files an error stands in."""

import importlib
import inspect
import pickle
import pkgutil
import traceback

import pytest

from stead import errors
from stead.errors import SteadError

FILES = [
    importlib.import_module(f"stead.errors.{found.name}")
    for found in pkgutil.iter_modules(errors.__path__)
]


def written_in(file):
    tree = inspect.getsource(file).splitlines()
    return {
        line.removeprefix("class ").partition("(")[0]
        for line in tree
        if line.startswith("class ")
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.__name__)
def test_each_error_of_a_file_is_had_from_the_room(file):
    assert written_in(file) == set(file.__all__) <= vars(errors).keys()


@pytest.mark.parametrize("name", [name for file in FILES for name in file.__all__])
def test_an_error_is_named_by_the_room(name):
    kind = getattr(errors, name)
    assert f"stead.errors.{name}" == f"{kind.__module__}.{kind.__qualname__}"
    assert kind is pickle.loads(pickle.dumps(kind))  # noqa: S301 -- our own bytes


def test_a_traceback_names_the_room():
    lines = traceback.format_exception_only(errors.HandleClosedError("closed"))
    assert ["stead.errors.HandleClosedError: closed\n"] == lines


def test_an_error_of_somebody_else_keeps_its_module():
    class OwnError(SteadError):
        """One that a user of Stead wrote."""

    assert __name__ == OwnError.__module__
