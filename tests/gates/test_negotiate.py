"""Negotiate over HTTP: curl, a browser, and everybody who has no ticket of theirs."""

import asyncio
import base64
import datetime as dt
import gc
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import gssapi
import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from gssapi.raw import ChannelBindings, accept_sec_context
from gssapi.raw.misc import GSSError
from tests.adapters.kerberos.stage import (
    DELEGATE,
    KERBEROS,
    MUTUAL,
    SPNEGO,
    staged,
)

from stead.adapters.end_point import server_end_point
from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.errors import InvalidRequestError, NoCredentialsError, OperationFailedError
from stead.gates.http import client_of
from stead.gates.negotiate import NegotiateMiddleware, session_of
from stead.gates.negotiate_wsgi import NegotiateWsgiMiddleware
from stead.gates.wsgi import client_of as wsgi_client_of
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

NTLM = b"NTLMSSP\0\1\0\0\0\x97\x82\x08\xe2" + bytes(24)
QUICK = LockoutPolicy(first_delay=0.001, longest_delay=0.01)


@pytest.fixture(scope="module")
def stage():
    with staged() as made:
        yield made


@pytest.fixture
def server(stage):
    with ProtectedServer(
        "web", enforcement=Enforcement.TOKEN, lockout=QUICK,
        packages=[KerberosPackage(stage.service())],
        issuers=[Issuer("STEAD.TEST", names_accounts=True)],
    ) as made:  # fmt: skip
        for name in ("alice", "bob"):
            made.accounts.add(name)
        yield made


def told(scope):
    """What the application says of a request's client."""
    try:
        held = session_of(scope).credentials_for("kerberos").principal
    except NoCredentialsError:
        held = "nothing"
    return f"{client_of(scope).name} with {held}"


async def site(scope, receive, send):
    body, status = told(scope).encode(), 403 if scope["path"] == "/no" else 200
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def begin(server):
    return partial(server.begin_logon, "negotiate", gate="http")


@contextmanager
def served(app, **options):
    config = uvicorn.Config(app, log_level="warning", lifespan="off", **options)
    made = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(
            target=lambda: asyncio.run(made.serve(sockets=[listening]))
        )
        thread.start()
        while not made.started:
            time.sleep(0.005)
        secure = "s" if "ssl_certfile" in options else ""
        yield f"http{secure}://localhost:{listening.getsockname()[1]}"
        made.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def url(server):
    with served(NegotiateMiddleware(site, begin=begin(server))) as address:
        yield address


def shows(blob, scheme="Negotiate"):
    return {"authorization": f"{scheme} {base64.b64encode(blob).decode()}"}


def failures(server):
    return list(server.trail.find(Query(event=AuditEvent.LOGON_FAILED)))


def in_realm(stage, name):
    cache = stage.realm.log_on(name, {"alice": "tiger", "bob": "lion"}[name])
    return {**os.environ, **stage.realm.environment(cache)}


def curl(environment, *arguments):
    return subprocess.run(
        ["curl", "-sS", "--negotiate", "-u", ":", *arguments], env=environment,
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip


def test_curl_is_who_its_ticket_says(stage, url):
    for name in ("alice", "bob"):
        assert f"{name} with nothing" == curl(in_realm(stage, name), f"{url}/")


def test_each_request_of_a_connection_shows_a_ticket_of_its_own(stage, url, server):
    alice = in_realm(stage, "alice")
    said = curl(alice, "-w", "/%{num_connects}\n", f"{url}/1", f"{url}/2", f"{url}/3")
    lines = said.splitlines()
    assert ["alice with nothing"] * 3 == [line.rpartition("/")[0] for line in lines]
    assert [] == failures(server)
    # A proxy's connection: nobody is who came before.
    with httpx.Client(base_url=url) as proxied:
        first = proxied.get("/", headers=shows(stage.context("alice").step()))
        assert "alice with nothing" == first.text
        assert "false" == first.headers["persistent-auth"]
        assert 401 == proxied.get("/").status_code
        second = proxied.get("/", headers=shows(stage.context("bob").step()))
        assert "bob with nothing" == second.text


def test_what_curl_delegates_is_the_sessions_until_its_request_ends(stage, server):
    seen = []

    async def keeping(scope, receive, send):
        seen.append(session_of(scope).credentials_for("kerberos"))
        heard = stage.back_end_hears(seen[-1].initiate("HTTP@back").step())
        assert "alice@STEAD.TEST" == heard
        await site(scope, receive, send)

    with served(NegotiateMiddleware(keeping, begin=begin(server))) as address:
        alice = in_realm(stage, "alice")
        said = curl(alice, "--delegation", "always", f"{address}/")
    assert "alice with alice@STEAD.TEST" == said
    with pytest.raises(NoCredentialsError, match="closed"):
        seen[0].gss()


def browse(environment, folder, address):
    """Have a browser show a page; the first start of a profile may show nothing."""
    for _ in range(4):
        said = subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile",
             "--auth-server-allowlist=localhost", "--dump-dom", address],
            env={**environment, "HOME": str(folder)}, check=True,
            capture_output=True, text=True, timeout=90,
        ).stdout  # fmt: skip
        if "logon failure" not in said:
            break
    return said


