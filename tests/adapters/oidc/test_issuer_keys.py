"""An issuer's keys: fetched, kept, replaced, given up; and documents of nonsense."""

from __future__ import annotations

import json
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey
from tests.adapters.oidc.stage import NOTES, verifier
from tests.listening import Listener

from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.compact import read_compact
from stead.adapters.oidc.fetching import Fetcher, require_https
from stead.adapters.oidc.issuer_keys import IssuerKeys, discovered, from_file
from stead.adapters.oidc.keys import read_key, read_keys
from stead.adapters.oidc.signing import SigningKey
from stead.adapters.oidc.token_issuer import TokenIssuer
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    UnsafeConfigurationError,
)
from stead.testing.https_server import Reply, make_certificate
from stead.testing.issuer import DISCOVERY, KEYS, PrivateIssuer


class Clock:
    """A clock that nobody sets but its test."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def verify(oidc_issuer, clock):
    return patient(oidc_issuer, clock, seconds=60)


def patient(issuer, clock, *, seconds):
    load = discovered(issuer.url, issuer.fetcher(seconds=seconds))
    keys = IssuerKeys(load, fresh=600, keep=3_600, pause=30, monotonic=clock)
    return verifier(issuer, keys=keys)


def name_of(verify, issuer):
    return verify.verify(issuer.token("alice", NOTES)).name


# --- rotation -------------------------------------------------------------------------


def test_keys_are_fetched_once_and_kept(oidc_issuer, verify):
    for _ in range(20):
        assert "alice" == name_of(verify, oidc_issuer)
    assert {DISCOVERY: 1, KEYS: 1} == dict(oidc_issuer.asked)


def test_a_new_key_is_found_when_its_first_token_comes(oidc_issuer, verify, clock):
    old = oidc_issuer.token("alice", NOTES)
    assert verify.verify(old)
    clock.now += 31
    oidc_issuer.rotate()
    assert "alice" == name_of(verify, oidc_issuer)
    assert verify.verify(old)  # it stays in the document
    assert 2 == oidc_issuer.asked[KEYS]


def test_a_key_that_was_withdrawn_is_believed_until_the_list_is_read_again(
    oidc_issuer, verify, clock
):
    old = oidc_issuer.token("alice", NOTES)
    assert verify.verify(old)
    oidc_issuer.rotate(keeps_old=False)
    clock.now += 599
    assert verify.verify(old)
    clock.now += 2
    with pytest.raises(EvidenceRefusedError, match="no key `'key-1'`"):
        verify.verify(old)


def test_a_flood_of_made_up_keys_is_no_flood_of_requests(oidc_issuer, verify, clock):
    assert name_of(verify, oidc_issuer)
    clock.now += 31
    evil = PrivateIssuer()
    evil.rotate(key_id="x")
    claims = oidc_issuer.claims("root", NOTES)
    naive = 0
    for number in range(50):
        key = evil.rotate(key_id=f"made-up-{number}", keeps_old=False)
        naive += 1  # one that asks whenever it does not know a key asks each time
        with pytest.raises(EvidenceRefusedError):
            verify.verify(key.sign(claims))
    assert (50, 2) == (naive, oidc_issuer.asked[KEYS])
    assert "alice" == name_of(verify, oidc_issuer)


def test_within_the_pause_a_new_key_is_not_known_yet(oidc_issuer, verify, clock):
    assert name_of(verify, oidc_issuer)
    oidc_issuer.rotate()
    with pytest.raises(EvidenceRefusedError):
        name_of(verify, oidc_issuer)
    clock.now += 31
    assert name_of(verify, oidc_issuer)


def test_keys_rotate_under_load_and_nobody_is_refused(oidc_issuer):
    load = discovered(oidc_issuer.url, oidc_issuer.fetcher())
    keys = IssuerKeys(load, fresh=60, keep=60, pause=0.000_001)
    verify = verifier(oidc_issuer, keys=keys)
    failures, done, ends = [], [], threading.Event()

    def work():
        while not ends.is_set():
            try:
                done.append(name_of(verify, oidc_issuer))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        seen = len(done)
        oidc_issuer.rotate()
        while len(done) < seen + 12 and not failures:
            time.sleep(0.005)
        assert not failures, turn
    ends.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert 70 < len(done)


def test_an_issuer_that_says_how_long_its_keys_are_good_is_believed(
    oidc_issuer, verify, clock
):
    oidc_issuer.max_age = 120
    assert name_of(verify, oidc_issuer)
    clock.now += 119
    assert name_of(verify, oidc_issuer)
    assert 1 == oidc_issuer.asked[KEYS]
    clock.now += 2
    oidc_issuer.max_age = 0  # not less than a minute, whatever it says
    assert name_of(verify, oidc_issuer)
    clock.now += 59
    assert name_of(verify, oidc_issuer)
    assert 2 == oidc_issuer.asked[KEYS]


# --- an issuer that is down -----------------------------------------------------------


def test_an_issuer_that_is_down_keeps_known_keys_until_their_end(
    oidc_issuer, verify, clock
):
    assert name_of(verify, oidc_issuer)
    oidc_issuer.stop()
    clock.now += 3_599
    assert "alice" == name_of(verify, oidc_issuer)
    clock.now += 2
    with pytest.raises(DirectoryUnavailableError, match="not known"):
        name_of(verify, oidc_issuer)
    oidc_issuer.start()
    clock.now += 31
    assert "alice" == name_of(verify, oidc_issuer)


def test_an_issuer_that_was_never_up_is_an_error_and_no_refusal(
    oidc_issuer, verify, clock
):
    oidc_issuer.stop()
    for _ in range(3):
        with pytest.raises(DirectoryUnavailableError):
            name_of(verify, oidc_issuer)
    oidc_issuer.start()
    with pytest.raises(DirectoryUnavailableError):  # not asked again at once
        name_of(verify, oidc_issuer)
    clock.now += 31
    assert name_of(verify, oidc_issuer)


def test_who_has_a_key_does_not_wait_for_who_asks_for_another(oidc_issuer, clock):
    load = discovered(oidc_issuer.url, oidc_issuer.fetcher())
    asking, answer = threading.Event(), threading.Event()

    def slowly():
        asking.set()
        assert answer.wait(60)
        return load()

    keys = IssuerKeys(slowly, fresh=600, keep=3_600, pause=30, monotonic=clock)
    verify = verifier(oidc_issuer, keys=keys)
    answer.set()
    assert name_of(verify, oidc_issuer)
    asking.clear()
    answer.clear()
    clock.now += 601
    late = threading.Thread(target=name_of, args=(verify, oidc_issuer))
    late.start()
    assert asking.wait(60)
    assert "alice" == name_of(verify, oidc_issuer)  # while the other still asks
    assert not answer.is_set()
    answer.set()
    late.join()


def test_whoever_makes_up_keys_takes_few_threads_of_those_who_have_one(
    oidc_issuer, clock
):
    """Naive: all of a gate's threads wait for the issuer, and nobody else is heard."""
    load = discovered(oidc_issuer.url, oidc_issuer.fetcher())
    waiting, answer = threading.Semaphore(0), threading.Event()
    answer.set()

    def slowly():
        assert answer.wait(60)
        return load()

    keys = IssuerKeys(slowly, fresh=600, keep=3_600, pause=30, monotonic=clock)
    verify = verifier(oidc_issuer, keys=keys)
    good = oidc_issuer.token("alice", NOTES)
    assert verify.verify(good)
    evil = PrivateIssuer()
    made_up = evil.rotate(key_id="made-up").sign(oidc_issuer.claims("root", NOTES))
    clock.now += 31
    answer.clear()
    lock = threading.Lock()

    def naive(token):
        waiting.release()
        with lock:
            return token == good or answer.wait(60)

    def asked(verify, pool):
        return [pool.submit(verify, token) for token in [made_up] * 16 + [good]]

    with ThreadPoolExecutor(16) as theirs, ThreadPoolExecutor(16) as ours:
        *_, unheard = asked(naive, theirs)
        for _ in range(16):
            assert waiting.acquire(timeout=60)
        assert not unheard.running(), "there is no thread for it"
        *refused, heard = asked(verify.verify, ours)
        assert "alice" == heard.result(60).name
        assert not answer.is_set()
        answer.set()
    for each in refused:
        with pytest.raises(EvidenceRefusedError, match="no key"):
            each.result()


