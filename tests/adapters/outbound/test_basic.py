"""A web server that asks for a password gets none, whatever the policy says."""

from __future__ import annotations

import base64

import httpx
import pytest

from stead.authority.password_credentials import PasswordCredentials
from stead.errors import InvalidRequestError, NoCredentialsError
from stead.model.limits import Host
from stead.model.secret import Secret


def test_a_password_is_never_handed_to_a_web_server(sessions, web):
    """Naive code hands it to whoever answers, with each request."""
    naive = httpx.get(f"{web.url}/basic", auth=("alice", "alice-pw"), trust_env=False)
    assert 401 == naive.status_code
    word = web.seen.pop()[1].removeprefix("Basic ")
    assert b"alice:alice-pw" == base64.b64decode(word)
    held = PasswordCredentials("alice", Secret("alice-pw"))
    client, target = sessions["bob"].client, Host("localhost", web.port)
    with (
        client.explicit_credentials(held, target=target) as shown,
        shown.http(web.url) as http,
        pytest.raises(NoCredentialsError, match="with the realm"),
    ):
        http.get("/basic")
    assert [] == web.seen


def test_no_policy_permits_it(open_server):
    with pytest.raises(InvalidRequestError, match="Basic over HTTP hands it over"):
        open_server(delegation=["https+basic://files.example"])
