"""A certificate authority of the test's own, and receivers that it certifies."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from stead.adapters.sinks.connecting import tls_context
from tests.receivers import Authority, Rsyslog


@pytest.fixture(scope="session")
def folder():
    made = Path(tempfile.mkdtemp(prefix="stead-sinks-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def authority(folder):
    return Authority(folder, "authority")


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue("localhost")


@pytest.fixture(scope="session")
def stranger(folder):
    """Give an authority that nobody trusts."""
    return Authority(folder, "stranger")


@pytest.fixture
def trusting(authority):
    return tls_context(authority.file)


@pytest.fixture
def rsyslog(tmp_path, authority, certificate):
    made = Rsyslog(tmp_path, authority, certificate)
    yield made.start()
    made.kill()
