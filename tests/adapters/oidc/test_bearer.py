"""Tokens that are believed, and each way to be believed wrongly."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

import jwt as pyjwt
import pytest
from joserfc.jws import serialize_compact
from tests.adapters.oidc.stage import NOTES, b64, naive, unb64, verifier

from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.fetching import Fetcher
from stead.adapters.oidc.issuer_keys import IssuerKeys, discovered
from stead.adapters.oidc.signing import SigningKey
from stead.adapters.oidc.token_issuer import SidClaims, TokenIssuer, TokenKind
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    UnsafeConfigurationError,
)
from stead.model.sid import Sid
from stead.model.token import ImpersonationLevel
from stead.testing.issuer import PrivateIssuer

DOMAIN = "S-1-5-21-1-2-3"
WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "alice")


def refused(verify, token, match):
    with pytest.raises(EvidenceRefusedError, match=match):
        verify.verify(token)


# --- what is believed -----------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "PS256"])
def test_a_token_of_a_known_issuer_names_its_client(algorithm):
    with PrivateIssuer(algorithm=algorithm) as issuer:
        token = issuer.token("alice", NOTES, scope="read write")
        found = verifier(issuer).verify(token)
        assert ("alice", issuer.url) == (found.name, found.issuer)
        assert frozenset({"read", "write"}) == found.scopes
        assert token not in repr(found)
        client = found.authenticated()
        assert ("bearer", issuer.url, "alice") == (
            client.package, client.issuer, client.name,
        )  # fmt: skip
        assert ImpersonationLevel.IMPERSONATION == client.level
        # By then the token has ended, for a clock that may differ from its issuer's.
        assert (naive(token)["exp"] + 30) * 10**9 == client.expires
        assert ("scope", "read write") in client.details


def test_id_tokens_are_taken_where_that_is_said(oidc_issuer):
    token = oidc_issuer.token("alice", NOTES, token_type="JWT", client_id=None)
    refused(verifier(oidc_issuer), token, "tokens of type `'jwt'` are not taken")
    as_id = verifier(oidc_issuer, kinds=[TokenKind.ID])
    assert "alice" == as_id.verify(token).name
    # One that was given to another program tells nothing about who is here.
    other = oidc_issuer.token("alice", NOTES, token_type="JWT", azp="another")
    refused(as_id, other, "another program")
    # An access token is used by another program than the one that it is for.
    used = oidc_issuer.token("alice", NOTES, client_id=None, azp="another")
    assert "another" == verifier(oidc_issuer).verify(used).client_id
    refused(as_id, oidc_issuer.token("alice", NOTES), "of type `'at.jwt'`")


def test_the_claim_that_names_a_client_is_configured(oidc_issuer):
    token = oidc_issuer.token("00u1", NOTES, oid="alice")
    assert "alice" == verifier(oidc_issuer, name_claim="oid").verify(token).name


def test_sids_come_by_configuration_alone(oidc_issuer):
    token = oidc_issuer.token(
        "alice", NOTES, sid=f"{DOMAIN}-1105", groups=["staff", "root", "staff"]
    )
    assert verifier(oidc_issuer).verify(token).sids is None
    staff = Sid.from_string(f"{DOMAIN}-513")
    rules = SidClaims(user="sid", groups="groups", table={"staff": staff})
    found = verifier(oidc_issuer, sids=rules).verify(token).sids
    assert Sid.from_string(f"{DOMAIN}-1105") == found.user
    assert [staff] == [group.sid for group in found.groups]


@pytest.mark.parametrize(
    "said",
    [
        "S-1-5-18",
        "S-1-22-1-0",
        "S-1-5-32-544",
        DOMAIN,
        "S-1-5-21-1-2-3-4-5",
        "",
        18,
        None,
    ],
)
def test_no_issuer_asserts_the_machine_s_own_sids(oidc_issuer, said):
    rules = SidClaims(user="sid")
    token = oidc_issuer.token("alice", NOTES, sid=said)
    refused(verifier(oidc_issuer, sids=rules), token, "no SID of an account")
    if isinstance(said, str) and said:
        with pytest.raises(UnsafeConfigurationError, match="no issuer may assert"):
            SidClaims(user="sid", table={"x": Sid.from_string(said)})


def test_a_token_that_was_revoked_is_refused(oidc_issuer):
    gone = set()
    verify = verifier(oidc_issuer, is_revoked=gone.__contains__)
    token = oidc_issuer.token("alice", NOTES, jti="7")
    assert "7" == verify.verify(token).token_id
    gone.add("7")
    refused(verify, token, "revoked")
    refused(verify, oidc_issuer.token("alice", NOTES, jti=None), "no `jti`")


def test_scopes_that_a_server_asks_for_must_be_there(oidc_issuer):
    verify = verifier(oidc_issuer, scopes=["notes"])
    refused(verify, oidc_issuer.token("alice", NOTES, scope="notes2 other"), "scope")
    assert verify.verify(oidc_issuer.token("alice", NOTES, scope="a notes")).scopes


# --- signatures -----------------------------------------------------------------------


def forged(issuer, header, key=b"", **claims):
    said = issuer.claims("root", NOTES, **claims)
    signing = f"{b64(header)}.{b64(said)}"
    signature = hmac.new(key, signing.encode(), hashlib.sha256).digest() if key else b""
    return f"{signing}.{b64(signature) if signature else ''}"


def test_a_token_without_a_signature_is_believed_by_nobody_but_the_naive(oidc_issuer):
    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        for signature in ("", ".", b64(b"x")):
            head = {"alg": algorithm, "typ": "at+jwt", "kid": "key-1"}
            token = forged(oidc_issuer, head).rstrip(".") + "." + signature
            assert "root" == naive(token)["sub"]
            with pytest.raises(EvidenceRefusedError):
                verifier(oidc_issuer).verify(token)


def test_a_public_key_is_no_shared_secret():
    with PrivateIssuer(algorithm="RS256") as issuer:
        pem = issuer.signing_key.key.as_pem(private=False)
        head = {"alg": "HS256", "typ": "at+jwt", "kid": "key-1"}
        token = forged(issuer, head, pem)
        # Whoever verifies by whatever the token says, with the key that is published:
        signing, signature = token.rsplit(".", 1)
        mac = hmac.new(pem, signing.encode(), hashlib.sha256).digest()
        assert mac == unb64(signature)
        assert "root" == naive(token)["sub"]
        refused(verifier(issuer), token, "`'HS256'` is no algorithm")
        with pytest.raises(UnsafeConfigurationError, match="no algorithm to verify"):
            issuer.described(NOTES, algorithms=["RS256", "HS256"])


@pytest.mark.parametrize("names", [[], ["none"], ["HS512"], ["RSA1_5"], "RS256"])
def test_an_allow_list_has_algorithms_with_public_keys_alone(oidc_issuer, names):
    with pytest.raises(UnsafeConfigurationError):
        oidc_issuer.described(NOTES, algorithms=names)


def test_an_algorithm_that_the_issuer_does_not_use_is_refused(oidc_issuer):
    verify = verifier(oidc_issuer, algorithms=["RS256"])
    refused(verify, oidc_issuer.token("alice", NOTES), "`'ES256'` is no algorithm")


def test_keys_that_a_token_brings_are_not_read(oidc_issuer):
    own = SigningKey.generate("evil")
    public = own.public()
    for more in (
        {"jwk": public},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain"},
        {"x5c": ["MIIB"]},
        {"kid": "key-1", "jwk": public},
        {"kid": "../../../../dev/null"},
        {"kid": "key-1' UNION SELECT 'x"},
        {"kid": "/etc/passwd\x00"},
        {"kid": ""},
        {"kid": "k" * 300},
        {"kid": 7},
        {"kid": ["key-1"]},
    ):
        token = own.sign(oidc_issuer.claims("root", NOTES), "at+jwt")
        head = json.loads(unb64(token.split(".")[0])) | more
        token = pyjwt.encode(
            oidc_issuer.claims("root", NOTES),
            own.key.as_pem(private=True),
            algorithm="ES256",
            headers={k: v for k, v in head.items() if k != "kid"},
        )
        parts = token.split(".")
        parts[0] = b64(head)
        # The naive one verifies by the key that came along, and is content.
        if "jwk" in more and "kid" not in more:
            signed = own.sign(oidc_issuer.claims("root", NOTES), more={"jwk": public})
            key = pyjwt.PyJWK(pyjwt.get_unverified_header(signed)["jwk"]).key
            options = {"verify_aud": False}
            believed = pyjwt.decode(signed, key, algorithms=["ES256"], options=options)
            assert "root" == believed["sub"]
            refused(verifier(oidc_issuer), signed, "no key `'evil'`")
        with pytest.raises(EvidenceRefusedError):
            verifier(oidc_issuer).verify(".".join(parts))
    assert {"/.well-known/openid-configuration", "/keys"} == set(oidc_issuer.asked)


def test_what_asks_to_be_understood_is_refused(oidc_issuer):
    for header in ({"crit": ["b64"], "b64": False}, {"crit": []}, {"zip": "DEF"}):
        token = oidc_issuer.token("alice", NOTES)
        parts = token.split(".")
        parts[0] = b64(json.loads(unb64(parts[0])) | header)
        refused(verifier(oidc_issuer), ".".join(parts), "asks for")


def test_a_token_is_written_in_one_way_only(oidc_issuer):
    token = oidc_issuer.token("alice", NOTES)
    verify = verifier(oidc_issuer)
    assert verify.verify(token).name
    last = token[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(last) ^ 1]
    assert unb64(token.split(".")[2]) == unb64((token[:-1] + twin).split(".")[2])
    for other in (
        token[:-1] + twin,
        token + "=",
        token + "==",
        token + "\n",
        " " + token,
        token.replace("-", "+").replace("_", "/") + "+",
        token + ".x",
        token.rsplit(".", 1)[0],
        token.rsplit(".", 1)[0] + ".",
        "." + token,
        "",
        "..",
        "é" + token,
    ):
        with pytest.raises(EvidenceRefusedError):
            verify.verify(other)


def test_what_is_too_long_is_not_read(oidc_issuer):
    verify = verifier(oidc_issuer)
    large = oidc_issuer.token("alice", NOTES, padding="x" * 20_000)
    assert "alice" == naive(large)["sub"]
    refused(verify, large, "over 16384 letters")
    head = oidc_issuer.token("alice", NOTES, header={"x5c": ["A" * 5_000]})
    refused(verify, head, "over 4096 bytes")
    deep = {}
    for _ in range(20):
        deep = {"a": deep}
    refused(verify, oidc_issuer.token("alice", NOTES, x=deep), "nests deeper")
    assert not oidc_issuer.asked


def test_a_claim_that_stands_twice_is_read_by_nobody_here(oidc_issuer):
    key = oidc_issuer.signing_key
    said = json.dumps(oidc_issuer.claims("alice", NOTES))
    twice = said[:-1] + ', "sub": "root"}'
    head = {"alg": "ES256", "kid": key.key_id, "typ": "at+jwt"}
    token = serialize_compact(head, twice, key.key, ["ES256"])
    pem = key.key.as_pem(private=False)
    # Signed by the issuer and all: one reader takes the first name, another the last.
    believed = pyjwt.decode(token, pem, algorithms=["ES256"], audience=NOTES)
    assert "root" == believed["sub"]
    refused(verifier(oidc_issuer), token, "stands twice")


# --- whose, for whom and when ---------------------------------------------------------


def test_a_token_for_another_server_is_refused(oidc_issuer):
    verify = verifier(oidc_issuer)
    for audience in (
        "https://files.example",
        NOTES + ".evil.example",
        NOTES + "/",
        NOTES.upper(),
        NOTES[:-1],
        [],
        [NOTES + "2"],
        [[NOTES]],
        {NOTES: 1},
        7,
        True,
        None,
        "",
        [""],
        [NOTES, None],
    ):
        token = oidc_issuer.token("alice", audience)
        if audience == NOTES + ".evil.example":
            # The naive ones: nobody looks, or a text is looked for within another.
            assert NOTES in naive(token)["aud"]
        with pytest.raises(EvidenceRefusedError):
            verify.verify(token)


def test_a_token_that_another_server_has_too_is_refused_unless_that_is_said(
    oidc_issuer,
):
    token = oidc_issuer.token("alice", [NOTES, "https://files.example"])
    refused(verifier(oidc_issuer), token, "also for `'https://files.example'`")
    both = verifier(oidc_issuer, other_audiences=["https://files.example"])
    assert "alice" == both.verify(token).name
    with pytest.raises(UnsafeConfigurationError, match="no list"):
        verifier(oidc_issuer, other_audiences="https://files.example")


def test_two_issuers_with_keys_of_one_name_are_not_mixed_up():
    with PrivateIssuer() as honest, PrivateIssuer() as evil:
        verify = BearerVerifier([honest.described(NOTES), evil.described(NOTES)])
        assert honest.signing_key.key_id == evil.signing_key.key_id
        theirs = evil.token("alice", NOTES)
        assert evil.url == verify.verify(theirs).issuer
        # Evil's key signs what honest would say: by the name of a key alone, it passes.
        posing = evil.token("alice", NOTES, iss=honest.url)
        naive_keys = {}
        for issuer in (honest, evil):
            key = issuer.signing_key
            naive_keys[key.key_id] = key.key.as_pem(private=False)
        kid = pyjwt.get_unverified_header(posing)["kid"]
        options = {"verify_aud": False}
        believed = pyjwt.decode(
            posing, naive_keys[kid], algorithms=["ES256"], options=options
        )
        assert honest.url == believed["iss"]
        refused(verify, posing, "signature is wrong")


@pytest.mark.parametrize("name", ["", 7, None, ["x"], {}, "https://evil.example", True])
def test_an_issuer_that_is_not_known_is_asked_for_nothing(oidc_issuer, name):
    token = oidc_issuer.token("alice", NOTES, iss=name)
    refused(verifier(oidc_issuer), token, "is not known")
    assert not oidc_issuer.asked


def test_a_document_of_another_issuer_is_not_believed(oidc_issuer):
    keys = IssuerKeys(discovered(oidc_issuer.url + "/", oidc_issuer.fetcher()))
    issuer = TokenIssuer(issuer=oidc_issuer.url + "/", audience=NOTES, keys=keys)
    token = oidc_issuer.token("alice", NOTES, iss=oidc_issuer.url + "/")
    said = f"is of another issuer, `'{oidc_issuer.url}'`"
    with pytest.raises(DirectoryUnavailableError, match=said):
        BearerVerifier([issuer]).verify(token)


@pytest.mark.parametrize(
    ("claims", "match"),
    [
        ({"exp": -31}, "expired"),
        ({"iat": 100}, "not good yet"),
        ({"nbf": 100}, "not good yet"),
        ({"iat": 10, "exp": 5}, "for longer"),
        ({"exp": 90_000}, "for longer"),
    ],
)
def test_a_token_is_good_for_its_time_alone(oidc_issuer, claims, match):
    now = int(time.time())
    said = {"iat": now - 60 if "iat" not in claims else 0} | {
        name: now + value for name, value in claims.items()
    }
    refused(verifier(oidc_issuer), oidc_issuer.token("alice", NOTES, **said), match)


def test_clocks_may_differ_by_what_is_said(oidc_issuer):
    now = int(time.time())
    late = oidc_issuer.token("alice", NOTES, iat=now - 60, exp=now - 2)
    early = oidc_issuer.token("alice", NOTES, iat=now + 20, nbf=now + 20, exp=now + 60)
    for token in (late, early):
        assert "alice" == verifier(oidc_issuer).verify(token).name
        with pytest.raises(EvidenceRefusedError):
            verifier(oidc_issuer, leeway=0).verify(token)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value", [True, "1893456000", [], {}, -1, 1 << 40, 1e300, 10**18]
)
def test_a_time_is_a_number_of_seconds(oidc_issuer, name, value):
    token = oidc_issuer.token("alice", NOTES, **{name: value})
    with pytest.raises(EvidenceRefusedError):
        verifier(oidc_issuer).verify(token)


@pytest.mark.parametrize("name", ["exp", "iat", "aud", "iss", "sub"])
def test_claims_that_count_must_be_there(oidc_issuer, name):
    token = oidc_issuer.token("alice", NOTES, **{name: None})
    with pytest.raises(EvidenceRefusedError):
        verifier(oidc_issuer).verify(token)


def test_what_tells_of_an_event_logs_nobody_on(oidc_issuer):
    verify = verifier(oidc_issuer, kinds=[TokenKind.ID])
    token = oidc_issuer.token("alice", NOTES, token_type="JWT", events={"x": {}})
    refused(verify, token, "event")
    other = oidc_issuer.token("alice", NOTES, token_type="logout+jwt")
    refused(verify, other, "of type")


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "", " alice", "alice ", "ali\x00ce", "alice\n", WIDE, "\ufb01ona",
        "ali\u200bce",
        "\u202eecila", "e\u0301va", "x" * 256, 7, True, None, ["alice"], {"x": 1},
    ],
)  # fmt: skip
def test_a_name_that_would_be_read_as_another_s_is_refused(oidc_issuer, name):
    refused(verifier(oidc_issuer), oidc_issuer.token(name, NOTES), "no name as `sub`")


def test_letters_that_only_look_alike_name_somebody_else(oidc_issuer):
    cyrillic = "\u0430lice"
    found = verifier(oidc_issuer).verify(oidc_issuer.token(cyrillic, NOTES))
    assert (cyrillic, False) == (found.name, found.name == "alice")


# --- who acts -------------------------------------------------------------------------


def test_through_whom_a_client_comes_is_told_the_nearest_first(oidc_issuer):
    act = {"sub": "front", "act": {"sub": "gateway", "iss": "https://other.example"}}
    found = verifier(oidc_issuer).verify(oidc_issuer.token("alice", NOTES, act=act))
    assert (
        f"front ({oidc_issuer.url})",
        "gateway (https://other.example)",
    ) == found.authenticated().actors


def test_what_records_say_of_a_token_is_plain_text(oidc_issuer):
    evil = "\x1b[2J\n4624 logon: root"
    token = oidc_issuer.token("alice", NOTES, jti=evil, client_id=evil, scope=evil)
    said = dict(verifier(oidc_issuer).verify(token).authenticated().details)
    assert {"token id", "client id", "scope"} == set(said)
    assert all(value.isprintable() for value in said.values())
    token = oidc_issuer.token("alice", NOTES, header={"kid": evil})
    with pytest.raises(EvidenceRefusedError) as refusal:
        verifier(oidc_issuer).verify(token)
    assert str(refusal.value).isprintable()
    act = {"sub": "front", "iss": evil}
    with pytest.raises(EvidenceRefusedError):
        verifier(oidc_issuer).verify(oidc_issuer.token("alice", NOTES, act=act))


@pytest.mark.parametrize(
    "act",
    ["front", [], {}, {"sub": ""}, {"sub": 7}, {"sub": "a", "iss": 7}, None, 0,
     {"sub": "a", "act": "b"}, {"sub": "a", "act": None}],
)  # fmt: skip
def test_a_chain_that_cannot_be_read_is_not_left_out(oidc_issuer, act):
    claims = oidc_issuer.claims("alice", NOTES) | {"act": act}
    token = oidc_issuer.signing_key.sign(claims)
    with pytest.raises(EvidenceRefusedError):
        verifier(oidc_issuer).verify(token)


def test_a_chain_has_a_bound(oidc_issuer):
    act = {"sub": "a"}
    for _ in range(7):
        act = {"sub": "a", "act": act}
    verify = verifier(oidc_issuer)
    token = oidc_issuer.token("alice", NOTES, act=act)
    assert 8 == len(verify.verify(token).actors)
    token = oidc_issuer.token("alice", NOTES, act={"sub": "a", "act": act})
    refused(verify, token, "over 8 actors")


def test_who_acts_must_be_one_who_may(oidc_issuer):
    token = oidc_issuer.token("alice", NOTES, act={"sub": "evil"})
    assert "alice" == verifier(oidc_issuer).verify(token).name
    refused(verifier(oidc_issuer, actors=["front"]), token, "`evil` may not act")
    assert verifier(oidc_issuer, actors=["evil"]).verify(token)
    # Of a name alone it does not follow whose it is.
    other = {"sub": "front", "iss": "https://evil.example"}
    token = oidc_issuer.token("alice", NOTES, act=other)
    refused(verifier(oidc_issuer, actors=["front"]), token, "`front` may not act")


@pytest.mark.parametrize(
    "may", [{"sub": "front"}, "front", {}, {"sub": "evil", "iss": "https://x.example"}]
)
def test_a_token_that_says_who_may_act_is_no_good_for_another(oidc_issuer, may):
    token = oidc_issuer.token("alice", NOTES, act={"sub": "evil"}, may_act=may)
    with pytest.raises(EvidenceRefusedError):
        verifier(oidc_issuer).verify(token)
    token = oidc_issuer.token(
        "alice", NOTES, act={"sub": "front"}, may_act={"sub": "front"}
    )
    assert verifier(oidc_issuer).verify(token).actors


# --- configuration --------------------------------------------------------------------


def test_issuers_are_named_once(oidc_issuer):
    one = oidc_issuer.described(NOTES)
    with pytest.raises(UnsafeConfigurationError):
        BearerVerifier([])
    with pytest.raises(UnsafeConfigurationError):
        BearerVerifier([one, one])
    for options in (
        {"leeway": 301},
        {"leeway": -1},
        {"longest_life": 0},
        {"kinds": ()},
    ):
        with pytest.raises(UnsafeConfigurationError):
            oidc_issuer.described(NOTES, **options)
    with pytest.raises(UnsafeConfigurationError):
        oidc_issuer.described("")


@pytest.mark.parametrize(
    "given",
    [
        {"kinds": TokenKind.ACCESS},
        {"kinds": ["access"]},
        {"leeway": "30"},
        {"leeway": float("nan")},
        {"longest_life": "a day"},
        {"longest_life": float("nan")},
        {"is_revoked": ["an id"]},
    ],
)
def test_what_could_not_be_meant_of_an_issuer_is_refused_before_a_token_comes(
    oidc_issuer, given
):
    with pytest.raises((InvalidRequestError, UnsafeConfigurationError)) as caught:
        oidc_issuer.described(NOTES, **given)
    assert next(iter(given)) in str(caught.value) + caught.value.advice


@pytest.mark.parametrize("given", [{"context": "ca.pem"}, {"seconds": "5"}])
def test_what_could_not_be_meant_of_a_fetcher_is_refused(given):
    with pytest.raises(InvalidRequestError, match=next(iter(given))):
        Fetcher(**given)
