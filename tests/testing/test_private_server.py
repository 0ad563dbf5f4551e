"""What every server of a test's own does, whatever it serves."""

import os
import socket
from pathlib import Path

import pytest

from stead.testing import private_server
from stead.testing.directory_realm import DirectoryRealm
from stead.testing.domain import Domain
from stead.testing.issuer import PrivateIssuer
from stead.testing.postgres import Postgres
from stead.testing.private_server import free_port
from stead.testing.realm import Realm

pytestmark = [pytest.mark.slow]


@pytest.mark.parametrize(
    "kind",
    [
        Realm,
        DirectoryRealm,
        Postgres,
        PrivateIssuer,
        pytest.param(Domain, marks=pytest.mark.root),
    ],
)
def test_it_ends_though_the_process_has_forked_meanwhile(kind):
    with kind() as made:
        folder = made.folder
        assert folder.exists()
        waiting, writing = os.pipe()
        child = os.fork()
        if child == 0:  # it holds whatever this process holds
            os.close(writing)
            os.read(waiting, 1)
            os._exit(0)
        os.close(waiting)
    # Here it has ended; who waits for the other one waits for ever.
    assert not folder.exists()
    os.close(writing)
    os.waitpid(child, 0)
    made.close()


@pytest.mark.parametrize("kind", [Realm, Postgres, PrivateIssuer])
def test_one_that_cannot_be_made_leaves_nothing(kind):
    folders = []

    class Unlucky(kind):
        def _make(self):
            super()._make()
            folders.append(self.folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Unlucky():
        pass
    assert [False] == [folder.exists() for folder in folders]


def test_a_free_port_is_none_that_somebody_else_is_given_meanwhile():
    """A naive one asks the system, which may give it to the next who asks as well."""
    given_out = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("utf-8")
    first, last = map(int, given_out.split())
    with socket.create_server(("127.0.0.1", 0)) as naive:
        assert first <= naive.getsockname()[1] <= last
    for _ in range(20):
        port = free_port()
        assert not first <= port <= last
        with socket.create_server(("127.0.0.1", port)):
            assert port != free_port()


def test_a_free_port_is_found_where_the_system_does_not_say_which_it_gives_out(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(private_server, "_GIVEN_OUT", tmp_path / "none")
    assert 10_000 <= free_port() < 32_768


def test_nobody_is_given_an_issuer_s_port_while_it_does_not_listen():
    given_out = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("utf-8")
    first, last = map(int, given_out.split())
    with PrivateIssuer() as issuer:
        before = issuer.url
        assert not first <= int(before.rpartition(":")[2]) <= last
        issuer.stop()
        issuer.start()
        assert before == issuer.url