def test_a_browser_is_who_its_user_is(stage, url, tmp_path):
    said = browse(in_realm(stage, "bob"), tmp_path, f"{url}/")
    assert "bob with nothing" in said


@pytest.mark.parametrize("mech", [KERBEROS, SPNEGO])
def test_the_server_proves_itself_with_its_answer(stage, url, mech):
    context = stage.context(mech=mech)
    for path, status in (("/", 200), ("/no", 403)):
        context = stage.context(mech=mech)
        answer = httpx.get(f"{url}{path}", headers=shows(context.step()))
        assert status == answer.status_code
        scheme, _, proof = answer.headers["www-authenticate"].partition(" ")
        assert "Negotiate" == scheme
        context.step(base64.b64decode(proof))
        assert context.complete


def test_a_request_that_shows_nothing_is_asked_to_and_not_written_down(url, server):
    for headers in ({}, {"authorization": "Basic YTpi"}, {"authorization": ""}):
        answer = httpx.get(url, headers=headers)
        assert (401, "Negotiate") == (
            answer.status_code, answer.headers["www-authenticate"],
        )  # fmt: skip
        assert "persistent-auth" not in answer.headers
    assert [] == failures(server)


def test_whatever_is_no_ticket_hears_the_same(stage, url, server):
    blob = stage.context().step()
    assert 200 == httpx.get(url, headers=shows(blob)).status_code
    spnego_of_ntlm = bytes.fromhex(
        "601c06062b0601050502a0123010a00e300c060a2b06010401823702020a"
    )
    bad = [
        shows(blob),  # again
        shows(NTLM), shows(spnego_of_ntlm), shows(b"\x60\x82\xff\xff"),
        shows(blob[:-9]), {"authorization": "Negotiate"},
        {"authorization": "Negotiate not base64!"},
        {"authorization": "negotiate " + "A" * 60000},
        shows(stage.context(target="HTTP/back").step()),
    ]  # fmt: skip
    answers = [httpx.get(url, headers=headers) for headers in bad]
    twice = [
        ("authorization", value) for value in shows(stage.context().step()).values()
    ]
    answers.append(httpx.get(url, headers=[*twice, *twice]))
    for answer in answers:
        said = answer.json()
        assert said.pop("record") > 0
        assert {"title": "logon failure", "status": 401, "code": 1326} == said
        assert "Negotiate" == answer.headers["www-authenticate"]
    assert len(answers) == len(failures(server))


def test_an_exchange_of_several_messages_is_refused(stage, url, server):
    """The mechanism that the client guessed is not ours: it would take another one."""
    asks = bytes.fromhex(
        "602706062b0601050502a01d301ba019301706092a864886f712010202"
        "060a2b06010401823702020a"
    )
    exchange = server.begin_logon("negotiate", gate="http")
    assert exchange.step(asks)
    assert exchange.session is None
    exchange.close()
    assert 401 == httpx.get(url, headers=shows(asks)).status_code
    assert 1 == len(failures(server))