@pytest.mark.parametrize(
    "times", [{"pause": 0}, {"fresh": 10, "pause": 20}, {"fresh": 20, "keep": 10}]
)
def test_times_that_contradict_one_another_are_refused(times):
    with pytest.raises(UnsafeConfigurationError):
        IssuerKeys(lambda: None, **times)


# --- documents ------------------------------------------------------------------------


def discovery(idp, **more):
    said = {"issuer": idp.url, "jwks_uri": idp.url + KEYS}
    return json.dumps(said | more).encode()


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        (DISCOVERY, Reply(404)),
        (DISCOVERY, Reply(302, headers={"Location": "https://evil.example/"})),
        (DISCOVERY, Reply(body=b"[]")),
        (DISCOVERY, Reply(body=b"{" * 100_000)),
        (DISCOVERY, Reply(body=b"{}" + b" " * 300_000)),
        (KEYS, Reply(301, headers={"Location": KEYS + "2"})),
        (KEYS, Reply(500)),
        (KEYS, Reply(body=b'{"keys": {}}')),
        (KEYS, Reply(body=b'{"keys": [' + b"1," * 70 + b"1]}")),
        (KEYS, Reply(body=b'{"keys": [], "keys": []}')),
        (KEYS, Reply(headers={"Content-Encoding": "gzip"})),
    ],
)
def test_a_document_that_is_none_makes_nobody_known(oidc_issuer, verify, path, reply):
    oidc_issuer.replies[path] = reply
    with pytest.raises(DirectoryUnavailableError):
        name_of(verify, oidc_issuer)
    assert 1 == oidc_issuer.asked[path]
    assert KEYS + "2" not in oidc_issuer.asked


