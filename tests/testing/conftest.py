"""Fixtures that need root are tested as root."""

import os

import pytest


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root, because a domain controller does")
