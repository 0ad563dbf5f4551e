"""Locally unique identifiers."""

import pytest

from stead.errors import SteadError
from stead.model.luid import NO_LUID, Luid


def test_a_luid_has_two_halves():
    luid = Luid(0x1234_5678_9ABC_DEF0)
    assert 0x1234_5678 == luid.high
    assert 0x9ABC_DEF0 == luid.low


def test_a_luid_prints_as_windows_prints_it():
    assert "0x3e7" == str(Luid(999))
    assert "Luid(0x3e7)" == repr(Luid(999))


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_luid_has_64_bits(value):
    with pytest.raises(SteadError, match="64 bits"):
        Luid(value)


def test_no_luid_is_zero():
    assert 0 == NO_LUID
