"""HTTP as a client over TLS: tickets are bound to it, bearer tokens go by it alone."""

from __future__ import annotations

import base64
import datetime as dt
import socket
import ssl
import threading

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from tests.adapters.outbound.web import serving
from tests.receivers import Authority

from stead.adapters.oidc.fetching import Fetcher
from stead.adapters.outbound.tls_binding import Bindings, end_point_binding
from stead.adapters.patience import Patience
from stead.errors import (
    LogonSessionEndedError,
    NoCredentialsError,
    ServerUnavailableError,
)
from stead.model.delegation_policy import NetworkTarget


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """A certificate for `localhost`, of an authority that this machine believes."""
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority.issue("localhost")


@pytest.fixture
def secure(stage, certified):
    with serving(stage.web, tls=certified) as web:
        yield web


def test_a_ticket_is_bound_to_the_channel(sessions, secure, stage):
    tickets = stage.tickets("alice")
    naive = tickets.initiate("HTTP@localhost")
    shown = base64.b64encode(naive.step()).decode()
    with httpx.Client() as client:
        got = client.get(secure.url, headers={"Authorization": f"Negotiate {shown}"})
    assert "unbound" == got.text
    for name, session in sessions.items():
        with session.http(secure.url) as http:
            assert f"{name}@STEAD.TEST" == http.get("/").text


def test_nobody_writes_down_by_what_keys_a_client_was_shown(
    sessions, secure, monkeypatch, tmp_path
):
    """Python does, for whoever set a variable, and has all read that was sent."""
    written = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(written))

    def keys():
        lines = written.read_text().splitlines() if written.exists() else []
        return [line for line in lines if not line.startswith("#")]

    with sessions["alice"].http(secure.url) as http:
        assert "alice@STEAD.TEST" == http.get("/").text
    assert [] == keys()
    with httpx.Client(verify=ssl.create_default_context()) as naive:
        naive.get(secure.url)
    assert keys()
    assert Fetcher()._context.keylog_filename is None


@pytest.mark.bypasses_the_law  # nobody's request is behind it
def test_a_server_that_says_nothing_keeps_nobody_waiting_for_long(certified):
    """It takes connections; the threads that wait for it are everybody's."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = NetworkTarget("https", "localhost", silent.getsockname()[1])
        bindings = Bindings(ssl.create_default_context(), Patience(0.2))
        naive = threading.Thread(target=bindings._look, args=(target,), daemon=True)
        naive.start()
        taken = [silent.accept()[0]]
        with pytest.raises(ServerUnavailableError, match="not answer in time"):
            bindings(target)
        taken.append(silent.accept()[0])
        with pytest.raises(ServerUnavailableError, match="not answer in time"):
            bindings(target)  # and nobody asks it again meanwhile
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent.accept()
        assert naive.is_alive()
        threading.excepthook, before = (lambda _: None), threading.excepthook
        for each in taken:
            each.close()
        naive.join()
        threading.excepthook = before


def test_a_server_that_is_not_believed_gets_no_ticket(sessions, secure, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with (
        sessions["alice"].http(secure.url) as http,
        pytest.raises(ServerUnavailableError, match="not believed"),
    ):
        http.get("/")
    assert [] == secure.seen


def test_what_is_under_way_by_tls_fails_when_the_session_ends(sessions, secure):
    session, failed = sessions["alice"], []

    def work():
        try:
            with session.http(secure.url) as http:
                failed.append(http.get("/slow"))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert secure.arrived.wait(60)
    session.log_off()
    thread.join(60)
    assert not thread.is_alive()
    assert [LogonSessionEndedError] == [type(error) for error in failed]


def test_a_certificate_without_a_hash_binds_nothing():
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now, now + dt.timedelta(days=1)
    ).sign(key, None)
    assert end_point_binding(made.public_bytes(Encoding.DER)) is None


class Bearer:
    """Credentials that are a token for each server that is named."""

    package, principal, expires = "bearer", "alice (https://idp.example)", None

    def __init__(self):
        self.asked = []

    def bearer(self, place, subject=None):
        self.asked.append((place, subject.principal.name))
        return "for-one-server"

    def close(self):
        self.asked = None


def test_a_bearer_token_is_for_one_server_and_goes_by_tls_alone(
    server, admit, secure, web
):
    held = Bearer()
    with admit(server, credentials=held).http(follow_redirects=True) as http:
        assert "Bearer for-one-server" == http.get(f"{secure.url}/shown").text
        assert [(f"https://localhost:{secure.port}", "alice")] == held.asked
        with pytest.raises(NoCredentialsError, match="takes kerberos"):
            http.get(web.url)
        with pytest.raises(NoCredentialsError, match="redirects there"):
            http.get(f"{secure.url}/sent?{web.url}/")
        with pytest.raises(NoCredentialsError, match="asks for 'Basic'"):
            http.get(f"{secure.url}/basic")
    assert [] == web.seen
