"""Strings are put in upper case by the table that Windows has kept."""

from __future__ import annotations

import pytest

from stead.decision.case_folding import fold, order_key

# Where capitals came later than the table: the first and the last of each run.
LATER = (
    "\u03f3", "\u0525", "\u052f", "\u2d27", "\u2d2d", "\uab70", "\u13fd", "\u1c8a",
    "\u10d0", "\u10ff", "\u2c5f", "\u0252", "\u023f", "\u0240", "\u2cec", "\u2cf3",
    "\ua661", "\ua699", "\ua69b", "\u0265", "\ua7f6",
)  # fmt: skip


@pytest.mark.parametrize("letter", LATER)
def test_a_letter_whose_capital_came_later_is_its_own(letter):
    assert letter == fold(letter)


@pytest.mark.parametrize(
    ("letter", "capital"),
    [
        ("a", "A"), ("\u00e4", "\u00c4"), ("\u03c2", "\u03a3"),
        # The neighbors of those that came later.
        ("\u0523", "\u0522"), ("\u0561", "\u0531"), ("\u2d25", "\u10c5"),
        ("\u2c5e", "\u2c2e"), ("\u0250", "\u2c6f"), ("\u2c73", "\u2c72"),
        ("\u2c81", "\u2c80"), ("\ua65f", "\ua65e"), ("\ua663", "\ua662"),
        ("\ua697", "\ua696"), ("\ua78c", "\ua78b"),
        # The capital, not the form that begins a title.
        ("\u01c6", "\u01c4"),
    ],
)  # fmt: skip
def test_a_letter_has_the_capital_of_the_table(letter, capital):
    assert capital == fold(letter) == fold(capital)


@pytest.mark.parametrize("letter", ["\u00df", "\u0131", "\u01c5", "\U00010428"])
def test_a_letter_without_a_way_back_is_its_own(letter):
    assert letter == fold(letter)


def test_texts_are_ordered_by_code_unit():
    assert order_key("\U00010428") < order_key("\uffff")
    assert b"\xd8\x00" == order_key("\ud800")
