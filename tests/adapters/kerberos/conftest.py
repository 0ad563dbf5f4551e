"""A realm for the tests of one file."""

import gc

import pytest
from tests.adapters.kerberos.stage import staged


@pytest.fixture(scope="module")
def monkeypatch_module():
    """Set variables until the end of the file's tests."""
    with pytest.MonkeyPatch.context() as patch:

        def update(variables):
            for name, value in variables.items():
                patch.setenv(name, value)

        yield update


@pytest.fixture(scope="module")
def stage():
    with staged() as made:
        yield made


@pytest.fixture
def lying_about(stage, monkeypatch):
    """The process's own identity, wherever a library might look for one."""
    monkeypatch.setenv("KRB5CCNAME", stage.realm.log_on("service", "its-own"))
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{stage.own_keytab}")
    monkeypatch.setenv("KRB5_KTNAME", f"FILE:{stage.own_keytab}")


@pytest.fixture
def broken_configuration(tmp_path):
    """Return a file that is no `krb5.conf`, as one is that somebody has half edited."""
    gc.collect()  # what earlier tests forgot cannot be let go of by it
    file = tmp_path / "broken.conf"
    file.write_text("[libdefaults\n    default_realm ===\n{")
    return str(file)
