"""Tokens that are bound to their owner: nobody else can use them."""

from __future__ import annotations

import hashlib
import time
from functools import partial

import jwt as pyjwt
import pytest
from joserfc.jwk import ECKey, OctKey
from tests.adapters.oidc.stage import NOTES, b64, naive, verifier

from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.confirmation import Shown
from stead.adapters.oidc.dpop import ProofRules, SeenProofs, digest_of
from stead.adapters.oidc.signing import SigningKey
from stead.errors import EvidenceRefusedError

URL = f"{NOTES}/plan"
CERTIFICATE = b"a certificate in DER"


def thumbprint(certificate=CERTIFICATE):
    return b64(hashlib.sha256(certificate).digest())


def refused(verify, token, shown, match):
    with pytest.raises(EvidenceRefusedError, match=match):
        verify.verify(token, shown)


# --- certificates ---------------------------------------------------------------------


def test_a_token_bound_to_a_certificate_needs_it(oidc_issuer):
    verify = verifier(oidc_issuer)
    token = oidc_issuer.token("alice", NOTES, cnf={"x5t#S256": thumbprint()})
    found = verify.verify(token, Shown(CERTIFICATE))
    assert found.is_bound
    assert found.authenticated().is_bound
    # A thief has the token: whoever looks at the signature alone lets it in.
    assert "alice" == naive(token)["sub"]
    refused(verify, token, Shown(), "the gate saw none")
    refused(verify, token, Shown(b"the thief's"), "another certificate")


def test_a_certificate_alone_binds_no_token(oidc_issuer):
    token = oidc_issuer.token("alice", NOTES)
    assert not verifier(oidc_issuer).verify(token, Shown(CERTIFICATE)).is_bound
    strict = verifier(oidc_issuer, must_be_bound=True)
    refused(strict, token, Shown(CERTIFICATE), "bound to nobody")
    bound = oidc_issuer.token("alice", NOTES, cnf={"x5t#S256": thumbprint()})
    assert strict.verify(bound, Shown(CERTIFICATE)).is_bound


@pytest.mark.parametrize(
    "cnf",
    [None, {}, [], "x", 7,
     {"kid": "k"}, {"jwk": {}}, {"jku": "https://x"},
     {"x5t#S256": 7}, {"x5t#S256": None},
     {"x5t#S256": "é"}, {"x5t#S256": thumbprint(), "other": 1},
     {"x5t#S256": thumbprint(), "jkt": "x"}, {"jkt": 7}, {"jkt": "é"}, {"jkt": None}],
)  # fmt: skip
def test_a_binding_that_is_not_understood_is_no_binding_less(oidc_issuer, cnf):
    claims = oidc_issuer.claims("alice", NOTES) | {"cnf": cnf}
    token = oidc_issuer.signing_key.sign(claims)
    with pytest.raises(EvidenceRefusedError):
        verifier(oidc_issuer).verify(token, Shown(CERTIFICATE))


# --- keys (RFC 9449) ------------------------------------------------------------------


@pytest.fixture
def key():
    return SigningKey.generate("mine")


def proof(key, token, *, header=None, **claims):
    said = {
        "jti": str(time.monotonic_ns()), "htm": "GET", "htu": URL,
        "iat": int(time.time()), "ath": digest_of(token),
    } | claims  # fmt: skip
    said = {name: value for name, value in said.items() if value is not None}
    public = key.key.as_dict(private=False)
    return key.sign(said, "dpop+jwt", {"jwk": public, **(header or {})})


def shown(*proofs, **parts):
    given = {"is_dpop": True, "method": "GET", "url": URL, **parts}
    return Shown(proofs=proofs, **given)


def bound(issuer, key, **claims):
    return issuer.token("alice", NOTES, cnf={"jkt": key.key.thumbprint()}, **claims)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_token_bound_to_a_key_needs_a_proof_of_it(oidc_issuer, algorithm):
    key = SigningKey.generate("mine", algorithm)
    verify, token = verifier(oidc_issuer), bound(oidc_issuer, key)
    assert verify.verify(token, shown(proof(key, token))).is_bound
    # The thief has token and log, no key.
    assert "alice" == naive(token)["sub"]
    refused(verify, token, Shown(), "no proof came")
    refused(verify, token, shown(), "no proof came")
    refused(verify, token, shown(proof(key, token), is_dpop=False), "no proof came")
    thief = SigningKey.generate("thief")
    refused(verify, token, shown(proof(thief, token)), "another key")


def test_a_proof_is_used_once(oidc_issuer, key):
    verify, token = verifier(oidc_issuer), bound(oidc_issuer, key)
    once = proof(key, token)
    assert verify.verify(token, shown(once))
    refused(verify, token, shown(once), "used before")
    other = bound(oidc_issuer, key, jti="another")
    refused(verify, other, shown(proof(key, token)), "another token")
    two = (proof(key, token), proof(key, token))
    refused(verify, token, shown(*two), "no proof came")