PAGE = {"host": "notes.example", "sec-fetch-mode": "cors"}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("POST", {"origin": "http://notes.example"}, 200),
        ("POST", {"origin": "https://portal.example"}, 200),
        ("POST", {"sec-fetch-site": "same-origin"}, 200),
        ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
        ("GET", {"sec-fetch-site": "cross-site"}, 403),
        ("GET", {"sec-fetch-site": "same-site"}, 403),
        ("POST", {"origin": "http://evil.example"}, 403),
        ("POST", {"origin": "null"}, 403),
    ],
)
def test_another_sites_page_does_not_act_as_its_reader(
    stage, server, method, headers, status
):
    app = NegotiateMiddleware(
        site, begin=begin(server), origins=["https://portal.example"]
    )
    with served(app) as address:
        given = {**PAGE, **headers, **shows(stage.context().step())}
        answer = httpx.request(method, address, headers=given)
        assert status == answer.status_code


def test_a_websocket_of_another_sites_page_is_refused(stage, server):
    app = NegotiateMiddleware(accepting, begin=begin(server))
    for origin, kind in ((b"http://here", "accept"), (b"http://evil", "close")):
        headers = [(b"host", b"here"), (b"origin", origin)]
        authorization = shows(stage.context().step())["authorization"]
        headers.append((b"authorization", authorization.encode()))
        scope = {"type": "websocket", "scheme": "ws", "path": "/", "headers": headers}
        (event,) = run_once(app, scope)
        assert f"websocket.{kind}" == event["type"]
        if kind == "accept":
            assert any(name == b"www-authenticate" for name, _ in event["headers"])


async def accepting(scope, receive, send):
    assert "alice" == client_of(scope).name
    await send({"type": "websocket.accept"})


def run_once(app, scope):
    sent = []

    async def send(event):
        sent.append(event)

    asyncio.run(app(scope, None, send))
    return sent


def test_other_scopes_pass_and_nothing_is_found_without_the_gate():
    async def app(scope, receive, send):
        await send({"type": scope["type"]})

    passing = NegotiateMiddleware(app, begin=None)
    assert [{"type": "lifespan"}] == run_once(passing, {"type": "lifespan"})
    with pytest.raises(OperationFailedError):
        session_of({})


# --- TLS ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and its own certificate, in one file."""
    file = tmp_path_factory.mktemp("tls") / "tls.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(
        signed(key, key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def signed(key, by, algorithm):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(by, algorithm)
    )


def no_trust():
    """The certificate is nobody's; whom it is of, the tickets say."""
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def bound(data):
    return ChannelBindings(application_data=b"tls-server-end-point:" + data)


def test_over_tls_a_message_is_bound_to_the_certificate(stage, server, certificate):
    """A message that is relayed to us was made for whoever relays it."""
    binding = server_end_point(certificate.read_text())
    own, relays = bound(binding.data), bound(hashlib.sha256(b"another").digest())
    app = NegotiateMiddleware(site, begin=begin(server), binding=binding)
    with served(app, ssl_certfile=str(certificate)) as address:

        def ask(channel_bindings):
            blob = stage.context(channel_bindings=channel_bindings).step()
            return httpx.get(
                address, headers=shows(blob), verify=no_trust()
            ).status_code

        assert [200, 401, 401] == [ask(own), ask(relays), ask(None)]
        # It binds nothing; where that is meant, it is said.
        unable = curl(in_realm(stage, "alice"), "-k", f"{address}/")
        assert "logon failure" in unable
    unbound = NegotiateMiddleware(site, begin=begin(server), unbound_tls=True)
    with served(unbound, ssl_certfile=str(certificate)) as address:
        said = curl(in_realm(stage, "alice"), "-k", f"{address}/")
        assert "alice with nothing" == said


def test_tls_that_nothing_is_bound_to_is_the_operators_to_say(
    stage, server, certificate
):
    app = NegotiateMiddleware(site, begin=begin(server))
    with served(app, ssl_certfile=str(certificate)) as address:
        headers = shows(stage.context().step())
        assert 501 == httpx.get(address, headers=headers, verify=no_trust()).status_code


