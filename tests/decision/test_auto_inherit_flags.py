"""The flags are Win32's, bit for bit."""

from __future__ import annotations

import pytest
from tests.decision.making import token

from stead.decision.auto_inherit_flags import (
    AutoInheritFlags,
    require_flags,
    token_label,
)
from stead.errors import SteadError
from stead.model.ace import MandatoryLabelAce
from stead.model.well_known import MEDIUM_LEVEL


def test_the_values_are_those_of_winnt_h():
    assert [
        0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x100, 0x200, 0x400, 0x1000,
    ] == [int(flag) for flag in AutoInheritFlags if flag]  # fmt: skip


def test_known_flags_are_taken_and_others_refused():
    assert AutoInheritFlags.DACL_AUTO_INHERIT is require_flags(1)
    for flags in (0x80, 0x1001 | 0x800, -1):
        with pytest.raises(SteadError):
            require_flags(flags)


def test_a_label_is_made_for_macl_flags_alone():
    assert token_label(token(), AutoInheritFlags.DACL_AUTO_INHERIT) is None
    assert MandatoryLabelAce(MEDIUM_LEVEL, 7) == token_label(token(), 0x701)
