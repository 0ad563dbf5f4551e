"""How far a client lets a server go, in the name of its socket."""

import socket

import pytest

from stead.privileged.stated_level import (
    LEVELS,
    name_bytes,
    state_level,
    stated_level,
    unwillingness,
)


@pytest.fixture
def connected(tmp_path):
    """Give what connects a socket that was prepared; return the accepted one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "gate"))
        listener.listen()
        made = []

        def connect(prepare):
            client = socket.socket(socket.AF_UNIX)
            prepare(client)
            client.connect(str(tmp_path / "gate"))
            made.extend((client, listener.accept()[0]))
            return made[-1]

        yield connect
        for each in made:
            each.close()


@pytest.mark.parametrize("level", LEVELS)
def test_what_a_client_states_is_what_is_heard(connected, level):
    accepted = connected(lambda client: state_level(client, level))
    assert level == stated_level(accepted)
    is_little = level in {"anonymous", "identification"}
    assert is_little == (level in unwillingness(accepted))


def test_whoever_states_nothing_lets_itself_be_impersonated(connected, tmp_path):
    for prepare in (
        socket.socket.fileno,  # nothing
        lambda client: client.bind(""),  # the kernel chooses
        lambda client: client.bind(str(tmp_path / "own")),
    ):
        accepted = connected(prepare)
        assert "impersonation" == stated_level(accepted)
        assert "" == unwillingness(accepted)


@pytest.mark.parametrize("said", [b"", b"/", b"Impersonation/1", b"root/1", b"\xff/1"])
def test_what_is_not_known_allows_nothing(connected, said):
    accepted = connected(lambda client: client.bind(b"\0stead/" + said))
    assert "anonymous" == stated_level(accepted)
    assert "anonymous" in unwillingness(accepted)


def test_two_clients_have_two_names():
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        for each in (one, other):
            state_level(each, "anonymous")
        assert one.getsockname() != other.getsockname()
        third = socket.socket(socket.AF_UNIX)
        with third, pytest.raises(OSError, match="in use"):
            third.bind(one.getsockname())  # nor can a third have either's


def test_names_are_bytes_however_python_spells_them():
    assert b"/a\xff" == name_bytes("/a\udcff") == name_bytes(b"/a\xff")