def test_a_certificate_is_told_by_the_hash_of_its_own_signature():
    key = ec.generate_private_key(ec.SECP384R1())
    for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        made = signed(key, key, algorithm)
        der = made.public_bytes(serialization.Encoding.DER)
        pem = made.public_bytes(serialization.Encoding.PEM).decode()
        expected = hashlib.new(made.signature_hash_algorithm.name, der).digest()
        for given in (der, pem, f"before\n{pem}{pem}"):
            found = server_end_point(given)
            assert ("tls-server-end-point", expected) == (found.kind, found.data)
    other = ed25519.Ed25519PrivateKey.generate()
    undefined = signed(key, other, None).public_bytes(serialization.Encoding.DER)
    begins = "-----BEGIN CERTIFICATE-----"
    for bad in (undefined, b"", b"\x30", der[:-1], b"\x31" + der[1:], "", begins,
                begins + "\n!\n-----END CERTIFICATE-----"):  # fmt: skip
        with pytest.raises(InvalidRequestError):
            server_end_point(bad)


# --- under load, and WSGI -------------------------------------------------------------


def test_many_clients_at_once_are_each_themselves(stage, url):
    async def go():
        async with httpx.AsyncClient(base_url=url) as client:

            async def one(number):
                name = ("alice", "bob")[number % 2]
                blob = stage.context(name, creds=tickets[name]).step()
                return name, (await client.get("/", headers=shows(blob))).text

            return await asyncio.gather(*map(one, range(40)))

    tickets = {name: stage.ticket(name) for name in ("alice", "bob")}
    for name, said in asyncio.run(go()):
        assert f"{name} with nothing" == said


@pytest.mark.parametrize("is_right", [True, False])
def test_a_client_that_goes_away_meanwhile_leaves_nothing(
    stage, server, caplog, is_right
):
    begun, gate = threading.Event(), threading.Event()

    def slow(**options):
        begun.set()
        gate.wait(60)
        return server.begin_logon("negotiate", gate="http", **options)

    app = NegotiateMiddleware(site, begin=slow)

    async def go():
        headers = [(b"authorization", shows(blob)["authorization"].encode())]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        task = asyncio.ensure_future(app(scope, None, None))
        assert await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        while app._arrivals._working:  # noqa: ASYNC110 - the gate has no event for it
            await asyncio.sleep(0.005)

    blob = stage.context(flags=DELEGATE).step() if is_right else NTLM
    asyncio.run(go())
    gc.collect()
    opened = list(server.trail.find(Query(event=AuditEvent.LOGON)))
    ended = list(server.trail.find(Query(event=AuditEvent.LOGOFF)))
    names = [[entry.client.name for _, entry in found] for found in (opened, ended)]
    assert names[0].count("alice") == names[1].count("alice") == int(is_right)
    assert 1 - int(is_right) == len(failures(server))
    assert "" == caplog.text


def test_more_clients_than_can_wait_are_turned_away(stage, server, monkeypatch):
    monkeypatch.setattr("stead.gates.arrivals._WAITING", 0)
    with served(NegotiateMiddleware(site, begin=begin(server))) as address:
        headers = shows(stage.context().step())
        assert 503 == httpx.get(address, headers=headers).status_code


