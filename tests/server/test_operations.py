from __future__ import annotations

from functools import partial

import msgspec
import pytest

from stead.errors import (
    InvalidNameError,
    InvalidRequestError,
    SteadError,
    UnknownOperationError,
)
from stead.model.privilege import Privilege
from stead.model.token import ImpersonationLevel
from stead.server.client_context import ClientContext
from stead.server.operations import Operations


class Note(msgspec.Struct):
    text: str


def write(
    client: ClientContext, line: str, at: int = 0, *, tags: list[str] | None = None
) -> None:
    """Stand for a handler."""


@pytest.fixture
def operations():
    return Operations()


@pytest.fixture
def add(operations):
    def make(handler, name="write"):
        operations.add(
            name, handler, privileges=(), level=ImpersonationLevel.IDENTIFICATION
        )
        return operations.find(name)

    return make


def test_an_operation_is_found_by_its_name(operations, add):
    assert "write" == add(write).name
    add(write, "append")
    assert ("append", "write") == operations.names()


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "a\n"])
def test_a_name_is_visible_ascii(add, name):
    with pytest.raises(InvalidNameError):
        add(write, name)


def test_a_name_is_taken_once(add):
    add(write)
    with pytest.raises(InvalidNameError, match="exists already"):
        add(write)


def test_an_unknown_operation_is_an_error(operations):
    with pytest.raises(UnknownOperationError):
        operations.find("erase")


# --- handlers ---------------------------------------------------------------------


async def asynchronous(client: ClientContext) -> None: ...


async def asynchronous_generator(client: ClientContext):
    yield


def generator(client: ClientContext):
    yield


@pytest.mark.parametrize(
    "handler",
    [
        asynchronous,
        asynchronous_generator,
        generator,
        partial(asynchronous),
    ],
    ids=["coroutine", "asynchronous_generator", "generator", "partial"],
)
def test_a_handler_that_would_run_later_is_refused(add, handler):
    with pytest.raises(SteadError, match="asynchronous or a generator"):
        add(handler)


def no_client() -> None: ...


def unannotated(client: ClientContext, line) -> None: ...


def positional(client: ClientContext, line: str, /) -> None: ...


def variable(client: ClientContext, *lines: str) -> None: ...


def named(client: ClientContext, **lines: str) -> None: ...


def ambiguous(client: ClientContext, lines: list[str] | set[str]) -> None: ...


@pytest.mark.parametrize(
    "handler", [no_client, unannotated, positional, variable, named, ambiguous]
)
def test_a_handler_whose_requests_could_not_be_checked_is_refused(add, handler):
    with pytest.raises(SteadError, match=r"takes no client|needs|cannot be checked"):
        add(handler)


# --- arguments --------------------------------------------------------------------


def test_arguments_are_bound_by_name_with_defaults(add):
    assert {"line": "x", "at": 0, "tags": None} == add(write).bind({"line": "x"})
    bound = add(write, "tagged").bind({"line": "x", "at": 7, "tags": ["a"]})
    assert {"line": "x", "at": 7, "tags": ["a"]} == bound


def test_structures_are_read_as_what_they_are(add):
    def keep(client: ClientContext, note: Note) -> None: ...

    assert {"note": Note("x")} == add(keep).bind({"note": {"text": "x"}})


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"line": 1},
        {"line": None},
        {"line": "x", "at": "7"},
        {"line": "x", "at": True},
        {"line": "x", "at": 7.5},
        {"line": "x", "more": 1},
        {"line": "x", "client": "mallory"},
        {"line": "x", "tags": [1]},
        {"line": "x", 1: 2},
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(add, arguments):
    with pytest.raises(InvalidRequestError, match="arguments of `write` do not fit"):
        add(write).bind(arguments)


def test_an_argument_nested_without_end_is_refused(add):
    def keep(client: ClientContext, tree: list) -> None: ...

    tree: list = []
    tree.append(tree)
    with pytest.raises(InvalidRequestError):
        add(keep).bind({"tree": tree, "more": tree})


def test_what_a_client_makes_up_does_not_break_a_log_line(add):
    with pytest.raises(InvalidRequestError) as refused:
        add(write).bind({"line": "x", "a\nb" + "c" * 1000: 1})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_what_an_operation_asks_of_a_client_is_kept(operations):
    operations.add(
        "archive",
        write,
        privileges=(Privilege.BACKUP,),
        level=ImpersonationLevel.IMPERSONATION,
    )
    found = operations.find("archive")
    assert ((Privilege.BACKUP,), ImpersonationLevel.IMPERSONATION) == (
        found.privileges,
        found.level,
    )


def test_a_privilege_that_is_none_is_refused_when_the_operation_is_offered(server):
    with pytest.raises(InvalidNameError, match="names a privilege that is none"):
        server.operation("archive", privileges=["SeBackupPrivilege"])(repr)
