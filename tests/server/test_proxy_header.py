"""A proxy's header says who a client is: from the proxy, and from nobody else."""

import asyncio
import base64
import os
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import SimpleNamespace
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.adapters.certificates import CertificateIssuer, Certificates, NameKind
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.errors import EvidenceRefusedError, InvalidRequestError, LogonFailureError
from stead.gates.http import SteadMiddleware, client_of
from stead.gates.negotiate import NegotiateMiddleware
from stead.gates.negotiate_wsgi import NegotiateWsgiMiddleware
from stead.gates.proxy import (
    HeaderFormat,
    NamedProxy,
    PeerUid,
    ProxyCertificate,
    SharedSecret,
    by_certificate,
)
from stead.gates.proxy.headers import read_header
from stead.gates.proxy.uvicorn_peer import PeerProtocol
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.secret import Secret
from stead.testing.certificates import SERVER, Authority, upn

QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.01)
SECRET = "a secret of thirty-two letters.."
WORD = {"x-edge": SECRET}
NO_PEM = "-----BEGIN CERTIFICATE-----\nM\n-----END CERTIFICATE-----"


class Stage:
    """A server, whom it believes, and an application that says who asks."""

    def __init__(self, folder, open_server, lockout=QUICK):
        self.folder = folder
        self.corp, self.server_ca = Authority("Corp CA"), Authority("Server CA")
        issuer = CertificateIssuer(
            name="corp",
            anchors=self.corp.anchor(folder / "corp.pem"),
            domain="corp.test",
        )
        self.certificates = Certificates([issuer])
        believed = Issuer("corp", names_accounts=True)
        self.server = open_server(issuers=[believed], lockout=lockout)
        for name in ("alice", "bob"):
            self.server.accounts.add(name)
        self.seen = []
        self.alice = self.corp.issue("alice", upn("alice@corp.test"))

    def proxy(self, proof=None, style=HeaderFormat.CLIENT_CERT, **more):
        proof = proof or SharedSecret("X-Edge", Secret(SECRET))
        return NamedProxy("edge", style, proof, **more)

    def app(self, *proxies, **options):
        async def asked(scope, receive, send):
            self.seen.append(scope)
            name = client_of(scope).name.encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": name})

        client_for = by_certificate(
            self.server.admit_shown,
            self.certificates,
            proxies=proxies,
            **options,
        )
        return SteadMiddleware(asked, client_for=client_for)

    def ask(self, app, headers):
        async def scenario():
            transport = httpx.ASGITransport(app, client=("192.0.2.7", 50))
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.get("http://notes.test/", headers=headers)

        answer = asyncio.run(scenario())
        return answer.text if answer.status_code == 200 else answer.status_code

    def reasons(self):
        found = self.server.trail.find(Query(event=AuditEvent.LOGON_FAILED))
        return [reason for _, record in found for reason in record.reasons]

    @asynccontextmanager
    async def serve(self, app, **config):
        told = uvicorn.Config(
            app, http=config.pop("http", PeerProtocol), log_level="error",
            lifespan="off", **config,
        )  # fmt: skip
        server = uvicorn.Server(told)
        task = asyncio.create_task(server._serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.005)
        try:
            yield server.servers[0].sockets[0].getsockname()
        finally:
            server.should_exit = True
            await task


@pytest.fixture
def stage(tmp_path, open_server):
    return Stage(tmp_path, open_server)


def der(signed):
    return f":{base64.b64encode(signed.der).decode()}:"


def escaped(*signed):
    return quote(b"".join(one.pem for one in signed).decode())


def xfcc(leaf, *others, more=""):
    chain = f';Chain="{escaped(leaf, *others)}"' if others else ""
    return f'By=spiffe://x;Hash=ab;Cert="{escaped(leaf)}"{chain};URI=a;URI=b{more}'


# --- the proxy is believed ------------------------------------------------------------


