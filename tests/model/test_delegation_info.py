"""Services through which an identity came, as records name them."""

import pytest

from stead.errors import InvalidPacError
from stead.model.delegation_info import DelegationInfo


def test_services_are_told_the_nearest_first():
    """A KDC adds each at the end ([MS-PAC] 2.9)."""
    sent = DelegationInfo("HTTP/back", ("HTTP/front@R", "HTTP/middle@R"))
    assert ("HTTP/middle@R", "HTTP/front@R") == sent.nearest_first()
    assert ("a",) * 8 == DelegationInfo("HTTP/back", ("a",) * 8).nearest_first()


@pytest.mark.parametrize(
    "names", [(), ("a",) * 9, ("a", ""), ("a", "b\nc"), ("x" * 257,)], ids=str
)
def test_what_cannot_be_told_whole_is_not_told(names):
    with pytest.raises(InvalidPacError):
        DelegationInfo("HTTP/back", names).nearest_first()