def test_an_issuer_that_is_silent_makes_nobody_known(oidc_issuer, clock):
    oidc_issuer.replies[KEYS] = Reply(delay=20)
    with pytest.raises(DirectoryUnavailableError):
        name_of(patient(oidc_issuer, clock, seconds=4), oidc_issuer)
    assert 1 == oidc_issuer.asked[KEYS]


def test_an_answer_that_drips_is_given_up(oidc_issuer):
    oidc_issuer.replies[KEYS] = Reply(body=b" " * 80, drip=0.05)
    with pytest.raises(DirectoryUnavailableError, match="takes over"):
        oidc_issuer.fetcher(seconds=1.5).get(oidc_issuer.url + KEYS)


@contextmanager
def answering_slowly(folder, begin):
    """Have an HTTPS server begin an answer, of which a byte comes now and then."""
    make_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "issuer.pem")
    over = threading.Event()

    def drip(connected):
        with context.wrap_socket(connected, server_side=True) as at:
            at.recv(4096)
            at.sendall(begin)
            while not over.wait(0.1):
                at.sendall(b"x")

    with Listener(drip) as listening:
        yield f"https://127.0.0.1:{listening.port}/"
        over.set()


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.0 200 OK\r\n\r\n"]
)
def test_an_answer_whose_head_drips_or_has_no_end_is_given_up_as_well(tmp_path, begin):
    """Each byte is an answer in time, to whoever waits for each for so long.

    What was cut is not taken for all that there was, either.
    """
    with answering_slowly(tmp_path, begin) as url:
        trust = ssl.create_default_context(cafile=tmp_path / "issuer.pem")

        def naive():
            with suppress(httpx.HTTPError), httpx.Client(verify=trust) as client:
                client.get(url, timeout=60.0)

        waiting = threading.Thread(target=naive, daemon=True)
        waiting.start()
        with pytest.raises(DirectoryUnavailableError, match="takes over"):
            Fetcher(context=trust, seconds=1.0).get(url)
        assert waiting.is_alive()
        cutting = [each for each in threading.enumerate() if "fetch" in each.name]
        for each in cutting:
            each.join(30)
        assert not any(each.is_alive() for each in cutting)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"issuer": "https://evil.example"}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"jwks_uri": None}, "where the keys are"),
        ({"jwks_uri": "http://127.0.0.1/keys"}, "no HTTPS"),
        ({"jwks_uri": "file:///etc/passwd"}, "no HTTPS"),
        ({"jwks_uri": "https://169.254.169.254/latest"}, "keys are at"),
        ({"jwks_uri": "https://127.0.0.1/keys"}, "keys are at"),
    ],
)
def test_a_document_leads_nowhere_else(oidc_issuer, verify, more, match):
    oidc_issuer.replies[DISCOVERY] = Reply(body=discovery(oidc_issuer, **more))
    with pytest.raises(DirectoryUnavailableError, match=match):
        name_of(verify, oidc_issuer)
    assert not oidc_issuer.asked[KEYS]