@pytest.mark.parametrize("is_between", [False, True])
@pytest.mark.parametrize(
    ("style", "write"),
    [
        (HeaderFormat.CLIENT_CERT, lambda leaf, *_: der(leaf)),
        (HeaderFormat.ESCAPED_PEM, escaped),
        (HeaderFormat.XFCC, xfcc),
    ],
)
def test_a_named_proxy_says_whose_certificate_it_saw(stage, style, write, is_between):
    authority = Authority("Between", stage.corp) if is_between else stage.corp
    leaf = authority.issue("alice", upn("alice@corp.test"))
    headers = {**WORD, style.value: write(leaf, *leaf.chain)}
    if style is HeaderFormat.CLIENT_CERT and is_between:
        headers["client-cert-chain"] = ", ".join(map(der, leaf.chain))
    assert "alice" == stage.ask(stage.app(stage.proxy(style=style)), headers)
    _, entry = list(stage.server.trail.find(Query(event=AuditEvent.LOGON)))[-1]
    assert ("http", "192.0.2.7:50", "corp") == (
        entry.gate,
        entry.peer,
        entry.detail["issuer"],
    )


def test_a_header_of_another_name_and_bare_base64(stage):
    proxy = stage.proxy(style=HeaderFormat.BASE64_DER, header="X-Tls-Der")
    headers = {**WORD, "x-tls-der": base64.b64encode(stage.alice.der).decode()}
    assert "alice" == stage.ask(stage.app(proxy), headers)


def test_applications_do_not_see_the_proxy_s_secret(stage):
    headers = {**WORD, "client-cert": der(stage.alice)}
    assert "alice" == stage.ask(stage.app(stage.proxy()), headers)
    assert SECRET not in str(stage.seen)
    assert SECRET not in repr(stage.proxy())


def test_who_shows_no_certificate_is_whoever_else_says_so(stage):
    def otherwise(scope):
        return stage.server.client_for("bob", authenticated_by="cookie")

    async def later(scope):
        return otherwise(scope)

    for choice in (otherwise, later):
        app = stage.app(stage.proxy(), otherwise=choice)
        assert "bob" == stage.ask(app, WORD)
    assert 401 == stage.ask(stage.app(stage.proxy()), WORD)


PORTAL = "https://portal.test"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 200),  # no browser
        ({"sec-fetch-site": "same-origin", "origin": "http://notes.test"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://notes.test"}, 200),
        ({"sec-fetch-site": "cross-site", "origin": PORTAL}, 200),  # it is named
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "https://evil.test"}, 403),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_a_page_of_another_site_does_not_act_as_whoever_reads_it(stage, said, status):
    """A browser shows a certificate unasked, and the proxy forwards it."""
    shown = {**WORD, "client-cert": der(stage.alice), **said}
    headers = [(key.encode(), value.encode()) for key, value in shown.items()]
    assert "alice" == naive({"headers": headers}), "whoever had it sent"
    app = stage.app(stage.proxy(), origins=[PORTAL])
    assert ("alice" if status == 200 else status) == stage.ask(app, shown)


def test_origins_are_named_one_by_one(stage):
    assert "https://portal" in PORTAL, "in one text, another origin is found"
    for make in (
        stage.app,
        partial(NegotiateMiddleware, stage.app(), begin=None),
        partial(NegotiateWsgiMiddleware, stage.app(), begin=None),
    ):
        with pytest.raises(InvalidRequestError, match="origins"):
            make(origins=PORTAL)


# --- nobody else is -------------------------------------------------------------------


