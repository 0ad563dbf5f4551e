"""What every server of a test's own does, whatever it serves."""

import os

import pytest

from stead.testing.directory_realm import DirectoryRealm
from stead.testing.domain import Domain
from stead.testing.issuer import PrivateIssuer
from stead.testing.postgres import Postgres
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
