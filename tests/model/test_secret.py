"""Secrets: shown to nobody, copied by nothing, wiped after use."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest

from stead.errors import InvalidRequestError, SecretUsedError
from stead.model.secret import Secret

WORD = "correct horse"


class NaiveSecret:
    """What the attacks below take: a plain holder of text."""

    def __init__(self, content):
        self.content = content

    def __repr__(self):
        return f"NaiveSecret({self.content!r})"


LEAKS = {
    "repr": repr,
    "str": str,
    "format": lambda secret: f"{secret!s:>20} {secret}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - as logs do
    "in a list": lambda secret: str([secret]),
    "in a log": lambda secret: logging.LogRecord(
        "x", 0, "x", 0, "%s", (secret,), None
    ).getMessage(),
}
COPIES = {
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_no_text_of_a_secret_tells_it(leak):
    assert WORD in leak(NaiveSecret(WORD))
    assert WORD not in leak(Secret(WORD))


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_secret_is_neither_pickled_nor_copied(make):
    assert make(NaiveSecret(WORD)) is not None
    with pytest.raises(InvalidRequestError) as refused:
        make(Secret(WORD))
    assert WORD not in str(refused.value)


def test_a_secret_is_no_json():
    with pytest.raises(TypeError):
        json.dumps({"password": Secret(WORD)})


@pytest.mark.parametrize("content", [WORD, WORD.encode(), bytearray(WORD.encode())])
def test_a_secret_is_made_of_text_or_bytes(content):
    with Secret(content) as secret, secret.revealed() as revealed:
        assert WORD.encode() == revealed


def test_text_that_no_encoding_has_is_refused_without_being_told():
    with pytest.raises(InvalidRequestError) as refused:
        Secret("horse \udc80")
    assert "horse" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_wiped_secret_holds_nothing_and_gives_nothing():
    secret = Secret(WORD)
    held = secret._content
    secret.wipe()
    secret.wipe()
    assert secret.is_wiped
    assert b"" == bytes(held)
    with pytest.raises(SecretUsedError), secret.revealed():
        pass


def test_a_block_wipes_its_secret_on_every_path():
    secret = Secret(WORD)
    with pytest.raises(ZeroDivisionError), secret:
        _ = 1 / 0
    assert secret.is_wiped


def test_a_secret_equals_itself_alone():
    secret = Secret(WORD)
    assert secret == secret  # noqa: PLR0124 - that is what is asked
    assert secret != Secret(WORD)
    assert secret != WORD
    assert 1 == len({secret, secret})


def test_a_secret_is_kept_as_it_is_or_made():
    secret = Secret(WORD)
    assert secret is Secret.of(secret)
    with Secret.of(WORD).revealed() as revealed:
        assert WORD.encode() == revealed