def naive(scope):
    """What much code does: the header says who it is, whoever sent it."""
    values = {key.decode(): value.decode() for key, value in scope["headers"]}
    leaf = base64.b64decode(values["client-cert"].strip(":"))
    subject = x509.load_der_x509_certificate(leaf).subject
    return subject.rfc4514_string().partition("=")[2]


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ({}, "somebody who is no named proxy"),
        ({"x-edge": "guessed"}, "secret is wrong"),
        ({"x-edge": ""}, "secret is wrong"),
        ({"x-edge": SECRET.upper()}, "secret is wrong"),
        ({"x-edge": f"{SECRET},{SECRET}"}, "secret is wrong"),
        ({"x_edge": SECRET}, "somebody who is no named proxy"),
    ],
)
def test_a_header_that_anybody_else_sends_is_an_error_that_is_recorded(
    stage, word, why
):
    """A certificate is public: mallory has alice's, and sends it past the proxy."""
    taken = []

    async def believing(scope, receive, send):
        taken.append(naive(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = {**word, "client-cert": der(stage.alice)}
    stage.ask(believing, headers)
    assert ["alice"] == taken
    assert 401 == stage.ask(stage.app(stage.proxy()), headers)
    assert any(why in reason for reason in stage.reasons())
    assert [] == stage.seen


@pytest.mark.parametrize("name", [one.value for one in HeaderFormat])
def test_a_header_that_nobody_configured_is_an_error_too(stage, name):
    def otherwise(scope):
        return stage.server.client_for("bob", authenticated_by="cookie")

    app = stage.app(stage.proxy(header="x-own"), otherwise=otherwise)
    assert "bob" == stage.ask(app, {})
    assert 401 == stage.ask(app, {name.title(): der(stage.alice)})
    assert 401 == stage.ask(app, {**WORD, name: der(stage.alice)})
    assert any("pass" in reason for reason in stage.reasons())


def test_a_proxy_that_lets_a_client_s_own_header_pass_is_not_believed(stage):
    app = stage.app(stage.proxy())
    bob = stage.corp.issue("bob", upn("bob@corp.test"))
    twice = [
        *WORD.items(),
        ("client-cert", der(stage.alice)),
        ("client-cert", der(bob)),
    ]
    assert 401 == stage.ask(app, twice)
    beside = {
        **WORD,
        "client-cert": der(bob),
        "x-ssl-client-cert": escaped(stage.alice),
    }
    assert 401 == stage.ask(app, beside)
    reasons = stage.reasons()
    assert any("more than once" in why for why in reasons)
    assert any("lets `x-ssl-client-cert` pass" in why for why in reasons)


def test_what_the_proxy_believes_does_not_count(stage):
    """The proxy trusts another authority too, which names alice."""
    forged = Authority("Corp CA").issue("alice", upn("alice@corp.test"))
    headers = {**WORD, "client-cert": der(forged)}
    assert 401 == stage.ask(stage.app(stage.proxy()), headers)
    assert any("no issuer that is believed" in why for why in stage.reasons())


def test_envoy_that_appends_to_what_clients_send_is_not_believed(stage):
    """In that mode the first element is whatever the client wrote."""
    proxy = stage.proxy(style=HeaderFormat.XFCC)
    bob = stage.corp.issue("bob", upn("bob@corp.test"))
    both = f"{xfcc(stage.alice)},{xfcc(bob)}"
    first = both.partition('Cert="')[2].partition('"')[0]
    assert first == escaped(stage.alice)  # whom a naive reader takes
    app = stage.app(proxy)
    assert 401 == stage.ask(app, {**WORD, proxy.header_name: both})
    assert any("more than one proxy" in why for why in stage.reasons())
    quoted = xfcc(bob).replace("Hash=ab", 'Subject="CN=x,Cert=\\"y\\""')
    assert "bob" == stage.ask(app, {**WORD, proxy.header_name: quoted})


def test_more_than_can_wait_hear_that_the_server_is_not_available(stage, monkeypatch):
    monkeypatch.setattr("stead.gates.arrivals._WAITING", 0)
    shown = WORD | {"client-cert": der(stage.alice)}
    assert 503 == stage.ask(stage.app(stage.proxy()), shown)


@pytest.mark.parametrize("delays", [True, False])
def test_failures_of_some_delay_nobody_else(tmp_path, open_server, delays, monkeypatch):
    """Whoever has a failure waited out on its thread has everybody wait for it."""
    late = LockoutPolicy(first_delay=1.0, longest_delay=1.0)
    stage = Stage(tmp_path, open_server, late)
    if delays:
        admit = stage.server.admit_shown
        stage.server.admit_shown = lambda show, **options: admit(
            show, **options | {"wait": None}
        )
    app = stage.app(stage.proxy())
    answered = []

    async def wait(seconds):
        while seconds > 0 and 200 not in answered:  # noqa: ASYNC110 - for as long as it takes
            await asyncio.sleep(0.005)

    own = SimpleNamespace(**vars(asyncio) | {"sleep": wait})
    monkeypatch.setattr("stead.gates.proxy.forwarded.asyncio", own)

    async def one(client, headers):
        answered.append((await client.get("/", headers=headers)).status_code)

    async def scenario():
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 50))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://notes.test"
        ) as client:
            asked = [WORD | {"client-cert": ":MII:"}] * 20
            asked.append(WORD | {"client-cert": der(stage.alice)})
            async with asyncio.timeout(60):
                await asyncio.gather(*(one(client, headers) for headers in asked))

    asyncio.run(scenario())
    assert 20 == answered.count(401)
    assert delays == (200 != answered[0])
    assert 200 in answered


