"""HTTP as a client that came with a bearer token: exchanged, and read over there."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import contextmanager
from threading import Thread

import httpx
import pytest
from tests.receivers import Authority

from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.exchange_desk import ExchangeRule
from stead.adapters.outbound import http_proof
from stead.authority.issuers import Issuer
from stead.errors import (
    EvidenceRefusedError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    NoCredentialsError,
)
from stead.model.audit_record import Outcome
from stead.server.bearer_clients import Arrived, bearer_clients
from stead.server.way_out import Way
from stead.testing.https_server import HttpsServer, Reply
from stead.testing.issuer import TOKEN

NOTES = "https://notes.example"


class Files:
    """A server that believes tokens for `files` alone, and says what they say.

    Attributes:
        shown: what requests showed.
        before: called with each request, before it is answered.
    """

    def __init__(self, issuer, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.shown = []
        self.before = lambda: None
        self.verifier = BearerVerifier([issuer.described("files")])
        self.server = HttpsServer(("127.0.0.1", 0), self.answer, context)
        self.url = f"https://localhost:{self.server.server_address[1]}"

    def answer(self, path, form, authorization):
        self.before()
        self.shown.append(authorization)
        try:
            read = self.verifier.verify(authorization.removeprefix("Bearer "))
        except EvidenceRefusedError:
            return Reply(401)
        said = [read.name, [actor.name for actor in read.actors]]
        return Reply(body=json.dumps(said).encode())


@contextmanager
def running(issuer, certificate):
    made = Files(issuer, certificate)
    thread = Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.stop()
        thread.join()


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority.issue("localhost")


@pytest.fixture
def files(oidc_issuer, certificate):
    with running(oidc_issuer, certificate) as made:
        yield made


@pytest.fixture
def other(oidc_issuer, certificate):
    with running(oidc_issuer, certificate) as made:
        yield made


@pytest.fixture
def server(open_server, oidc_issuer):
    issuer = Issuer(oidc_issuer.url, packages=["bearer"], names_accounts=True)
    return open_server(issuers=[issuer])


@pytest.fixture
def exchange(oidc_issuer, files):
    rule = ExchangeRule(audience=NOTES, targets=["files"])
    return oidc_issuer.exchange("front", rule, {files.url: "files"})


@pytest.fixture
def client_of(server, oidc_issuer, exchange):
    """Return what makes the client of a request, as the gates do."""
    made = []
    verifier = BearerVerifier([oidc_issuer.described(NOTES)])
    clients = bearer_clients(server, verifier, exchange=exchange)

    def make(name, **claims):
        token = oidc_issuer.token(name, NOTES, **claims)
        made.append(clients.of_arrived(Arrived((f"Bearer {token}",))))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def admitted(server, oidc_issuer, exchange):
    """A session of alice's, as other gates open it."""
    token = oidc_issuer.token("alice", NOTES)
    held = oidc_issuer.credentials(exchange, token, NOTES)
    with server.admit(oidc_issuer.read(token, NOTES).authenticated(held)) as session:
        yield session


def test_another_server_sees_each_client_and_through_whom_it_comes(client_of, files):
    alice, bob = client_of("alice", act={"sub": "gateway"}), client_of("bob")
    bindings = alice._hop._hops.binding
    for _ in range(2):
        for client, said in (
            (alice, ["alice", ["front", "gateway"]]),
            (bob, ["bob", ["front"]]),
        ):
            with client.http(files.url) as http:
                assert said == http.get("/").json()
    assert 2 == len(set(files.shown))  # a token for each of them, and kept
    assert {} == bindings._known  # such a token is bound to no channel


def test_a_session_goes_on_as_its_client_does(admitted, files):
    with admitted.http(files.url) as http:
        assert ["alice", ["front"]] == http.get("/").json()

    async def work():
        async with await admitted.aio.http(files.url) as http:
            return (await http.get("/")).json()

    assert ["alice", ["front"]] == asyncio.run(work())


def test_one_request_that_two_clients_send_at_once_shows_each_its_own(
    client_of, files, oidc_issuer
):
    """What is shown once lies in the request itself, another's is sent with it."""
    tokens = {name: oidc_issuer.token(name, "files") for name in ("alice", "bob")}

    async def naive(name):
        async def show(request):
            request.headers["Authorization"] = f"Bearer {tokens[name]}"
            await asyncio.sleep(0)  # as whoever records it would wait

        return httpx.AsyncClient(event_hooks={"request": [show]})

    clients = {name: client_of(name) for name in tokens}

    async def both(make):
        alice, bob = [await make(name) for name in tokens]
        async with alice, bob:
            said = []
            for _ in range(5):
                one = httpx.Request("GET", files.url)
                got = await asyncio.gather(alice.send(one), bob.send(one))
                said.append([each.json()[0] for each in got])
            return said

    assert [["bob", "bob"]] * 5 == asyncio.run(both(naive))
    ours = asyncio.run(both(lambda name: clients[name].aio.http()))
    assert [["alice", "bob"]] * 5 == ours


