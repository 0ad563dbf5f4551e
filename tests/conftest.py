"""What every test here goes by."""

from hypothesis import HealthCheck, settings

# Machines are shared and noisy: how long it takes to draw or to run an example says
# nothing about the code.
settings.register_profile(
    "stead", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("stead")
