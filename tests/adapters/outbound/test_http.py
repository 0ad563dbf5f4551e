"""HTTP as a client: every request is the client's, or it is not made."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from datetime import timedelta

import httpx
import pytest
from tests.adapters.outbound.web import serving

from stead.adapters.outbound import http as module
from stead.errors import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidRequestError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    LoopThreadError,
    NoCredentialsError,
    WrongIdentityError,
)
from stead.model.limits import Host
from stead.model.token import ImpersonationLevel


class Naive(httpx.Auth):
    """What libraries for Negotiate do unless told otherwise: answer a 401."""

    def __init__(self, tickets):
        self.tickets = tickets

    def auth_flow(self, request):
        response = yield request
        if response.status_code == 401:
            blob = self.tickets.initiate(f"HTTP@{request.url.host}").step()
            shown = base64.b64encode(blob).decode()
            request.headers["Authorization"] = f"Negotiate {shown}"
            yield request


def principal(name):
    return f"{name}@STEAD.TEST"


def test_a_web_server_takes_each_session_for_its_own_client(
    sessions, web, hops, server
):
    for name, session in sessions.items():
        with session.http(web.url) as http:
            assert principal(name) == http.get("/").text
            assert principal(name) == http.post("/", content=b"x").text
    said = [(r.client.name, r.object_name, r.detail["level"]) for r in hops(server)]
    target = f"http://localhost:{web.port}"
    assert [(name, target, "delegation") for name in sessions] == said


def test_what_cannot_be_recorded_does_not_go_out(sessions, web, server):
    with sessions["alice"].http(web.url) as http:
        server._house.guard.recorder.sink.close()
        with pytest.raises(LedgerUnavailableError):
            http.get("/")
    assert [] == web.seen


# --- connections and redirects --------------------------------------------------------


def test_a_pool_that_two_clients_share_makes_one_of_them_the_other(sessions, stage):
    """A server may take a connection for whoever showed a ticket over it first."""
    alice, bob = stage.tickets("alice"), stage.tickets("bob")
    with serving(stage.web, remembers=True) as web:
        with httpx.Client(base_url=web.url, trust_env=False) as shared:
            shared.get("/", auth=Naive(alice))
            assert principal("alice") == shared.get("/", auth=Naive(bob)).text
        for _ in range(2):
            for name, session in sessions.items():
                with session.http(web.url) as http:
                    assert principal(name) == http.get("/").text


def test_connections_of_one_session_are_kept_and_used_again(sessions, web):
    for _ in range(3):
        with sessions["alice"].http(web.url) as http:
            assert principal("alice") == http.get("/").text
    assert 1 == len(web.peers)
    with sessions["bob"].http(web.url) as http:
        http.get("/")
    assert 2 == len(web.peers)


def test_credentials_do_not_follow_a_redirect_to_another_server(
    sessions, stage, web, hops, server
):
    with serving(stage.web) as other:
        there = f"/redirect?http://127.0.0.1:{other.port}/"
        # The naive code shows a ticket to whoever it was sent to.
        with httpx.Client(trust_env=False, follow_redirects=True) as naive:
            auth = NaiveEverywhere(stage.tickets("alice"))
            naive.event_hooks["request"] = [auth]
            assert principal("alice") == naive.get(web.url + there).text
        assert 1 == len(other.seen)
        with sessions["alice"].http(web.url, follow_redirects=True) as http:
            with pytest.raises(NoCredentialsError, match="redirects there"):
                http.get(there)
            assert 1 == len(other.seen)
            said = hops(server)[-1]
            assert f"http://127.0.0.1:{other.port}" == said.object_name
            assert NoCredentialsError.status == said.status
            # Where the caller asks for it by name, it goes: as alice, by her ticket.
            assert principal("alice") == http.get(other.url).text


class NaiveEverywhere:
    """Shows a ticket with each request, wherever it goes."""

    def __init__(self, tickets):
        self.tickets = tickets

    def __call__(self, request):
        blob = self.tickets.initiate(f"HTTP@{request.url.host}").step()
        shown = base64.b64encode(blob).decode()
        request.headers["Authorization"] = f"Negotiate {shown}"


def test_a_redirect_on_the_same_server_shows_a_ticket_of_its_own(sessions, web):
    with sessions["alice"].http(web.url, follow_redirects=True) as http:
        assert principal("alice") == http.get("/redirect?/after").text
    first, second = (shown for _, shown in web.seen)
    assert first != second


# --- what servers ask for -------------------------------------------------------------


def test_a_server_that_asks_for_a_password_gets_none(sessions, web):
    netrc = os.environ["NETRC"]
    with sessions["alice"].http(web.url) as http:
        with pytest.raises(NoCredentialsError, match="asks for 'Basic'") as caught:
            http.get("/basic")
        assert "double hop" in caught.value.advice
        for auth in (("front", "secret"), None, httpx.NetRCAuth(netrc)):
            with pytest.raises(NoCredentialsError, match="something else"):
                http.get("/", auth=auth)
    assert not any(shown.startswith("Basic") for _, shown in web.seen)
    assert ["/basic"] == [path for path, _ in web.seen]


def test_a_header_of_the_callers_own_is_not_sent(sessions, web):
    with sessions["alice"].http(web.url) as http:
        got = http.get("/", headers={"Authorization": "Bearer the servers own"})
    assert principal("alice") == got.text


def test_what_was_shown_is_in_no_response_and_no_error(sessions, web, stage):
    tickets = stage.tickets("alice")
    with httpx.Client(trust_env=False) as client:
        client.event_hooks["request"] = [NaiveEverywhere(tickets)]
        naive = client.get(web.url).request.headers
    assert any("Negotiate" in value for value in dict(naive).values())
    tickets.close()
    with sessions["alice"].http(web.url, follow_redirects=True) as http:
        got = http.get("/redirect?/after")
        asked = [each.request for each in (*got.history, got)]
        with pytest.raises(httpx.ReadTimeout) as caught:
            http.get("/slow", timeout=httpx.Timeout(60, read=0.05))

    async def ask():
        async with await sessions["alice"].aio.http(web.url) as http:
            return (await http.get("/")).request

    asked += [caught.value.request, asyncio.run(ask())]
    assert 4 == len(asked)
    assert not any("Authorization" in each.headers for each in asked)


def test_a_server_that_does_not_show_who_it_is_is_not_believed(sessions, web):
    with sessions["alice"].http(web.url) as http:
        with pytest.raises(WrongIdentityError, match="does not show who it is"):
            http.get("/unproven")
        with pytest.raises(WrongIdentityError, match="does not show who it is"):
            http.get("/forged")


def test_a_server_without_a_name_in_the_realm_gets_nothing(sessions, web):
    with (
        sessions["alice"].http(f"http://127.0.0.3:{web.port}") as http,
        pytest.raises(NoCredentialsError, match="no ticket") as caught,
    ):
        http.get("/")
    assert "double hop" in caught.value.advice
    assert [] == web.seen


# --- the session's end ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/slow", "/long"])
def test_what_is_under_way_fails_when_the_session_ends(sessions, web, path):
    session, failed = sessions["alice"], []

    def work():
        try:
            with session.http(web.url) as http:
                failed.append(http.get(path))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert web.arrived.wait(60)
    time.sleep(0.05)
    session.log_off()
    thread.join(60)
    assert not thread.is_alive()
    assert [LogonSessionEndedError] == [type(error) for error in failed]


def test_nothing_begins_once_the_session_has_ended(sessions, web, server):
    session = sessions["alice"]
    with session.http(web.url) as http:
        http.get("/")
        server.accounts.disable("alice")
        with pytest.raises(LogonSessionEndedError):
            http.get("/")
    with pytest.raises(LogonSessionEndedError):
        session.http(web.url)
    assert 1 == len(web.seen)


def test_a_session_lives_as_long_as_what_it_handed_out(server, admit, web):
    client = admit(server).client
    http = client.http(web.url)
    del client
    assert principal("alice") == http.get("/").text
    http.close()


def test_a_server_that_closes_cuts_what_is_under_way(open_server, admit, web):
    server = open_server()
    session, failed = admit(server), []
    http = session.http(web.url)

    def work():
        try:
            failed.append(http.get("/slow"))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert web.arrived.wait(60)
    server.close()
    thread.join(60)
    assert [LogonSessionEndedError] == [type(error) for error in failed]


# --- who may --------------------------------------------------------------------------


def test_without_credentials_the_double_hop_is_explained(server, web, hops):
    client = server.client_for("alice", authenticated_by="a cookie")
    with (
        client.http(web.url) as http,
        pytest.raises(NoCredentialsError, match="has no credentials") as caught,
    ):
        http.get("/")
    for way in ("DELEGATION", "log_on", "constrained delegation", "RFC 8693"):
        assert way in caught.value.advice
    assert caught.value.record
    assert "access is denied" == caught.value.public
    assert NoCredentialsError.status == hops(server)[-1].status
    assert [] == web.seen


def test_a_level_below_delegation_goes_nowhere(server, admit, web):
    session = admit(server, level=ImpersonationLevel.IMPERSONATION)
    with (
        session.http(web.url) as http,
        pytest.raises(NoCredentialsError, match="level is impersonation"),
    ):
        http.get("/")
    assert [] == web.seen


def test_the_policy_names_what_may_be_reached(open_server, admit, stage, web, hops):
    server = open_server(delegation=[f"http://localhost:{web.port}"])
    with serving(stage.web) as other, admit(server).http() as http:
        assert principal("alice") == http.get(web.url).text
        with pytest.raises(NoCredentialsError, match="may not reach") as caught:
            http.get(other.url)
        assert f"http://localhost:{web.port}" in caught.value.advice
        assert [] == other.seen
    assert f"http://localhost:{other.port}" == hops(server)[-1].object_name


def test_a_limited_client_reaches_the_hosts_that_are_named(sessions, web):
    client, minute = sessions["alice"].client, timedelta(minutes=1)
    named = Host("localhost", web.port)
    with client.limited(expires=minute, targets=[named]) as lent:
        with lent.http() as http:
            assert principal("alice") == http.get(web.url).text
            with pytest.raises(AccessDeniedError):
                http.get(f"http://127.0.0.1:{web.port}")
        http = lent.http()
    with pytest.raises(LogonSessionEndedError):
        http.get(web.url)
    assert 1 == len(web.seen)


def test_no_way_to_write_a_host_reaches_another(sessions, web, stage):
    """What is judged is what is connected to, letter by letter."""
    client, minute = sessions["alice"].client, timedelta(minutes=1)
    named, port = Host("localhost", web.port), web.port
    written = [
        "127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost.", "LOCALHOST.",
        "[::1]", "[::1%25lo]", "localhost@127.0.0.1", "127.0.0.1%2f@localhost.",
        "loc%61lhost.", "ⓛocalhost.",
    ]  # fmt: skip
    # A list of what must not be reached is got round by another way to write it.
    with httpx.Client(trust_env=False) as naive:
        for host in ("127.1", "0x7f.1", "2130706433", "localhost@127.0.0.1"):
            assert naive.get(f"http://{host}:{port}/").status_code == 401
    asked = len(web.seen)
    with client.limited(expires=minute, targets=[named]) as lent, lent.http() as http:
        for host in written:
            with pytest.raises(
                (AccessDeniedError, InvalidRequestError, httpx.InvalidURL)
            ):
                http.get(f"http://{host}:{port}/")
        assert asked == len(web.seen)
        for host in ("LocalHost", "127.0.0.1@localhost"):
            assert principal("alice") == http.get(f"http://{host}:{port}/").text
    assert "https://xn--strae-oqa.example:443" == str(
        module.target_of(httpx.URL("https://straße.example"))
    )


def test_tickets_that_end_too_soon_are_an_error_before_the_work(
    server, admit, stage, web
):
    stage.realm.add_principal(
        "brief", "brief-pw", options='-maxlife "30 seconds" -maxrenewlife "30 seconds"'
    )
    server.accounts.add("brief")
    with (
        admit(server, "brief").http(web.url) as http,
        pytest.raises(CredentialsExpiredError, match="do not last"),
    ):
        http.get("/")
    assert [] == web.seen


def test_it_is_the_client_by_itself_and_not_inside_a_block(sessions, web):
    session = sessions["alice"]
    with (
        session.impersonate(),
        pytest.raises(InvalidRequestError, match="inside the impersonation block"),
    ):
        session.http(web.url)


def test_a_handler_reaches_others_as_the_client_that_it_is_handed(sessions, web):
    from stead.monitor.frames import FrameKind
    from stead.monitor.impersonation import Block

    client = sessions["alice"].client
    block = Block(FrameKind.HANDLER, None, client._guard)
    with block, client.http(web.url) as http:
        assert principal("alice") == http.get("/").text


def test_a_loops_thread_is_refused(sessions, web):
    http = sessions["alice"].http(web.url)

    async def ask():
        with pytest.raises(LoopThreadError, match=r"aio\.http"):
            sessions["alice"].http(web.url)
        with pytest.raises(LoopThreadError, match=r"aio\.http"):
            http.get("/")

    asyncio.run(ask())
    with sessions["alice"].impersonate(), pytest.raises(InvalidRequestError):
        http.get("/")
    http.close()
    assert [] == web.seen


# --- asyncio --------------------------------------------------------------------------


def test_tasks_of_one_loop_are_each_their_own_client(sessions, web):
    async def ask(name):
        async with await sessions[name].aio.http(web.url) as http:
            return [(await http.get("/")).text for _ in range(3)]

    async def all_at_once():
        return await asyncio.gather(*map(ask, ["alice", "bob"] * 3))

    got = asyncio.run(all_at_once())
    assert [[principal("alice")] * 3, [principal("bob")] * 3] * 3 == got


def test_asyncio_refuses_what_the_other_refuses(sessions, stage, web):
    async def ask():
        async with await sessions["alice"].aio.http(
            web.url, follow_redirects=True
        ) as http:
            with pytest.raises(NoCredentialsError, match="Basic"):
                await http.get("/basic")
            with pytest.raises(WrongIdentityError):
                await http.get("/unproven")
            with pytest.raises(NoCredentialsError, match="redirects there"):
                await http.get(f"/redirect?http://127.0.0.1:{web.port}/")
            with pytest.raises(NoCredentialsError, match="something else"):
                await http.get("/", auth=None)

    asyncio.run(ask())


@pytest.mark.parametrize("path", ["/slow", "/long"])
def test_a_task_fails_when_the_session_ends(sessions, web, path):
    session = sessions["alice"]

    async def ask():
        async with await session.aio.http(web.url) as http:
            task = asyncio.ensure_future(http.get(path))
            assert await asyncio.to_thread(web.arrived.wait, 60)
            await asyncio.sleep(0.05)
            await asyncio.to_thread(session.log_off)
            with pytest.raises(LogonSessionEndedError):
                await asyncio.wait_for(task, 60)

    asyncio.run(ask())


def test_an_answer_that_comes_just_when_its_task_is_cancelled_is_closed():
    """Its connection would be held by nobody, until the pool has none left."""

    class Stream(httpx.AsyncByteStream):
        is_closed = False

        async def aclose(self):
            self.is_closed = True

    async def naive(asking):
        return await asyncio.get_running_loop().create_task(asking)

    async def cancelled(wait):
        stream, answer = Stream(), asyncio.get_running_loop().create_future()

        async def asking():
            return await answer

        task = asyncio.create_task(wait(asking()))
        await asyncio.sleep(0.01)
        answer.set_result(httpx.Response(200, stream=stream))
        await asyncio.sleep(0)  # it has come, and whoever asked has not gone on
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return stream.is_closed

    assert asyncio.run(cancelled(module._as_nobody))
    assert not asyncio.run(cancelled(naive))
