"""What every test here goes by."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from stead.testing.law import Law

# Machines are shared and noisy: how long it takes to draw or to run an example says
# nothing about the code.
settings.register_profile(
    "stead", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("stead")

# Started as `pytest`, it finds modules beside the interpreter first: a script of
# impacket's lies there, which is called as a library is (`smbclient.py`).
sys.path[:] = [each for each in sys.path if each != str(Path(sys.executable).parent)]

# A shell that starts this in the background has Ctrl-C ignored, by programs that tests
# start and interrupt as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _law():
    with Law() as law:
        yield law


class Programs:
    """Breaches of the programs that tests start (tests/everywhere)."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.chmod(0o1777)  # some become somebody else

    def take(self):
        found = []
        for told in self.folder.iterdir():
            found += told.read_text("utf-8").splitlines()
            told.unlink()
        return found


@pytest.fixture(scope="session")
def programs_told():
    everywhere = str(Path(__file__).parent / "everywhere")
    path = os.pathsep.join(filter(None, [everywhere, os.environ.get("PYTHONPATH")]))
    with (
        tempfile.TemporaryDirectory(prefix="stead-law-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("STEAD_LAW", folder)
        patch.setenv("PYTHONPATH", path)
        yield Programs(folder)


@pytest.fixture(autouse=True)
def law(request, _law, programs_told):
    """Fail the test in which something is done before its record is durable."""
    _law.take()  # what ended late belongs to nobody
    programs_told.take()
    yield _law
    breaches = _law.take() + programs_told.take()
    if request.node.get_closest_marker("bypasses_the_law") is None:
        assert [] == breaches
