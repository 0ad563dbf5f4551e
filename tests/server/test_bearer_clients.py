"""Clients of HTTP by the token of each request, and of no other request."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import jwt as pyjwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adapters.oidc.stage import b64, naive
from tests.lives import long_enough
from tests.receivers import eventually

from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.bearer_package import BearerPackage, oauthbearer
from stead.adapters.oidc.dpop import digest_of
from stead.adapters.oidc.exchange_desk import ExchangeRule
from stead.adapters.oidc.issuer_keys import IssuerKeys
from stead.adapters.oidc.signing import SigningKey
from stead.adapters.oidc.token_issuer import SidClaims
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import ChannelBinding
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    LogonFailureError,
    LogonSessionEndedError,
    SteadError,
)
from stead.gates.http import SteadMiddleware, client_of
from stead.gates.wsgi import WsgiMiddleware
from stead.ledger.query import Query
from stead.model.access_mask import Rights
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.limits import ANY_NAME
from stead.model.sid import Sid
from stead.model.token import ImpersonationLevel
from stead.server.bearer_clients import (
    Arrived,
    ScopeRule,
    ScopeRules,
    bearer_clients,
)
from stead.server.failure_quota import origin_of

NOTES = "https://notes.example"
QUICK = LockoutPolicy(first_delay=0.001, longest_delay=0.002)
WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "alice")
DOMAIN = Sid.from_string("S-1-5-21-7-7-7")


class Doc(Rights):
    READ = 0x1
    WRITE = 0x2


@pytest.fixture
def server(open_server, oidc_issuer):
    issuers = [Issuer(oidc_issuer.url, packages=["bearer"], names_accounts=True)]
    made = open_server(issuers=issuers, lockout=QUICK)
    for name in ("alice", "bob"):
        made.accounts.add(name)
    return made


@pytest.fixture
def make(server, oidc_issuer):
    """Return what makes an application behind the middleware."""

    def made(app=None, *, describe=None, **options):
        verifier = BearerVerifier([oidc_issuer.described(NOTES, **(describe or {}))])
        clients = bearer_clients(server, verifier, **options)
        return SteadMiddleware(app or name_of_client, client_for=clients)

    return made


async def name_of_client(scope, receive, send):
    await answer(send, client_of(scope).name)


async def answer(send, text):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


async def ask(app, token=None, *, headers=(), **scope):
    """Send one request; return status and body."""
    sent = []

    async def send(event):
        sent.append(event)

    async def receive():
        return {"type": "http.disconnect"}

    said = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    given = {
        "type": "http", "method": "GET", "path": "/", "client": ("192.0.2.7", 4711),
        "headers": [*said, *headers],
    }  # fmt: skip
    await app(given | scope, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


def get(app, token=None, **parts):
    return asyncio.run(ask(app, token, **parts))


def records(server, event):
    return [record for _, record in server.trail.find(Query(event=event))]


def test_an_issuer_that_is_slow_keeps_no_thread_of_the_loops(server, make, oidc_issuer):
    """Whoever makes names of keys up has it asked, and waits with it."""
    asked, answers = threading.Semaphore(0), threading.Event()

    def load():
        asked.release()
        answers.wait(60)
        raise DirectoryUnavailableError("the issuer does not answer")

    async def naive(app, token):
        return await asyncio.to_thread(load)

    async def held_up(ask_one, seconds, count=3):
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        slow = [asyncio.ensure_future(ask_one()) for _ in range(count)]
        await loop.run_in_executor(ThreadPoolExecutor(1), asked.acquire)
        other = loop.run_in_executor(None, int)  # as any other code of the program
        done, _ = await asyncio.wait([other], timeout=seconds)
        answers.set()
        await asyncio.gather(*slow, other, return_exceptions=True)
        return not done

    app = make(describe={"keys": IssuerKeys(load)})
    token = oidc_issuer.token("alice", NOTES)
    assert asyncio.run(held_up(lambda: naive(app, token), 0.5))
    answers.clear()
    asked = threading.Semaphore(0)
    assert not asyncio.run(held_up(lambda: ask(app, token), 30.0))


def test_want_of_threads_is_said_to_be_that_and_logs_nobody_on_later(
    server, make, oidc_issuer, monkeypatch
):
    app, token = make(), oidc_issuer.token("alice", NOTES)

    def none_left(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        status, said = get(app, token)
    assert 503 == status
    assert "thread" not in said
    assert (200, "alice") == get(app, token)
    assert 1 == len(records(server, AuditEvent.LOGON))


def test_more_than_can_wait_hear_that_the_server_is_not_available(
    server, make, oidc_issuer, monkeypatch
):
    monkeypatch.setattr("stead.gates.arrivals._WAITING", 0)
    status, said = get(make(), oidc_issuer.token("alice", NOTES))
    assert 503 == status
    assert "the server is not available" in said
    assert [] == records(server, AuditEvent.LOGON_FAILED)


# --- who is let in --------------------------------------------------------------------


def test_a_request_comes_as_whom_its_token_names(server, make, oidc_issuer):
    app = make()
    token = oidc_issuer.token("alice", NOTES, act={"sub": "front"}, scope="read")
    assert (200, "alice") == get(app, token)
    record = records(server, AuditEvent.LOGON)[-1]
    assert ("alice", "http", "192.0.2.7:4711") == (
        record.client.name, record.gate, record.peer,
    )  # fmt: skip
    assert [server.name, f"front ({oidc_issuer.url})", "alice"] == [
        principal.name for principal in record.chain
    ]
    said = dict(record.detail)
    assert ("bearer", oidc_issuer.url, "read") == (
        said["package"], said["issuer"], said["scope"],
    )  # fmt: skip
    assert token not in repr(records(server, AuditEvent.LOGON))
    # Its session ends with the request.
    assert "alice" == records(server, AuditEvent.LOGOFF)[-1].client.name


def test_where_a_failure_comes_from_is_told_without_what_differs(server, make):
    for client, peer in (
        (("::1", 7), "[::1]:7"),
        (("192.0.2.7", 8), "192.0.2.7:8"),
        (("/run/web.sock", None), "/run/web.sock"),
        (None, ""),
    ):
        assert 401 == get(make(), "bad", client=client)[0]
        assert peer == records(server, AuditEvent.LOGON_FAILED)[-1].peer
    assert "http [::1]" == origin_of("http", "[::1]:7")


def test_who_brings_no_token_is_asked_for_one(make):
    status, body = get(make())
    assert (401, "logon failure") == (status, json.loads(body)["title"])


@pytest.mark.parametrize("headers", [
    [b"Basic YTpi"],
    [b"Bearer"], [b"Bearer "], [b"bearer x", b"Bearer y"], [b"\xff"], [b""],
    [b"DPoP x"], [b"Bearer \xc3\xa9"],
])  # fmt: skip
def test_other_schemes_and_two_headers_are_failures(server, make, headers):
    said = [(b"Authorization", value) for value in headers]
    assert 401 == get(make(), headers=said)[0]
    assert 1 == len(records(server, AuditEvent.LOGON_FAILED))


def test_tokens_in_an_address_are_not_read(make, oidc_issuer):
    token = oidc_issuer.token("alice", NOTES)
    assert 401 == get(make(), query_string=f"access_token={token}".encode())[0]


def test_both_of_two_lists_must_name_an_issuer(open_server, oidc_issuer):
    verifier = BearerVerifier([oidc_issuer.described(NOTES)])
    for issuers in ([], [Issuer(oidc_issuer.url, packages=["certificate"])]):
        server = open_server(issuers=issuers, lockout=QUICK)
        server.accounts.add("alice")
        app = SteadMiddleware(
            name_of_client, client_for=bearer_clients(server, verifier)
        )
        assert 401 == get(app, oidc_issuer.token("alice", NOTES))[0]
        server.close()


def test_letters_that_look_alike_are_nobody_here(server, make, oidc_issuer):
    app = make()
    for name in ("\u0430lice", "ALICE", WIDE, "alice\u200b", "mallory"):
        assert 401 == get(app, oidc_issuer.token(name, NOTES))[0], name


def test_groups_come_from_the_issuer_s_own_domain_alone(open_server, oidc_issuer, make):
    ours, theirs = (Sid.from_string(f"{d}-513") for d in (DOMAIN, "S-1-5-21-8-8-8"))
    rules = SidClaims(user="sid", groups="groups", table={"a": ours, "b": theirs})
    issuers = [Issuer(oidc_issuer.url, domains=[DOMAIN], names_accounts=True)]
    server = open_server(issuers=issuers, lockout=QUICK)
    server.accounts.add("alice")
    described = oidc_issuer.described(NOTES, sids=rules)
    seen = []

    async def app(scope, receive, send):
        seen.append({group.sid for group in client_of(scope).token.groups})
        await answer(send, "done")

    clients = bearer_clients(server, BearerVerifier([described]))
    guarded = SteadMiddleware(app, client_for=clients)
    token = oidc_issuer.token("alice", NOTES, sid=f"{DOMAIN}-1", groups=["a", "b", "c"])
    assert 200 == get(guarded, token)[0]
    assert (True, False) == (ours in seen[0], theirs in seen[0])


# --- whose token counts (pains of agents' tool servers) -------------------------------


class NaiveSessions:
    """What SDKs do: the token of the request that opened a session counts for good."""

    def __init__(self, app, verifier):
        self._app, self._verifier = app, verifier
        self._names = {}

    async def __call__(self, scope, receive, send):
        headers = dict(scope["headers"])
        session = headers[b"mcp-session-id"]
        if session not in self._names:
            token = headers[b"authorization"].decode().removeprefix("Bearer ")
            self._names[session] = self._verifier.verify(token).name
        await answer(send, self._names[session])


def test_the_token_of_each_request_counts_and_not_that_of_the_session_s_first(
    make, oidc_issuer
):
    verifier = BearerVerifier([oidc_issuer.described(NOTES)])
    careless, app = NaiveSessions(name_of_client, verifier), make()
    alice, bob = (oidc_issuer.token(name, NOTES) for name in ("alice", "bob"))
    same = {"headers": [(b"mcp-session-id", b"1")]}

    assert (200, "alice") == get(careless, alice, **same)
    assert (200, "alice") == get(careless, bob, **same)  # bob acts as alice
    assert (200, "alice") == get(careless, "garbage", **same)  # and so does anybody

    assert (200, "alice") == get(app, alice, **same)
    assert (200, "bob") == get(app, bob, **same)
    assert 401 == get(app, "garbage", **same)[0]


def test_requests_side_by_side_each_have_their_own(make, oidc_issuer):
    names = ["alice", "bob"] * 10

    async def slow(scope, receive, send):
        client = client_of(scope)
        await asyncio.sleep(0.002 * (id(scope) % 5))
        await answer(send, client.name)

    app = make(slow)

    async def all_at_once():
        return await asyncio.gather(
            *(ask(app, oidc_issuer.token(name, NOTES)) for name in names)
        )

    assert [(200, name) for name in names] == asyncio.run(all_at_once())


def test_what_is_kept_of_a_request_s_client_ends_with_it(make, oidc_issuer):
    kept = []

    async def keeps(scope, receive, send):
        kept.append(client_of(scope))
        await answer(send, "done")

    assert 200 == get(make(keeps), oidc_issuer.token("alice", NOTES))[0]
    with pytest.raises(LogonSessionEndedError), kept[0].impersonate():
        raise AssertionError


def test_a_session_ends_with_its_token(server, make, oidc_issuer):
    plan = server.protect("plan", Doc, [allow("alice", Doc.READ)], owner="bob")
    seen = []

    async def app(scope, receive, send):
        client = client_of(scope)
        await asyncio.to_thread(server.require, client, plan, Doc.READ)
        while True:
            try:
                await asyncio.to_thread(server.require, client, plan, Doc.READ)
            except LogonSessionEndedError as error:
                seen.append(error)
                break
            await asyncio.sleep(0.05)
        await answer(send, "done")

    guarded = make(app, describe={"leeway": 0.0})

    def served(seconds):
        token = oidc_issuer.token("alice", NOTES, exp=int(time.time() + seconds))
        if get(guarded, token) != (200, "done"):
            raise LogonSessionEndedError("it ended before it was used")
        return token

    token = long_enough(served, seconds=3.0, late=LogonSessionEndedError)
    assert seen
    assert 401 == get(guarded, token)[0]


# --- what scopes mean -----------------------------------------------------------------


@pytest.fixture
def scoped(server, make):
    server.protect("plan", Doc, [allow("alice", Doc.READ | Doc.WRITE)], owner="bob")

    async def app(scope, receive, send):
        client, right = client_of(scope), Doc[scope["path"].strip("/")]
        plan = server.find_object("plan")
        await asyncio.to_thread(server.require, client, plan, right)
        await answer(send, client.name)

    rules = {
        "doc.read": ScopeRule(rights=[Doc.READ]),
        "doc.write": ScopeRule(rights=[Doc.WRITE], operations=["tidy"]),
    }
    return make(app, scopes=ScopeRules(rules=rules, targets=[ANY_NAME]))


def test_scopes_limit_what_a_client_may_do(server, scoped, oidc_issuer):
    for scope, read, write in (
        ("doc.read", 200, 403),
        ("doc.write other", 403, 200),
        ("doc.read doc.write", 200, 200),
        ("other", 401, 401),
        ("doc.reads DOC.READ", 401, 401),
        (None, 401, 401),
    ):
        token = oidc_issuer.token("alice", NOTES, scope=scope)
        found = [get(scoped, token, path=f"/{right}")[0] for right in ("READ", "WRITE")]
        assert [read, write] == found, scope
    # What her account may not do, no scope adds.
    everything = oidc_issuer.token("bob", NOTES, scope="doc.read doc.write")
    assert 403 == get(scoped, everything, path="/READ")[0]
    made = records(server, AuditEvent.GRANT_MADE)[0]
    assert "Doc: READ" in dict(made.detail)["rights"]


def test_a_limited_session_ends_with_its_request(server, scoped, oidc_issuer):
    token = oidc_issuer.token("alice", NOTES, scope="doc.read")
    assert 200 == get(scoped, token, path="/READ")[0]
    assert not [r for r in server._house.guard.liveness.records() if r.name == "alice"]


# --- tokens that are bound ------------------------------------------------------------


def certificate():
    der = b"0\x03\x02\x01\x07"
    return der, ssl.DER_cert_to_PEM_cert(der)


def test_a_certificate_that_the_gate_saw_binds_a_token(make, oidc_issuer):
    der, pem = certificate()
    bound = {"x5t#S256": b64(hashlib.sha256(der).digest())}
    token = oidc_issuer.token("alice", NOTES, cnf=bound)
    app = make()
    shown = {"extensions": {"tls": {"client_cert_chain": [pem]}}}
    assert (200, "alice") == get(app, token, **shown)
    assert "alice" == naive(token)["sub"]
    another = ssl.DER_cert_to_PEM_cert(b"0\x00")
    for chain in (None, [], [another], [another, pem]):
        tls = {} if chain is None else {"tls": {"client_cert_chain": chain}}
        assert 401 == get(app, token, extensions=tls)[0]
    # A header counts only where somebody said that it does.
    header = [(b"x-client-cert", base64.b64encode(der))]
    assert 401 == get(app, token, headers=header)[0]
    proxied = make(certificate_of=lambda scope: base64.b64decode(
        dict(scope["headers"]).get(b"x-client-cert", b"")) or None)  # fmt: skip
    assert (200, "alice") == get(proxied, token, headers=header)
    # What cannot be read is a failed logon, and no error of the server's.
    broken = [(b"x-client-cert", b"!")]
    assert 401 == get(proxied, token, headers=broken)[0]
    no_pem = {"tls": {"client_cert_chain": ["no certificate"]}}
    assert 401 == get(app, token, extensions=no_pem)[0]


def test_a_proof_is_for_the_address_that_clients_see(make, oidc_issuer):
    key = SigningKey.generate("mine")
    thumbprint = key.key.thumbprint()
    token = oidc_issuer.token("alice", NOTES, cnf={"jkt": thumbprint})

    def headers(url):
        said = {
            "jti": str(time.monotonic_ns()), "htm": "GET", "htu": url,
            "iat": int(time.time()), "ath": digest_of(token),
        }  # fmt: skip
        public = {"jwk": key.key.as_dict(private=False)}
        proof = key.sign(said, "dpop+jwt", public).encode()
        return [(b"authorization", f"DPoP {token}".encode()), (b"dpop", proof)]

    app = make(origin=NOTES + "/")
    place = {"path": "/a b", "raw_path": b"/a%20b", "query_string": b"x=1"}
    assert (200, "alice") == get(app, headers=headers(NOTES + "/a%20b"), **place)
    assert (200, "alice") == get(app, headers=headers(NOTES + "/a%20b"), path="/a b")
    assert 401 == get(app, headers=headers(NOTES + "/other"), **place)[0]
    assert 401 == get(app, token, **place)[0]
    nowhere = make()
    assert 401 == get(nowhere, headers=headers(NOTES + "/a%20b"), **place)[0]


# --- the second hop -------------------------------------------------------------------


def test_a_request_s_session_reaches_other_servers_as_its_client(
    server, make, oidc_issuer
):
    files = {"https://files.example": "files"}
    rule = ExchangeRule(audience=NOTES, targets=["files"])
    exchange = oidc_issuer.exchange("notes", rule, files)
    found = []

    async def app(scope, receive, send):
        client = client_of(scope)
        (held,) = server._house.guard.liveness.credentials_of(client.token)
        bearer = await asyncio.to_thread(held.bearer, "https://files.example")
        found.append((client, held, oidc_issuer.read(bearer, "files")))
        await answer(send, client.name)

    guarded = make(app, exchange=exchange)
    token = oidc_issuer.token("alice", NOTES, act={"sub": "gateway"})
    assert (200, "alice") == get(guarded, token)
    client, held, onward = found[0]
    assert ImpersonationLevel.DELEGATION == client.level
    assert ("alice", ["notes", "gateway"]) == (
        onward.name,
        [actor.name for actor in onward.actors],
    )
    with pytest.raises(LogonSessionEndedError):
        held.bearer("https://files.example")
    # A client that is not admitted leaves nothing behind.
    assert 401 == get(guarded, oidc_issuer.token("mallory", NOTES))[0]


def test_a_request_goes_on_to_a_second_server_and_is_the_client_s_there(
    server, make, open_server, oidc_issuer
):
    """Browser, front server, file server: whose request it is, all three agree."""
    issuers = [Issuer(oidc_issuer.url, packages=["bearer"], names_accounts=True)]
    files = open_server("files", issuers=issuers, lockout=QUICK)
    files.accounts.add("alice")
    judged = bearer_clients(files, BearerVerifier([oidc_issuer.described("files")]))
    file_server = SteadMiddleware(name_of_client, client_for=judged)

    async def careless_server(scope, receive, send):
        # It looks at the signature and at who is named, and not at for whom.
        token = dict(scope["headers"])[b"authorization"].decode().split()[1]
        key = oidc_issuer.signing_key.key.as_pem(private=False)
        found = pyjwt.decode(
            token, key, algorithms=["ES256"], options={"verify_aud": False}
        )
        await answer(send, found["sub"])

    async def front(scope, receive, send):
        client = client_of(scope)
        passed_on = dict(scope["headers"])[b"authorization"].decode().split()[1]
        (held,) = server._house.guard.liveness.credentials_of(client.token)
        exchanged = await asyncio.to_thread(held.bearer, "https://files.example")
        found = [
            await ask(target, token)
            for target in (careless_server, file_server)
            for token in (passed_on, exchanged)
        ]
        await answer(send, json.dumps([[s, b if s == 200 else ""] for s, b in found]))

    rule = ExchangeRule(audience=NOTES, targets=["files"])
    places = {"https://files.example": "files"}
    exchange = oidc_issuer.exchange("front", rule, places)
    app = make(front, exchange=exchange)
    status, body = get(app, oidc_issuer.token("alice", NOTES))
    assert 200 == status
    assert [
        [200, "alice"],  # careless: any token of hers, from whomever it was taken
        [200, "alice"],
        [401, ""],  # a token that was given to the front server is the front server's
        [200, "alice"],
    ] == json.loads(body)
    logon = records(files, AuditEvent.LOGON)[-1]
    assert ["files", f"front ({oidc_issuer.url})", "alice"] == [
        principal.name for principal in logon.chain
    ]


# --- WSGI -----------------------------------------------------------------------------


def test_the_same_holds_for_wsgi(server, make, oidc_issuer):
    clients = bearer_clients(server, BearerVerifier([oidc_issuer.described(NOTES)]))

    def app(environ, start_response):
        start_response("200 OK", [])
        return [client_of_environ(environ).name.encode()]

    def client_of_environ(environ):
        return environ["stead.client"]

    guarded = WsgiMiddleware(app, client_for=clients.of_environ)

    def call(**environ):
        started = []
        given = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.7"}
        parts = guarded(given | environ, lambda status, *_: started.append(status))
        try:
            return started or None, b"".join(parts)
        finally:
            parts.close()

    token = oidc_issuer.token("alice", NOTES)
    assert b"alice" == call(HTTP_AUTHORIZATION=f"Bearer {token}", REMOTE_PORT="1")[1]
    for wrong in (f"Bearer {token},Bearer {token}", f"Bearer {token}x", "Basic x"):
        assert b"logon failure" in call(HTTP_AUTHORIZATION=wrong)[1]
    assert clients.of_environ({}) is None


# --- one refusal for every cause ------------------------------------------------------

CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "act", "cnf", "scope",
                     "jti", "may_act", "azp", "events"]),
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text()
    | st.lists(st.text(max_size=5), max_size=3)
    | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    max_size=4,
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "jku", "x5c", "b64"]),
    st.none() | st.integers() | st.text(max_size=10) | st.lists(st.text(max_size=3)),
    max_size=3,
)


@pytest.fixture
def refusing(server, oidc_issuer):
    """Return what shows a token to the server, and what it hears of a failure."""
    clients = bearer_clients(server, BearerVerifier([oidc_issuer.described(NOTES)]))

    def show(text):
        try:
            client = clients.of_environ({"HTTP_AUTHORIZATION": text})
        except SteadError as error:
            return error
        client.close()
        return client.name

    return show


@given(data=st.data())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_malformed_token_is_one_failure_with_one_text(
    refusing, oidc_issuer, data
):
    key = oidc_issuer.signing_key
    good = oidc_issuer.token("alice", NOTES)
    kind = data.draw(st.sampled_from(["bytes", "claims", "header", "cut", "raw"]))
    if kind == "bytes":
        text = data.draw(st.text(max_size=200))
    elif kind == "claims":
        claims = oidc_issuer.claims("alice", NOTES) | data.draw(CLAIMS)
        text = key.sign(claims)
    elif kind == "header":
        parts = good.split(".")
        head = {"alg": "ES256", "kid": "key-1", "typ": "at+jwt"} | data.draw(HEADERS)
        text = ".".join([b64(head), *parts[1:]])
    elif kind == "cut":
        at = data.draw(st.integers(0, len(good) - 1))
        text = good[:at] + data.draw(st.text(max_size=2)) + good[at + 1 :]
    else:
        text = ".".join(b64(data.draw(st.binary(max_size=60))) for _ in range(3))
    found = refusing(f"Bearer {text}")
    if found == "alice":
        return  # what was changed does not count, or was no change
    assert isinstance(found, LogonFailureError), found
    assert ("logon failure", "logon failure") == (str(found), found.public)
    assert found.__cause__ is None
    assert found.__context__ is None


def test_the_trail_says_why_and_the_client_hears_nothing(server, refusing, oidc_issuer):
    refusing(f"Bearer {oidc_issuer.token('alice', 'https://files.example')}")
    record = records(server, AuditEvent.LOGON_FAILED)[-1]
    assert ("the token is for another server",) == record.reasons


def test_an_issuer_that_is_down_is_in_the_trail_and_one_failure_to_the_client(
    open_server, oidc_issuer
):
    server = open_server(issuers=[Issuer(oidc_issuer.url)], lockout=QUICK)
    clients = bearer_clients(server, BearerVerifier([oidc_issuer.described(NOTES)]))
    token = oidc_issuer.token("alice", NOTES)
    oidc_issuer.stop()
    with pytest.raises(LogonFailureError):
        clients.of_environ({"HTTP_AUTHORIZATION": f"Bearer {token}"})
    record = records(server, AuditEvent.LOGON_FAILED)[-1]
    assert "the issuer's keys are not known" in record.reasons[0]


# --- floods, and clients that go away -------------------------------------------------


def test_failures_however_many_delay_nobody_else(open_server, oidc_issuer, monkeypatch):
    late = LockoutPolicy(first_delay=2.0)
    issuers = [Issuer(oidc_issuer.url, names_accounts=True)]
    server = open_server(issuers=issuers, lockout=late)
    server.accounts.add("alice")
    clients = bearer_clients(server, BearerVerifier([oidc_issuer.described(NOTES)]))
    app = SteadMiddleware(name_of_client, client_for=clients)
    done, over = [], asyncio.Event()

    async def wait(seconds):
        assert seconds > 0
        await over.wait()

    own = SimpleNamespace(**vars(asyncio) | {"sleep": wait})
    monkeypatch.setattr("stead.server.bearer_clients.asyncio", own)

    async def one(token):
        status, _ = await ask(app, token)
        done.append(status)

    async def all_at_once():
        # Garbage, and good tokens of people who are nobody here: more than threads.
        nobody = oidc_issuer.token("mallory", NOTES)
        bad = [asyncio.ensure_future(one(token)) for token in ("garbage", nobody) * 10]
        good = oidc_issuer.token("alice", NOTES)
        async with asyncio.timeout(60):
            await asyncio.gather(*(one(good) for _ in range(4)))
        assert [200] * 4 == done
        over.set()
        await asyncio.gather(*bad)

    asyncio.run(all_at_once())
    assert [401] * 20 == done[4:]


def test_a_client_that_goes_away_leaves_no_session(server, make, oidc_issuer):
    app = make()

    async def gone():
        task = asyncio.create_task(ask(app, oidc_issuer.token("alice", NOTES)))
        await asyncio.sleep(0.003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(5):
        asyncio.run(gone())

    def has_none():
        gc.collect()
        live = server._house.guard.liveness.records()
        return "alice" not in {record.name for record in live}

    # Each token is looked at to the end all the same, and nobody takes its session.
    eventually(has_none)


def test_a_failure_names_the_request_s_trace(server, make):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    header = [(b"traceparent", f"00-{trace}-00f067aa0ba902b7-01".encode())]
    assert 401 == get(make(), "bad", headers=header)[0]
    assert trace in records(server, AuditEvent.LOGON_FAILED)[-1].correlation


def test_other_gates_hand_over_what_arrived(server, oidc_issuer):
    clients = bearer_clients(server, BearerVerifier([oidc_issuer.described(NOTES)]))
    said = f"Bearer {oidc_issuer.token('alice', NOTES)}"
    arrived = Arrived((said,), gate="grpc", peer="192.0.2.9:1")
    with clients.of_arrived(arrived) as client:
        assert ("alice", "grpc") == (client.name, client.subject.gate)
    assert said not in repr(arrived)
    assert clients.of_arrived(Arrived(())) is None


def test_a_token_comes_through_gates_that_exchange_blobs(open_server, oidc_issuer):
    package = BearerPackage(BearerVerifier([oidc_issuer.described(NOTES)]))
    issuers = [Issuer(oidc_issuer.url, packages=["bearer"], names_accounts=True)]
    server = open_server(packages=[package], issuers=issuers, lockout=QUICK)
    server.accounts.add("alice")
    token = oidc_issuer.token("alice", NOTES)
    with server.begin_logon("oauthbearer", gate="pipe") as exchange:
        exchange.step(oauthbearer(token))
    with exchange.session as session:
        assert ("alice", "bearer") == (session.name, session.record.package)
    # A channel that asks for a tie gets none by a token that anybody could use.
    tie = ChannelBinding("tls-exporter", b"x" * 32)
    for blob, binding in ((b"garbage", None), (oauthbearer(token), tie)):
        with server.begin_logon("oauthbearer", binding=binding) as exchange:
            with pytest.raises(LogonFailureError):
                exchange.step(blob)
            assert exchange.session is None


def test_evidence_that_breaks_a_library_is_one_failure(server):
    def breaks():
        raise RuntimeError("a library's own words")

    def refuses():
        raise EvidenceRefusedError("why")

    for show in (breaks, refuses):
        with pytest.raises(LogonFailureError) as failed:
            server.admit_shown(show, package="bearer")
        assert failed.value.record is not None


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("verifier", "the issuer's name"),
        ("exchange", "https://idp.example/token"),
        ("scopes", {"docs.read": ["READ"]}),
        ("certificate_of", b"the certificate"),
    ],
)
def test_what_could_not_be_meant_is_refused_before_a_request_comes(
    server, oidc_issuer, name, given
):
    """Else each request is a failed logon, or fails amid its second hop."""
    verifier = BearerVerifier([oidc_issuer.described(NOTES)])
    with pytest.raises(InvalidRequestError, match=f"`{name}` is a"):
        bearer_clients(server, **{"verifier": verifier, name: given})