@pytest.mark.parametrize(
    ("style", "value"),
    [
        (HeaderFormat.CLIENT_CERT, "MIIB"),
        (HeaderFormat.CLIENT_CERT, ":MIIB"),
        (HeaderFormat.CLIENT_CERT, "::"),
        (HeaderFormat.CLIENT_CERT, ":MII:"),
        (HeaderFormat.CLIENT_CERT, ":MIIB:;a=1"),
        (HeaderFormat.CLIENT_CERT, ":" + "A" * 70_000 + ":"),
        (HeaderFormat.BASE64_DER, "M%$"),
        (HeaderFormat.BASE64_DER, ""),
        (HeaderFormat.ESCAPED_PEM, "(null)"),
        (HeaderFormat.ESCAPED_PEM, "-----BEGIN CERTIFICATE-----%0A-----END"),
        (HeaderFormat.ESCAPED_PEM, quote(NO_PEM)),
        (HeaderFormat.XFCC, "By=a;Hash=b"),
        (HeaderFormat.XFCC, "Cert="),
        (HeaderFormat.XFCC, 'Cert="a";Cert="b"'),
        (HeaderFormat.XFCC, 'Cert="a'),
        (HeaderFormat.XFCC, "nonsense"),
        (HeaderFormat.XFCC, 'Cert="x"y'),
    ],
)  # fmt: skip
def test_a_malformed_header_is_a_logon_failure(stage, style, value):
    proxy = stage.proxy(style=style)
    assert 401 == stage.ask(stage.app(proxy), {**WORD, proxy.header_name: value})
    assert 1 == len(stage.reasons())


@pytest.mark.parametrize(
    "chain", ["nonsense", ",".join([":AAAA:"] * 17), ":" + "A" * 70_000 + ":"]
)
def test_a_malformed_chain_is_a_logon_failure(stage, chain):
    app = stage.app(stage.proxy())
    headers = {**WORD, "client-cert": der(stage.alice), "client-cert-chain": chain}
    assert 401 == stage.ask(app, headers)
    assert 401 == stage.ask(app, {**WORD, "client-cert-chain": chain})


def test_a_proxys_names_are_told_one_by_one(stage):
    told = "edge.test"
    assert "test" in told, "another proxy of the authority's, in one text"
    with pytest.raises(InvalidRequestError, match="names"):
        ProxyCertificate(stage.certificates, "proxies", told)


def test_two_proxies_cannot_both_be_the_sender(stage):
    app = stage.app(stage.proxy(), stage.proxy(header="x-other"))
    assert 401 == stage.ask(app, {**WORD, "client-cert": der(stage.alice)})
    assert any("several proxies" in why for why in stage.reasons())


@pytest.mark.parametrize("content", ["short", ""])
def test_a_secret_that_can_be_guessed_is_refused(content):
    with pytest.raises(InvalidRequestError, match="16 bytes"):
        SharedSecret("X-Edge", Secret(content))


