"""What a refused client hears: one sentence, and one number for it."""

import inspect

import pytest

from stead import errors
from stead.errors import SteadError
from stead.gates.ports import PublicRefusal, public_refusal

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SteadError)
]


def bare(kind):
    """An error of a kind, however its own constructor is called."""
    return kind.__new__(kind)


def test_errors_that_share_a_sentence_share_its_number():
    numbers = {}
    for kind in KINDS:
        refusal = public_refusal(bare(kind))
        numbers.setdefault(refusal.message, set()).add(refusal.status)
    shared = {message: found for message, found in numbers.items() if len(found) > 1}
    assert {} == shared


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_public_sentence_is_told(kind):
    error = bare(kind)
    error.args = ("the secret",)
    assert kind.public == public_refusal(error).message


def test_the_record_is_told_if_it_is_a_number():
    error = SteadError("x")
    error.record = 12
    assert PublicRefusal(87, "the request is not valid", 12) == public_refusal(error)


def test_any_other_failure_is_an_internal_one():
    assert PublicRefusal(1359, "the request failed") == public_refusal(KeyError("x"))
