"""Which services a server may reach as its clients."""

import pytest

from stead.errors import InvalidRequestError
from stead.model.delegation_policy import (
    UNCONSTRAINED,
    DelegationPolicy,
    NetworkTarget,
    PasswordOrigin,
    PasswordWay,
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
    with pytest.raises(InvalidRequestError, match="not several"):
        DelegationPolicy.of("https://files.example")


# --- passwords ------------------------------------------------------------------------

DATABASE = NetworkTarget("postgres", "db.example", 5432)
FILES = NetworkTarget("smb", "nas.example", 445)
HERE, OTHERS, THERE = (
    PasswordOrigin.THIS_SERVER, PasswordOrigin.OTHER_MACHINES,
    PasswordOrigin.THAT_MACHINE,
)  # fmt: skip
SCRAM, NTLM = PasswordWay.SCRAM, PasswordWay.NTLM
ALL = DelegationPolicy.of(["postgres+scram://db.example", "smb+ntlm://nas.example"])
PLAIN = DelegationPolicy.of(["postgres://db.example", "smb://nas.example"])
NONE = DelegationPolicy.of([])


@pytest.mark.parametrize(
    ("policy", "target", "way", "goes"),
    [
        (UNCONSTRAINED, DATABASE, SCRAM, {THERE}),
        (PLAIN, DATABASE, SCRAM, {THERE}),
        (NONE, DATABASE, SCRAM, set()),
        (ALL, DATABASE, SCRAM, {HERE, OTHERS, THERE}),
        (UNCONSTRAINED, FILES, NTLM, set()),
        (PLAIN, FILES, NTLM, set()),
        (NONE, FILES, NTLM, set()),
        (ALL, FILES, NTLM, {OTHERS, THERE}),
        (ALL, NetworkTarget("postgres", "db.example", 5433), SCRAM, set()),
        (ALL, NetworkTarget("smb", "other.example", 445), NTLM, set()),
    ],
)
def test_a_password_goes_where_somebody_named_the_machine_for_it(
    policy, target, way, goes
):
    found = {o for o in PasswordOrigin if not policy.why_no_password(target, way, o)}
    assert goes == found


def test_what_is_named_for_passwords_is_named_for_nothing_else():
    assert not ALL.allows(DATABASE)
    assert not ALL.allows(FILES)
    assert "postgres+scram://db.example:5432, smb+ntlm://nas.example:445" == str(ALL)
    both = DelegationPolicy.of(["postgres+scram://db.example", "https://a.example"])
    assert "https://a.example:443, postgres+scram://db.example:5432" == str(both)


@pytest.mark.parametrize(
    ("host", "goes"),
    [("localhost", True), ("127.9.9.9", True), ("::1", True), ("db.example", False),
     ("10.0.0.1", False), ("localhost.example", False)],
)  # fmt: skip
def test_without_tls_it_goes_to_this_machine_alone_and_named_so(host, goes):
    target = NetworkTarget("postgres", host, 5432)
    named = DelegationPolicy(frozenset(), frozenset([(SCRAM, target)]))
    why = named.why_no_password(target, SCRAM, THERE, is_clear=True)
    assert goes is not bool(why)
    assert UNCONSTRAINED.why_no_password(target, SCRAM, THERE, is_clear=True)


@pytest.mark.parametrize(
    "text",
    [
        "https+basic://a.example", "smb+scram://a", "postgres+ntlm://a", "smb+://a",
        "+ntlm://a", "smb+NTLM://a", "smb+ntlm+x://a", "postgres+scram:a",
    ],
)  # fmt: skip
def test_no_other_way_shows_a_password(text):
    with pytest.raises(InvalidRequestError):
        DelegationPolicy.of([text])


def test_a_way_says_what_it_is():
    assert ("postgres", "scram-sha-256") == (SCRAM.protocol, SCRAM.mechanism)
    assert ("smb", "ntlmv2") == (NTLM.protocol, NTLM.mechanism)
