"""Which services a server may reach as its clients."""

import pytest

from stead.errors import InvalidRequestError
from stead.model.delegation_policy import (
    UNCONSTRAINED,
    DelegationPolicy,
    NetworkTarget,
)
from stead.model.limits import Host


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://Files.Example", "https://files.example:443"),
        ("http://files.example:8080", "http://files.example:8080"),
        ("smb://files.example", "smb://files.example:445"),
        ("postgres://[::1]", "postgres://[::1]:5432"),
        ("postgres://[::1]:99", "postgres://[::1]:99"),
        ("gss://ldap@dc1.example", "gss://ldap@dc1.example"),
        ("gss://ldap@dc1.example:389", "gss://ldap@dc1.example:389"),
    ],
)
def test_a_target_is_read_and_shown_as_one_text(text, shown):
    target = NetworkTarget.read(text)
    assert shown == str(target)
    assert target == NetworkTarget.read(shown)


@pytest.mark.parametrize(
    "text",
    [
        "", "files.example", "https:/files.example", "https://", "ftp://files.example",
        "https://files.example/path", "https://files.example:", "https://a:b",
        "https://files.example:0", "https://files.example:65536", "https://*.ex ample",
        "https://user@files.example", "gss://files.example", "gss://@files.example",
        "gss://a b@files.example", "https://files.example?x", "smb://[::1", "gss://",
        "https://files.example:999999999999", "gss://ldap@", "https://\u00e4.example",
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused(text):
    with pytest.raises(InvalidRequestError):
        NetworkTarget.read(text)


def test_a_target_is_a_machines_port_where_it_has_one():
    assert Host("a", 445) == NetworkTarget("smb", "A", 445).machine
    assert NetworkTarget("gss", "a", 0, "ldap").machine is None
    assert Host("a", 389) == NetworkTarget("gss", "a", 389, "ldap").machine


def test_a_service_has_a_port_unless_it_is_gss():
    for port in (0, -1, 65536):
        with pytest.raises(InvalidRequestError):
            NetworkTarget("smb", "a", port)
    with pytest.raises(InvalidRequestError):
        NetworkTarget("gss", "a", -1, "ldap")


def test_a_policy_allows_what_it_names_and_no_more():
    policy = DelegationPolicy.of(
        ["https://files.example", "gss://ldap@dc1.example:389"]
    )
    allowed = NetworkTarget.read("https://FILES.example:443")
    assert policy.allows(allowed)
    for other in (
        "http://files.example", "https://files.example:444", "https://files.example.evil",
        "gss://ldap@dc1.example", "gss://ldap@dc1.example:636",
        "gss://cifs@dc1.example:389", "smb://files.example",
    ):  # fmt: skip
        assert not policy.allows(NetworkTarget.read(other))
    assert policy.allows(NetworkTarget.read("gss://ldap@dc1.example:389"))


def test_a_service_that_is_named_without_a_port_is_meant_on_all():
    policy = DelegationPolicy.of(["gss://ldap@dc1.example"])
    for port in ("", ":389", ":636"):
        assert policy.allows(NetworkTarget.read(f"gss://ldap@dc1.example{port}"))
    assert not policy.allows(NetworkTarget.read("gss://ldap@dc2.example"))


def test_a_policy_says_what_it_allows():
    policy = DelegationPolicy.of(["smb://b.example", "https://a.example"])
    assert "https://a.example:443, smb://b.example:445" == str(policy)
    assert "none" == str(DelegationPolicy.of([]))
    assert "every service" == str(UNCONSTRAINED)
    assert UNCONSTRAINED.allows(NetworkTarget.read("https://anywhere.example"))
    assert not DelegationPolicy.of([]).allows(NetworkTarget.read("https://a.example"))


def test_one_text_is_no_list_of_targets():
    with pytest.raises(InvalidRequestError, match="one by one"):
        DelegationPolicy.of("https://files.example")
