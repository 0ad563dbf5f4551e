"""What a public function is handed, looked at before anything is done with it."""

import pytest

from stead.errors import InvalidRequestError
from stead.model.arguments import (
    require_callable,
    require_kind,
    require_seconds,
    require_text,
    several,
)


def test_what_is_of_the_kind_passes():
    require_kind("name", "alice", str)
    require_kind("name", None, (str, type(None)))
    require_text("name", "")


def test_what_is_not_is_named_with_what_would_be():
    with pytest.raises(InvalidRequestError, match="`port` is a `str`") as refused:
        require_kind("port", "80", int, "a port is a number")
    assert "a port is a number" == refused.value.advice
    with pytest.raises(InvalidRequestError, match="`name` is a `bytes`"):
        require_text("name", b"alice")


def test_several_come_as_a_list_whatever_held_them():
    assert [1, 2] == several("ids", (each for each in (1, 2)), int)
    assert [] == several("ids", {}, int)


@pytest.mark.parametrize("given", ["alice", b"alice", 5, None])
def test_one_is_not_several(given):
    with pytest.raises(InvalidRequestError, match="and not several"):
        several("names", given, str)


def test_one_of_another_kind_spoils_all():
    with pytest.raises(InvalidRequestError, match="`names` is a `int`"):
        several("names", ["alice", 5], str)


def test_what_cannot_be_called_is_no_function():
    require_callable("show", print)
    with pytest.raises(InvalidRequestError, match="`show` is a `str`") as refused:
        require_callable("show", "print", "a function")
    assert "a function" == refused.value.advice


@pytest.mark.parametrize("given", [0, -1, float("nan"), "5", b"5"])
def test_what_is_no_time_to_wait_is_refused(given):
    with pytest.raises(InvalidRequestError, match="`timeout` is a"):
        require_seconds("timeout", given)


@pytest.mark.parametrize("given", [None, 1, 0.5, float("inf")])
def test_a_time_to_wait_is_above_zero_or_none(given):
    require_seconds("timeout", given)