# --- web servers that hide who connects -----------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda _: PeerUid(33),
        lambda _: PeerUid("33"),
        lambda _: SharedSecret("X-Edge", "as long as it has to be"),
        lambda _: SharedSecret(b"X-Edge", Secret("as long as it has to be")),
        lambda stage: by_certificate(
            stage.server.admit_shown,
            stage.certificates,
            proxies=NamedProxy("edge", HeaderFormat.XFCC, PeerUid({33})),
        ),
    ],
)
def test_what_could_not_be_meant_of_a_proxy_is_refused_before_it_sends(stage, make):
    with pytest.raises(InvalidRequestError, match=r"`(uids|secret|header|proxies)` is"):
        make(stage)


def test_a_web_server_that_hides_who_connects_is_told_so(stage):
    hiding = (
        stage.app(),
        stage.app(stage.proxy(PeerUid({0}))),
        stage.app(stage.proxy(ProxyCertificate(stage.certificates, "corp", {"edge"}))),
    )
    for app in hiding:
        assert 401 == stage.ask(app, {"client-cert": der(stage.alice)})
    assert 401 == stage.ask(stage.app(), {})
    reasons = stage.reasons()
    assert any("hides who connects" in why for why in reasons)
    assert any("hides certificates" in why for why in reasons)


def test_uvicorn_by_itself_hides_certificates_and_peers(stage):
    async def scenario():
        path = str(stage.folder / "web.sock")
        async with stage.serve(stage.app(), uds=path, http="h11"):
            assert 401 == (await over(path)).status_code
        async with stage.serve(stage.app(), **tls_of(stage), http="h11") as place:
            answer = await over_tls(stage, place, stage.alice)
            assert 401 == answer.status_code

    asyncio.run(scenario())
    assert all("hides certificates" in why for why in stage.reasons())
    assert 2 == len(stage.reasons())


async def over(path, **headers):
    transport = httpx.AsyncHTTPTransport(uds=path)
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.get("http://notes.test/", headers=headers)


def tls_of(stage):
    signed = stage.server_ca.issue("s", x509.DNSName("localhost"), use=(SERVER,))
    anchors = stage.folder / "anchors.pem"
    anchors.write_bytes(stage.certificates.anchors)
    return {
        "host": "127.0.0.1",
        "port": 0,
        "ssl_certfile": str(signed.write(stage.folder / "web.pem")),
        "ssl_ca_certs": str(anchors),
        "ssl_cert_reqs": ssl.CERT_OPTIONAL,
    }


async def over_tls(stage, place, signed=None, headers=None):
    context = ssl.create_default_context(
        cafile=stage.server_ca.anchor(stage.folder / "s.pem")
    )
    if signed is not None:
        context.load_cert_chain(signed.write(stage.folder / "mine.pem"))
    async with httpx.AsyncClient(verify=context) as client:
        return await client.get(f"https://localhost:{place[1]}/", headers=headers)


def test_a_proxy_at_a_local_socket_is_who_the_kernel_says(stage):
    async def scenario(uids):
        path = str(stage.folder / "web.sock")
        async with stage.serve(stage.app(stage.proxy(PeerUid(uids))), uds=path):
            return await over(path, **{"client-cert": der(stage.alice)})

    assert "alice" == asyncio.run(scenario({os.geteuid()})).text
    assert 401 == asyncio.run(scenario({70_001})).status_code
    assert any("no named proxy" in why for why in stage.reasons())
    _, entry = list(stage.server.trail.find(Query(event=AuditEvent.LOGON)))[-1]
    assert f"uid {os.geteuid()}" == entry.peer