def test_clients_who_came_while_there_were_no_threads_take_no_place_for_good(
    stage, server, monkeypatch
):
    """As many as may wait, at the limit of a service's tasks: nobody came after."""
    monkeypatch.setattr("stead.gates.arrivals._WAITING", 2)
    app = NegotiateMiddleware(site, begin=begin(server))
    answered = []

    async def come():
        headers = shows(stage.context().step())["authorization"].encode()
        scope = {
            "type": "http", "method": "GET", "path": "/",
            "headers": [(b"authorization", headers)],
        }  # fmt: skip

        async def send(event):
            if event["type"] == "http.response.start":
                answered.append(event["status"])

        await app(scope, None, send)

    def none_left(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", none_left)
        for _ in range(3):
            asyncio.run(come())
    asyncio.run(come())
    assert [503, 503, 503, 200] == answered
    # Nor is one logged on later who was turned away: nobody would end that session.
    logons = list(server.trail.find(Query(event=AuditEvent.LOGON)))
    assert 1 == sum(record.client.name == "alice" for _, record in logons)


def as_threads_wait(started):
    """As many gates do: whoever looks at what is shown waits out a failure, too."""
    return lambda **options: started(**options | {"wait": None})


@pytest.mark.parametrize(
    ("kind", "delays"), [(as_threads_wait, True), (partial, False)]
)
def test_failures_of_some_delay_nobody_else(stage, kind, delays, monkeypatch):
    answered = []

    async def wait(seconds):
        while seconds > 0 and 200 not in answered:  # noqa: ASYNC110 - for as long as it takes
            await asyncio.sleep(0.005)

    own = SimpleNamespace(**vars(asyncio) | {"sleep": wait})
    monkeypatch.setattr("stead.gates.negotiate.asyncio", own)

    async def go(app, blobs):
        async def one(blob):
            headers = [(b"authorization", shows(blob)["authorization"].encode())]
            scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}

            async def send(event):
                if event["type"] == "http.response.start":
                    answered.append(event["status"])

            await app(scope, None, send)

        async with asyncio.timeout(60):
            await asyncio.gather(*map(one, blobs))

    with ProtectedServer(
        "web", enforcement=Enforcement.TOKEN,
        lockout=LockoutPolicy(first_delay=1.0, longest_delay=1.0),
        packages=[KerberosPackage(stage.service())],
        issuers=[Issuer("STEAD.TEST", names_accounts=True)],
    ) as made:  # fmt: skip
        made.accounts.add("alice")
        app = NegotiateMiddleware(site, begin=kind(begin(made)))
        blobs = [NTLM] * 20 + [stage.context().step()]
        asyncio.run(go(app, blobs))
        assert 20 == answered.count(401)
        assert delays == (200 != answered[0])
        assert 200 in answered


def wsgi_site(environ, start_response):
    body = wsgi_client_of(environ).name.encode()
    session = session_of(environ)
    assert session.name == body.decode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def ask_wsgi(app, **environ):
    said = {}

    def start_response(status, headers, exc_info=None):
        said["status"], said["headers"] = status, headers
        return lambda _: None

    answer = app({"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", **environ},
                 start_response)  # fmt: skip
    try:
        return said, b"".join(answer)
    finally:
        answer.close()


def test_wsgi_applications_have_the_same_gate(stage, server):
    app = NegotiateWsgiMiddleware(wsgi_site, begin=begin(server))
    context = stage.context(mech=SPNEGO)
    authorization = shows(context.step())["authorization"]
    said, body = ask_wsgi(app, HTTP_AUTHORIZATION=authorization, REMOTE_ADDR="::1")
    assert ("200 OK", b"alice") == (said["status"], body)
    headers = dict(said["headers"])
    assert "false" == headers["Persistent-Auth"]
    context.step(base64.b64decode(headers["Www-Authenticate"].partition(" ")[2]))
    assert context.complete
    for environ, status in (
        ({}, "401 Unauthorized"),
        ({"HTTP_AUTHORIZATION": authorization}, "401 Unauthorized"),  # again
        (
            {"HTTP_AUTHORIZATION": f"{authorization},{authorization}"},
            "401 Unauthorized",
        ),
        ({"HTTP_ORIGIN": "http://evil"}, "403 Forbidden"),
        ({"wsgi.url_scheme": "https"}, "501 Not Implemented"),
    ):
        said, _ = ask_wsgi(app, **environ)
        assert status == said["status"]
        assert "Persistent-Auth" not in dict(said["headers"])


def test_a_wsgi_application_that_fails_late_still_proves_itself(stage, server):
    def failing(environ, start_response):
        start_response("200 OK", [])
        yield b""
        try:
            int("one")
        except ValueError:
            start_response("500 Internal Server Error", [], sys.exc_info())
        yield b"failed"

    app = NegotiateWsgiMiddleware(failing, begin=begin(server))
    authorization = shows(stage.context(flags=MUTUAL).step())["authorization"]
    said, body = ask_wsgi(app, HTTP_AUTHORIZATION=authorization)
    assert ("500 Internal Server Error", b"failed") == (said["status"], body)
    assert "Www-Authenticate" in dict(said["headers"])


def test_gssapi_of_the_process_is_not_what_the_gate_uses(stage, url, monkeypatch):
    monkeypatch.setenv("KRB5_KTNAME", f"FILE:{stage.back}")
    with pytest.raises(GSSError):
        accept_sec_context(stage.context().step(), gssapi.Credentials(usage="accept"))
    headers = shows(stage.context().step())
    assert 200 == httpx.get(url, headers=headers).status_code
