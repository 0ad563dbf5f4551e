"""What follows a response, and responses that nobody reads to their end."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest
from tests.adapters.outbound.test_http import NaiveEverywhere, principal
from tests.adapters.outbound.test_https import certified, secure

from stead.adapters.outbound import http as module
from stead.errors import WrongIdentityError

__all__ = ["certified", "secure"]

PATHS = ["/split", "/split?record"]
BOTH = [principal("alice")] * 2


@pytest.fixture(params=["plain", "tls"])
def far(request):
    return request.getfixturevalue({"plain": "web", "tls": "secure"}[request.param])


def told(http, path):
    return [http.get(path).text, http.get("/").text]


async def told_on_a_loop(http, path):
    return [(await http.get(path)).text, (await http.get("/")).text]


@pytest.mark.parametrize("path", PATHS)
def test_what_follows_a_response_answers_no_request(sessions, stage, far, path):
    """Whoever splits an answer chooses what the library says to the next request."""
    shows = NaiveEverywhere(stage.tickets("alice"))

    async def shows_aside(request):
        shows(request)

    own = ssl.create_default_context()
    plain = {"base_url": far.url, "verify": own, "trust_env": False}
    with httpx.Client(**plain, event_hooks={"request": [shows]}) as http:
        naive = [told(http, path)]

    async def ask():
        hooks = {"request": [shows_aside]}
        async with httpx.AsyncClient(**plain, event_hooks=hooks) as http:
            naive.append(await told_on_a_loop(http, path))
        async with await sessions["alice"].aio.http(far.url) as http:
            return await told_on_a_loop(http, path)

    assert BOTH == asyncio.run(ask())
    with sessions["alice"].http(far.url) as http:
        assert BOTH == told(http, path)
    assert "forged" in [said[1] for said in naive]


def test_a_connection_whose_end_nobody_sees_is_not_kept(sessions, web, monkeypatch):
    """As with a library that has its buffer elsewhere."""
    monkeypatch.setattr("stead.adapters.outbound.http_ends._WAY", ("_elsewhere",))

    async def ask():
        async with await sessions["alice"].aio.http(web.url) as http:
            return await told_on_a_loop(http, "/split")

    with sessions["alice"].http(web.url) as http:
        assert BOTH == told(http, "/split")
    assert BOTH == asyncio.run(ask())
    assert 4 == len(web.peers)


def test_a_server_that_is_not_believed_is_asked_nothing_more(sessions, web):
    with sessions["alice"].http(web.url) as http:
        for _ in range(3):
            with pytest.raises(WrongIdentityError):
                http.get("/unproven")
    assert 3 == len(web.peers)


@pytest.mark.parametrize("naive", [True, False])
def test_responses_that_nobody_reads_hold_no_connection_for_good(
    sessions, web, monkeypatch, naive
):
    """As many as a session has, and it reached nobody any more."""
    monkeypatch.setattr(module, "_LIMITS", httpx.Limits(max_connections=2))
    if naive:
        monkeypatch.setattr(module._Transport, "close", lambda _: None)

    def look():
        patience = httpx.Timeout(60.0, pool=1.0 if naive else 60.0)
        with sessions["alice"].http(web.url, timeout=patience) as http:
            asked = http.build_request("GET", "/")
            return http.send(asked, stream=True).status_code

    assert [200, 200] == [look(), look()]
    if naive:
        with pytest.raises(httpx.PoolTimeout):
            look()
    else:
        assert 200 == look()
