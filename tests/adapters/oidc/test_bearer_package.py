"""Tokens on gates that exchange blobs (RFC 7628)."""

import pytest
from tests.adapters.oidc.stage import NOTES, verifier

from stead.adapters.oidc.bearer_package import BearerPackage, oauthbearer
from stead.adapters.oidc.exchange_desk import ExchangeRule
from stead.errors import EvidenceRefusedError, InvalidRequestError
from stead.model.token import ImpersonationLevel


@pytest.fixture
def package(oidc_issuer):
    return BearerPackage(verifier(oidc_issuer))


@pytest.fixture
def token(oidc_issuer):
    return oidc_issuer.token("alice", NOTES)


def test_one_message_shows_who_a_client_is(package, token):
    exchange = package.begin(None)
    step = exchange.step(oauthbearer(token))
    assert ("alice", b"") == (step.client.name, step.reply)
    assert token not in repr(step)
    exchange.close()
    # As a library of the field writes it, with host and port.
    message = b"n,a=alice,\x01host=notes.example\x01port=143\x01auth=bearer " + (
        token.encode() + b"\x01\x01"
    )
    assert "alice" == package.begin(None).step(message).client.name


def test_messages_that_are_none_are_refused(package, token):
    good = oauthbearer(token)
    for blob in (
        b"", token.encode(), good[:-1], good + b"\x01", b"y" + good[1:],
        good.replace(b"n,,", b"p=tls-exporter,,"), good.replace(b"n,,", b"n,a=root,"),
        good.replace(b"Bearer", b"Basic"), good.replace(b"auth=", b"host="),
        good[:-1] + b"auth=Bearer x\x01\x01", good.replace(b"Bearer ", b"Bearer"),
        b"n,,\x01" * 5_000, b"n,,\x01auth=Bearer \xff\x01\x01", b"n,,\x01\x01",
    ):  # fmt: skip
        with pytest.raises(EvidenceRefusedError):
            package.begin(None).step(blob)


def test_a_bound_token_is_not_shown_this_way(oidc_issuer, package):
    bound = oidc_issuer.token("alice", NOTES, cnf={"jkt": "x"})
    with pytest.raises(EvidenceRefusedError, match="no proof came"):
        package.begin(None).step(oauthbearer(bound))


def test_a_client_s_message_holds_a_token(token):
    for wrong in ("a b", "a\x01b", "é"):
        with pytest.raises(InvalidRequestError):
            oauthbearer(wrong)
    assert token.encode() in oauthbearer(token)


def test_its_session_can_go_on(oidc_issuer, token):
    rule = ExchangeRule(audience=NOTES, targets=["files"])
    exchange = oidc_issuer.exchange("notes", rule, {"https://files.example": "files"})
    package = BearerPackage(verifier(oidc_issuer), exchange)
    client = package.begin(None).step(oauthbearer(token)).client
    assert ImpersonationLevel.DELEGATION == client.level
    onward = client.credentials.bearer("https://files.example")
    assert "alice" == oidc_issuer.read(onward, "files").name
    client.close()