def test_a_proxy_is_known_by_a_certificate_of_its_own(stage):
    proxies, others = Authority("Proxy CA"), Authority("Proxy CA")
    desk = Certificates(
        [
            CertificateIssuer(
                name=name,
                anchors=authority.anchor(stage.folder / f"{name}.pem"),
                names=(NameKind.DNS,),
            )
            for name, authority in (("proxies", proxies), ("others", others))
        ]
    )
    proof = ProxyCertificate(desk, "proxies", {"edge.test"})
    app = stage.app(stage.proxy(proof))
    edge = proxies.issue("edge", x509.DNSName("edge.test"))
    other = proxies.issue("other", x509.DNSName("other.test"))
    twin = others.issue("edge", x509.DNSName("edge.test"))

    async def scenario():
        options = tls_of(stage)
        anchors = stage.folder / "anchors.pem"
        anchors.write_bytes(stage.certificates.anchors + desk.anchors)
        header = {"client-cert": der(stage.alice)}
        async with stage.serve(app, **options) as place:
            assert "alice" == (await over_tls(stage, place, edge, header)).text
            # A client may not pass for a proxy, nor one proxy for another.
            for signed in (other, twin, stage.alice, None):
                answer = await over_tls(stage, place, signed, header)
                assert 401 == answer.status_code

    asyncio.run(scenario())


def test_the_connection_s_own_certificate_counts_where_it_is_shown(stage):
    async def scenario():
        async with stage.serve(stage.app(), **tls_of(stage)) as place:
            assert "alice" == (await over_tls(stage, place, stage.alice)).text
            assert 401 == (await over_tls(stage, place)).status_code
            header = {"client-cert": der(stage.alice)}
            assert 401 == (await over_tls(stage, place, None, header)).status_code

    asyncio.run(scenario())
    assert any("no named proxy" in why for why in stage.reasons())


class Resuming(PeerProtocol):
    """A web server that resumes sessions, as uvicorn does by itself."""

    def __init__(self, config, *rest, **named):
        super().__init__(config, *rest, **named)
        config.ssl.num_tickets = 2


async def twice_over_tls(stage, place, signed):
    """Ask twice, the second time in the session of the first, if the server lets."""
    context = ssl.create_default_context(
        cafile=stage.server_ca.anchor(stage.folder / "s.pem")
    )
    context.load_cert_chain(signed.write(stage.folder / "mine.pem"))
    session = None

    def ask():
        nonlocal session
        with socket.create_connection(place[:2]) as plain, context.wrap_socket(
            plain, server_hostname="localhost", session=session
        ) as tls:  # fmt: skip
            tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
            heard = b"".join(iter(partial(tls.recv, 4096), b""))
            session = tls.session
            return tls.session_reused, heard.split()[1], heard.rpartition(b"\r\n")[2]

    return [await asyncio.to_thread(ask) for _ in range(2)]


def test_a_client_that_resumes_its_session_is_nobody_else(stage):
    """Of a session that was resumed OpenSSL has a certificate, and no chain."""

    def guest(_scope):
        return stage.server.client_for("bob", authenticated_by="cookie")

    async def scenario(http):
        app = stage.app(otherwise=guest)
        async with stage.serve(app, http=http, **tls_of(stage)) as place:
            return await twice_over_tls(stage, place, stage.alice)

    alice = (False, b"200", b"alice")
    assert [alice, alice] == asyncio.run(scenario(PeerProtocol))
    first, second = asyncio.run(scenario(Resuming))
    assert (alice, (True, b"401")) == (first, second[:2])
    assert ["the certificate is verified by no authority"] == stage.reasons()


def test_every_refusal_is_one_text(stage):
    async def scenario():
        app = stage.app(stage.proxy())
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 50))
        async with httpx.AsyncClient(transport=transport) as client:
            found = [
                (await client.get("http://x/", headers=headers)).json()
                for headers in (
                    {"client-cert": der(stage.alice)},
                    {**WORD, "client-cert": "garbage"},
                    {"x-edge": "x", "client-cert": der(stage.alice)},
                )
            ]
        return {(one["title"], one["code"]) for one in found}

    assert {(LogonFailureError.public, 1326)} == asyncio.run(scenario())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HeaderFormat), st.text(max_size=200) | st.binary().map(str))
def test_whatever_a_header_holds_is_a_certificate_or_a_refusal(style, value):
    for text in (value, f":{value}:", f'Cert="{value}"', f"By=x;{value}"):
        with suppress(EvidenceRefusedError):
            assert isinstance(read_header(style, [text], [text]).leaf, bytes)
