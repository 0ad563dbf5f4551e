"""Passwords as SCRAM hashes them: the examples of RFC 4013 3, and a foreign library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp.utils import ScramException
from scramp.utils import saslprep as foreign

from stead.codec.saslprep import prepared_secret, saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0007", None),
        ("\u0627\u0031", None),
        ("a\u00a0b", "a b"),
        ("\u0627x\u0628", None),
        ("\u0627\u0628", "\u0627\u0628"),
        ("\u06271\u0628", "\u06271\u0628"),
        ("\u00ad", None),
        ("", None),
        ("\U0001f642", None),  # not in Unicode 3.2
    ],
    ids=ascii,
)
def test_text_is_prepared_as_the_specification_says(text, prepared):
    assert prepared == saslprep(text)


@pytest.mark.parametrize(
    ("secret", "hashed"),
    [
        (b"pencil", b"pencil"),
        ("\u2168".encode(), b"IX"),
        ("\U0001f642".encode(), "\U0001f642".encode()),
        (b"\xff\x00", b"\xff\x00"),
        (b"\x07", b"\x07"),
    ],
)
def test_what_cannot_be_prepared_is_hashed_as_it_is(secret, hashed):
    assert hashed == prepared_secret(secret)


@given(st.text())
def test_it_is_what_a_foreign_library_says(text):
    try:
        prepared = foreign(text)
    except ScramException:
        prepared = None
    assert (prepared or None) == saslprep(text)
