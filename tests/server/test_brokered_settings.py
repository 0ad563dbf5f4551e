"""What a server is told of a broker, and what does not go with one."""

import pytest

from stead.errors import InvalidRequestError, LauncherUnavailableError
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"enforcement": Enforcement.TOKEN}, "token enforcement needs no broker"),
        ({"worker_modules": ["json"]}, "loads no module that a server names"),
    ],
)
def test_what_does_not_go_with_a_broker_is_refused(options, why):
    with pytest.raises(InvalidRequestError, match=why):
        ProtectedServer("notes", broker="/no/such/broker", **options)


def test_a_broker_that_is_named_must_answer(tmp_path):
    place = tmp_path / "broker"
    with pytest.raises(LauncherUnavailableError, match="no broker answers") as caught:
        ProtectedServer("notes", broker=place)
    assert str(place) in str(caught.value)
    assert "stead broker" in caught.value.advice


def test_without_a_broker_there_is_no_entrance():
    with ProtectedServer("notes", enforcement=Enforcement.TOKEN) as server:
        assert server.broker == ""
        with pytest.raises(InvalidRequestError, match="has no broker"):
            server.entrance("/run/notes")