def test_keys_of_another_host_are_fetched_where_that_is_said(oidc_issuer, clock):
    with PrivateIssuer() as other:
        body = discovery(oidc_issuer, jwks_uri=other.url + "/elsewhere")
        oidc_issuer.replies[DISCOVERY] = Reply(body=body)
        public = {"keys": [oidc_issuer.signing_key.public()]}
        other.replies["/elsewhere"] = Reply(body=json.dumps(public).encode())
        context = oidc_issuer.trust()
        context.load_verify_locations(other.certificate)
        host = other.url.removeprefix("https://")
        load = discovered(oidc_issuer.url, Fetcher(context=context), key_hosts=[host])
        verify = verifier(oidc_issuer, keys=IssuerKeys(load))
        assert "alice" == name_of(verify, oidc_issuer)


def test_a_certificate_that_nobody_trusts_ends_it(oidc_issuer):
    for context in (None, ssl.create_default_context()):
        load = discovered(oidc_issuer.url, Fetcher(context=context))
        verify = verifier(oidc_issuer, keys=IssuerKeys(load))
        with pytest.raises(DirectoryUnavailableError):
            name_of(verify, oidc_issuer)
    assert not oidc_issuer.asked


def test_what_keeps_an_issuer_from_being_asked_is_told_apart(oidc_issuer):
    """Else an operator looks at the network for what is about a certificate."""
    with pytest.raises(DirectoryUnavailableError, match="certificate is not believed"):
        discovered(oidc_issuer.url, Fetcher())()
    oidc_issuer.stop()
    with pytest.raises(DirectoryUnavailableError, match="Connection refused"):
        discovered(oidc_issuer.url, oidc_issuer.fetcher())()


def test_nothing_of_the_environment_leads_elsewhere(oidc_issuer, verify, monkeypatch):
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert "alice" == name_of(verify, oidc_issuer)


@pytest.mark.parametrize(
    "url",
    ["http://x.example", "https://", "https://u:p@x.example", "//x", "", "https://x:0/",
     "https://x:99999/", "https://x/#y", "https://x y/", "https://[x/", "ftp://x.example"],
)  # fmt: skip
def test_only_https_is_asked(url):
    with pytest.raises(UnsafeConfigurationError):
        require_https(url)
    with pytest.raises(UnsafeConfigurationError):
        Fetcher().get(url)


# --- keys -----------------------------------------------------------------------------


