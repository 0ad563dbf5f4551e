"""Principals as the Kerberos library writes them, taken apart."""

import pytest

from stead.model.principal import name_and_realm


@pytest.mark.parametrize(
    ("principal", "parts"),
    [
        ("alice@EXAMPLE.COM", ("alice", "EXAMPLE.COM")),
        ("HTTP/files.example@EXAMPLE.COM", ("HTTP/files.example", "EXAMPLE.COM")),
        (r"al\@ice@EXAMPLE.COM", (r"al\@ice", "EXAMPLE.COM")),
        (r"alice\\@EXAMPLE.COM", (r"alice\\", "EXAMPLE.COM")),
        (r"alice@evil\@EXAMPLE.COM", ("alice", r"evil\@EXAMPLE.COM")),
        (r"alice@evil\\\@EXAMPLE.COM", ("alice", r"evil\\\@EXAMPLE.COM")),
        ("@", ("", "")),
    ],
)
def test_a_realm_begins_at_the_only_at_that_is_not_quoted(principal, parts):
    assert parts == name_and_realm(principal)


@pytest.mark.parametrize("text", ["", "alice", r"alice\@R", "a@b@c", "alice@R\\"])
def test_what_is_no_principal_has_no_realm(text):
    assert (text, "") == name_and_realm(text)
