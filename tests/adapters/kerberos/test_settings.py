"""What could not be meant of a service is refused before a client comes."""

import pytest
from tests.adapters.kerberos.stage import HTTP

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.s4u import LogonWithoutPassword
from stead.adapters.kerberos.service import KerberosService
from stead.errors import (
    InvalidRequestError,
    NoCredentialsError,
    UnsafeConfigurationError,
)


def test_a_keytab_that_is_none_is_named_with_how_it_is_made(tmp_path):
    empty, junk = tmp_path / "empty.keytab", tmp_path / "junk.keytab"
    empty.write_bytes(b"")
    junk.write_bytes(b"no keys in here, whatever its name says")
    for file in (empty, junk):
        file.chmod(0o600)
    for place, said in (
        (empty, "cannot be read"),
        (junk, "cannot be read"),
        (tmp_path / "missing", "cannot be read"),
        (tmp_path, "is not a regular file"),
    ):
        with pytest.raises(UnsafeConfigurationError, match=said) as caught:
            KerberosService(place, HTTP, realms=())
        assert "ktadd" in caught.value.advice


def test_a_keytab_is_not_blamed_for_a_broken_configuration(
    stage, monkeypatch, broken_configuration
):
    monkeypatch.setenv("KRB5_CONFIG", broken_configuration)
    with pytest.raises(UnsafeConfigurationError, match="configuration") as caught:
        KerberosService(stage.keytab, HTTP, realms=())
    assert "KRB5_CONFIG" in caught.value.advice
    assert "ktadd" not in caught.value.advice


@pytest.mark.parametrize("realms", ["STEAD.TEST", ["STEAD.TEST"]])
def test_a_realm_is_not_believed_by_its_bare_name(stage, realms):
    with pytest.raises(UnsafeConfigurationError, match="its tickets must tell"):
        KerberosService(stage.keytab, HTTP, realms=realms)


@pytest.mark.parametrize("made", [KerberosPackage, LogonWithoutPassword])
@pytest.mark.parametrize(
    "targets",
    ["cifs@files", ["cifs/files"], ["cifs"], ["@files"], ["cifs@"], ["HTTP@a b"]],
)
def test_a_target_is_a_service_on_a_host(stage, made, targets):
    with pytest.raises(UnsafeConfigurationError, match="one by one") as caught:
        made(stage.service(), targets=targets)
    assert "cifs@files.example" in caught.value.advice


def test_keys_that_went_away_are_what_the_trail_says(stage, tmp_path):
    gone = tmp_path / "gone.keytab"
    gone.write_bytes(stage.keytab.read_bytes())
    gone.chmod(0o600)
    realms = [TrustedRealm(name="STEAD.TEST", requires_pac=False)]
    service = KerberosService(gone, HTTP, realms=realms)
    gone.unlink()
    with pytest.raises(NoCredentialsError, match=r"gone.keytab. not found"):
        service.both(negotiates=False)


@pytest.mark.parametrize(
    "make",
    [
        KerberosPackage,
        lambda keytab: KerberosPasswords(keytab, "STEAD.TEST"),
    ],
)
def test_a_keytab_is_no_service(stage, make):
    with pytest.raises(InvalidRequestError, match="`service` is a") as caught:
        make(stage.keytab)
    assert "KerberosService" in caught.value.advice


@pytest.mark.parametrize("realm", ["PARTNER.TEST", "stead.test", ""])
def test_passwords_are_of_a_realm_that_the_service_believes(stage, realm):
    """Or every one of them would be refused, once the realm had taken it."""
    with pytest.raises(UnsafeConfigurationError, match="does not believe") as caught:
        KerberosPasswords(stage.service(), realm)
    assert "STEAD.TEST" in caught.value.advice
