"""What the kernel calls a client."""

import pytest

from stead.errors import InvalidNameError, TooManyGroupsError
from stead.model.posix_identity import MAXIMUM_ID, MOST_GROUPS, PosixIdentity


def test_groups_are_sorted_and_said_once():
    assert (5, 7) == PosixIdentity(1, 2, (7, 5, 7)).groups


@pytest.mark.parametrize("number", [-1, MAXIMUM_ID + 1, True, "1", 1.0, None])
def test_what_is_no_id_is_refused(number):
    for identity in ((number, 1), (1, number), (1, 1, (number,))):
        with pytest.raises(InvalidNameError):
            PosixIdentity(*identity)


def test_the_largest_id_is_one():
    assert MAXIMUM_ID == PosixIdentity(MAXIMUM_ID, 0).uid


def test_as_many_groups_as_the_kernel_takes_are_no_cut():
    """One more, and no process can be its client: it would fail in the middle."""
    most = range(MOST_GROUPS)
    assert MOST_GROUPS == len(PosixIdentity(1, 1, (*most, *most)).groups)
    with pytest.raises(TooManyGroupsError, match="in 65537 groups"):
        PosixIdentity(1, 1, (*most, MOST_GROUPS))
