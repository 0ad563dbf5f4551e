"""What the kernel calls a client."""

import pytest

from stead.errors import InvalidNameError
from stead.model.posix_identity import MAXIMUM_ID, PosixIdentity


def test_groups_are_sorted_and_said_once():
    assert (5, 7) == PosixIdentity(1, 2, (7, 5, 7)).groups


@pytest.mark.parametrize("number", [-1, MAXIMUM_ID + 1, True, "1", 1.0, None])
def test_what_is_no_id_is_refused(number):
    for identity in ((number, 1), (1, number), (1, 1, (number,))):
        with pytest.raises(InvalidNameError):
            PosixIdentity(*identity)


def test_the_largest_id_is_one():
    assert MAXIMUM_ID == PosixIdentity(MAXIMUM_ID, 0).uid