def test_the_client_s_own_token_is_good_here_alone_and_sent_nowhere(
    client_of, files, oidc_issuer
):
    naive = oidc_issuer.token("alice", NOTES)
    assert 401 == files.answer("/", [], f"Bearer {naive}").status
    files.shown.clear()
    with client_of("alice").http(files.url) as http:
        http.get("/")
    [shown] = files.shown
    assert "alice" == oidc_issuer.read(shown.removeprefix("Bearer "), "files").name


def test_it_is_recorded_before_anybody_is_asked(
    client_of, files, oidc_issuer, hops, server
):
    alice, found = client_of("alice", act={"sub": "gateway"}), []
    files.before = lambda: found.extend(hops(server))
    with alice.http(files.url) as http:
        http.get("/")
    [record] = found
    gateway = f"gateway ({oidc_issuer.url})"
    assert ("alice", files.url, "delegation", Outcome.SUCCESS) == (
        record.client.name, record.object_name, record.detail["level"], record.outcome
    )  # fmt: skip
    assert ["front", gateway, "alice"] == [each.name for each in record.chain]
    assert "bearer" == record.detail["mechanism"]


@pytest.mark.bypasses_the_law
def test_a_token_that_is_exchanged_before_its_record_is_found(
    client_of, files, oidc_issuer, law, monkeypatch
):
    """The naive way asks the issuer first, and records where it goes afterwards."""
    begin = Way.begin

    def late(way, *how):
        http_proof.show(way, how[0], None)
        begin(way, *how)

    monkeypatch.setattr(Way, "begin", late)
    with client_of("alice").http(files.url) as http:
        assert ["alice", ["front"]] == http.get("/").json()
    (breach,) = law.take()
    assert breach.startswith("`bearer` of")
    assert files.url in breach


@pytest.mark.bypasses_the_law  # what fails here is the record itself
def test_what_cannot_be_recorded_asks_no_issuer(client_of, files, oidc_issuer, server):
    alice = client_of("alice")
    server._house.guard.recorder.sink.close()
    with alice.http(files.url) as http, pytest.raises(LedgerUnavailableError):
        http.get("/")
    assert [] == files.shown
    assert 0 == oidc_issuer.asked[TOKEN]


def test_a_server_that_no_token_is_exchanged_for_is_not_reached(
    client_of, other, oidc_issuer, hops, server
):
    with (
        client_of("alice").http(other.url) as http,
        pytest.raises(NoCredentialsError, match="no token is exchanged") as caught,
    ):
        http.get("/")
    assert "the double hop" in caught.value.advice
    assert [] == other.shown
    assert 0 == oidc_issuer.asked[TOKEN]
    assert Outcome.FAILURE is hops(server)[-1].outcome


def test_a_server_that_the_issuer_does_not_allow_is_not_reached(
    server, files, oidc_issuer, hops
):
    rule = ExchangeRule(audience=NOTES, targets=["database"])
    exchange = oidc_issuer.exchange("front", rule, {files.url: "files"})
    token = oidc_issuer.token("alice", NOTES)
    held = oidc_issuer.credentials(exchange, token, NOTES)
    shown = oidc_issuer.read(token, NOTES).authenticated(held)
    with (
        server.admit(shown) as session,
        session.http(files.url) as http,
        pytest.raises(NoCredentialsError, match="files"),
    ):
        http.get("/")
    assert 1 == len(oidc_issuer.refusals)
    assert [] == files.shown
    assert Outcome.FAILURE is hops(server)[-1].outcome


def test_without_an_exchange_a_bearer_token_is_the_double_hop(
    server, files, oidc_issuer
):
    token = oidc_issuer.token("alice", NOTES)
    with (
        server.admit(oidc_issuer.read(token, NOTES).authenticated()) as session,
        session.http(files.url) as http,
        pytest.raises(NoCredentialsError, match="has no credentials"),
    ):
        http.get("/")
    assert [] == files.shown


def test_nobody_goes_on_when_the_request_has_ended(client_of, files):
    alice = client_of("alice")
    http = alice.http(files.url)
    http.get("/")
    alice.close()
    with pytest.raises(LogonSessionEndedError):
        http.get("/")
    http.close()
    assert 1 == len(files.shown)
