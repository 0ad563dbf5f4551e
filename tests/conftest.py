"""What every test here goes by."""

import pytest
from hypothesis import HealthCheck, settings

from stead.testing.law import Law

# Machines are shared and noisy: how long it takes to draw or to run an example says
# nothing about the code.
settings.register_profile(
    "stead", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("stead")


@pytest.fixture(scope="session")
def _law():
    with Law() as law:
        yield law


@pytest.fixture(autouse=True)
def law(request, _law):
    """Fail the test in which something is done before its record is durable."""
    _law.take()  # what ended late belongs to nobody
    yield _law
    breaches = _law.take()
    if request.node.get_closest_marker("bypasses_the_law") is None:
        assert [] == breaches