@pytest.mark.parametrize(
    ("claims", "match"),
    [
        ({"htm": "POST"}, "method"),
        ({"htm": None}, "method"),
        ({"htu": "https://files.example/plan"}, "address"),
        ({"htu": f"{NOTES}/other"}, "address"),
        ({"htu": None}, "address"),
        ({"htu": "https://[x"}, "no address"),
        ({"ath": None}, "another token"),
        ({"ath": "é"}, "another token"),
        ({"iat": int(time.time()) - 4_000}, "just now"),
        ({"iat": int(time.time()) + 4_000}, "just now"),
        ({"iat": None}, "no time"),
        ({"jti": None}, "`jti`"),
        ({"jti": ""}, "`jti`"),
        ({"jti": 7}, "`jti`"),
        ({"jti": "x" * 129}, "`jti`"),
    ],
)
def test_a_proof_is_for_one_request(oidc_issuer, key, claims, match):
    token = bound(oidc_issuer, key)
    refused(verifier(oidc_issuer), token, shown(proof(key, token, **claims)), match)


def test_a_query_does_not_count_and_spelling_does_not_either(oidc_issuer, key):
    verify, token = verifier(oidc_issuer), bound(oidc_issuer, key)
    for spelled in (f"{URL}?x=1#y", "https://NOTES.example:443/plan"):
        assert verify.verify(token, shown(proof(key, token, htu=spelled)))
    refused(verify, token, shown(proof(key, token), url=""), "another address")


def test_a_proof_brings_a_public_key_and_its_type(oidc_issuer, key):
    verify, token = verifier(oidc_issuer), bound(oidc_issuer, key)
    private = key.key.as_dict(private=True)
    shared = OctKey.generate_key(256).as_dict()
    for header in ({"jwk": private}, {"jwk": shared}, {"jwk": None}, {"typ": "JWT"}):
        text = proof(key, token)
        public = key.key.as_dict(private=False)
        head = {"alg": "ES256", "typ": "dpop+jwt", "jwk": public} | header
        parts = text.split(".")
        parts[0] = b64(head)
        refused(verify, token, shown(".".join(parts)), "type|no public key")
    hmac = pyjwt.encode({}, "k" * 32, "HS256", {"typ": "dpop+jwt", "jwk": shared})
    refused(verify, token, shown(hmac), "no public key")
    p384 = ECKey.generate_key("P-384").as_dict(private=False)
    other = proof(key, token, header={"jwk": p384})
    refused(verify, token, shown(other), "no public key")


def test_a_token_that_is_not_bound_is_not_sent_as_one(oidc_issuer, key):
    token = oidc_issuer.token("alice", NOTES)
    refused(verifier(oidc_issuer), token, shown(proof(key, token)), "and is not")


def test_what_was_seen_is_bounded_and_full_is_a_refusal(oidc_issuer, key):
    rules = ProofRules(seen=SeenProofs(most=6, most_of_one=3))
    verify = BearerVerifier([oidc_issuer.described(NOTES)], proofs=rules)
    token = bound(oidc_issuer, key)
    for _ in range(3):
        assert verify.verify(token, shown(proof(key, token)))
    refused(verify, token, shown(proof(key, token)), "too many proofs")
    # One client's flood is its own: another still comes in.
    other = SigningKey.generate("other")
    theirs = bound(oidc_issuer, other)
    assert verify.verify(theirs, shown(proof(other, theirs)))


class Passing:
    """A clock, and what never steps beside it."""

    def __init__(self, seen):
        self.now = self.moment = 0.0
        self.seen = seen(monotonic=lambda: self.moment)

    def to(self, now):
        self.moment += now - self.now
        self.now = now

    def add(self, thumbprint, proof_id, lasts=60):
        self.seen.add(thumbprint, proof_id, now=self.now, ends=self.now + lasts)


def test_full_is_not_looked_through_for_each_proof_anew():
    time = Passing(partial(SeenProofs, most=10, most_of_one=2))
    for proof_id in ("1", "2"):
        time.add("greedy", proof_id, lasts=100)
    time.to(10.5)
    for _ in range(50):
        with pytest.raises(EvidenceRefusedError):
            time.add("greedy", "3")
        assert 10.5 == time.seen._looked
    time.to(11)
    with pytest.raises(EvidenceRefusedError):
        time.add("greedy", "4")
    assert 10.5 == time.seen._looked
    time.add("modest", "1")


def test_proofs_are_forgotten_once_they_are_no_good_any_more():
    time = Passing(partial(SeenProofs, most=2, most_of_one=2))
    time.add("key", "1")
    time.to(30)
    time.add("key", "2")
    time.to(60)
    with pytest.raises(EvidenceRefusedError, match="used before"):
        time.add("key", "1")
    with pytest.raises(EvidenceRefusedError, match="too many"):
        time.add("key", "3")
    time.to(61)
    time.add("key", "1")
    assert 2 == len(time.seen._ends)
    time.to(200)
    time.add("key", "4")
    assert {"key": 1} == time.seen._count


class SeenByTheClock(SeenProofs):
    """The naive memory, which forgets by the clock alone."""

    def add(self, thumbprint, proof_id, now, ends):
        self._monotonic = lambda: now
        super().add(thumbprint, proof_id, now, ends)


@pytest.mark.parametrize("kind", [SeenByTheClock, SeenProofs])
def test_a_clock_that_is_set_back_keeps_nobody_out_for_as_long(kind):
    time = Passing(partial(kind, most=2, most_of_one=2))
    time.to(3600)
    time.add("key", "1")
    time.add("key", "2")
    time.now -= 3600  # set back
    with pytest.raises(EvidenceRefusedError, match="used before"):
        time.add("key", "2")
    time.to(time.now + 61)
    if kind is SeenByTheClock:
        with pytest.raises(EvidenceRefusedError, match="too many"):
            time.add("key", "3")
    else:
        time.add("key", "3")