def test_only_public_keys_for_signatures_are_taken():
    good = SigningKey.generate("a").public()
    large = RSAKey.generate_key(2048).as_dict(private=False)
    weak = large | {"n": large["n"][:170]}  # some 1,020 bits
    for wrong in (
        None, 7, "key", [], {}, {"kty": "EC"}, {"kty": ["EC"]}, {"kty": "RSA"},
        OctKey.generate_key(256).as_dict(), good | {"d": "AQ"}, weak,
        good | {"use": "enc"}, good | {"key_ops": ["sign"]},
        good | {"key_ops": "verify"},
        good | {"kid": 7}, good | {"alg": 7}, good | {"x": "AA"}, good | {"x": 7},
        good | {"crv": "P-999"}, good | {"crv": "P-384"}, large | {"n": "A" * 100_000},
        large | {"e": "_" * 100}, large | {"e": "AA"},
    ):  # fmt: skip
        assert read_key(wrong) is None, wrong
    assert read_key(good).is_for("ES256")
    assert not read_key(good).is_for("RS256")
    assert not read_key(good | {"alg": "ES384"}).is_for("ES256")
    assert not read_key(large).is_for("HS256")


def test_a_token_without_a_key_s_name_has_the_only_one_that_fits(oidc_issuer):
    token = SigningKey("", "ES256", oidc_issuer.signing_key.key)
    bare = read_compact(oidc_issuer.token("alice", NOTES))
    assert "key-1" == bare.key_id
    said = oidc_issuer.claims("alice", NOTES)
    import joserfc.jwt

    text = joserfc.jwt.encode({"alg": "ES256", "typ": "at+jwt"}, said, token.key)
    assert "alice" == verifier(oidc_issuer).verify(text).name
    oidc_issuer.rotate()
    with pytest.raises(EvidenceRefusedError, match="several keys"):
        verifier(oidc_issuer).verify(text)


def test_two_keys_of_one_name_and_kind_are_no_key(oidc_issuer):
    oidc_issuer.rotate(key_id="key-1")
    with pytest.raises(EvidenceRefusedError, match="several keys"):
        name_of(verifier(oidc_issuer), oidc_issuer)


def test_a_signing_key_is_private_and_for_its_algorithm():
    key = SigningKey.generate("a")
    assert "crv" not in repr(key)
    assert "d" not in key.public()
    for algorithm in ("RS256", "ES384", "HS256"):
        with pytest.raises(UnsafeConfigurationError):
            SigningKey("a", algorithm, key.key)
    public = type(key.key).import_key(key.key.as_dict(private=False))
    with pytest.raises(UnsafeConfigurationError):
        SigningKey("a", "ES256", public)
    assert 1 == len(read_keys({"keys": [key.public(), {"kty": "none"}]}))


# --- from a file ----------------------------------------------------------------------


@pytest.fixture
def written(oidc_issuer, tmp_path):
    path = tmp_path / "keys.json"

    def write():
        public = [key.public() for key in oidc_issuer._keys]
        path.write_text(json.dumps({"keys": public}))
        path.chmod(0o644)
        return path

    write()
    return write


def test_keys_come_from_a_file(oidc_issuer, written, clock):
    keys = IssuerKeys(from_file(written()), pause=30, monotonic=clock)
    issuer = TokenIssuer(issuer=oidc_issuer.url, audience=NOTES, keys=keys)
    verify = BearerVerifier([issuer])
    assert name_of(verify, oidc_issuer)
    oidc_issuer.rotate()
    written()
    clock.now += 31
    assert name_of(verify, oidc_issuer)
    assert not oidc_issuer.asked


def test_a_file_that_others_may_write_is_not_read(written):
    path = written()
    path.chmod(0o666)
    with pytest.raises(DirectoryUnavailableError, match="others may write"):
        from_file(path)()
    path.chmod(0o600)
    assert from_file(path)().keys
    path.unlink()
    with pytest.raises(DirectoryUnavailableError, match="cannot be read"):
        from_file(path)()
