"""A foreign library reads our tokens, and we read its; both refuse the same ones."""

from __future__ import annotations

import time

import jwt
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from tests.adapters.oidc.stage import NOTES, verifier

from stead.adapters.oidc.bearer import BearerVerifier
from stead.adapters.oidc.issuer_keys import IssuerKeys, LoadedKeys
from stead.adapters.oidc.keys import read_keys
from stead.adapters.oidc.token_issuer import TokenIssuer
from stead.errors import EvidenceRefusedError
from stead.testing.issuer import PrivateIssuer

ISSUER = "https://idp.example"
KEYS = {
    "ES256": lambda: ECKey.generate_key("P-256"),
    "ES384": lambda: ECKey.generate_key("P-384"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "RS256": lambda: RSAKey.generate_key(2048),
    "PS384": lambda: RSAKey.generate_key(2048),
}


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
def test_our_tokens_are_read_by_pyjwt(algorithm):
    with PrivateIssuer(algorithm=algorithm) as issuer:
        token = issuer.token("alice", NOTES, act={"sub": "front"})
        keys = jwt.PyJWKClient(issuer.url + "/keys", ssl_context=issuer.trust())
        found = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token).key,
            algorithms=[algorithm],
            audience=NOTES,
            issuer=issuer.url,
            options={"require": ["exp", "iat", "sub", "jti"]},
        )
        assert ("alice", {"sub": "front"}) == (found["sub"], found["act"])
        assert "at+jwt" == jwt.get_unverified_header(token)["typ"]


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_tokens_of_pyjwt_s_are_read_here(algorithm):
    key = KEYS[algorithm]()
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "alice", "aud": NOTES, "iat": now, "exp": now + 60}
    header = {"kid": "k", "typ": "application/at+jwt"}
    token = jwt.encode(claims, key.as_pem(private=True), algorithm, header)
    public = dict(key.as_dict(private=False)) | {"kid": "k"}
    known = IssuerKeys(lambda: LoadedKeys(read_keys({"keys": [public]})))
    issuer = TokenIssuer(
        issuer=ISSUER, audience=NOTES, keys=known, algorithms=[algorithm]
    )
    verify = BearerVerifier([issuer])
    assert "alice" == verify.verify(token).name
    cut = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "Q" * 8)
    with pytest.raises(EvidenceRefusedError):
        verify.verify(cut)
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(cut, key.as_pem(private=False), algorithms=[algorithm])


def test_what_pyjwt_refuses_is_refused_here_too(oidc_issuer):
    verify = verifier(oidc_issuer)
    key = oidc_issuer.signing_key.key.as_pem(private=False)
    now = int(time.time())
    for change in (
        {"exp": now - 100}, {"nbf": now + 100}, {"iat": now + 100}, {"aud": "other"},
        {"iss": "https://other.example"}, {"exp": "soon"}, {"aud": None}, {"exp": None},
    ):  # fmt: skip
        token = oidc_issuer.token("alice", NOTES, **change)
        with pytest.raises(jwt.InvalidTokenError):
            jwt.decode(
                token, key, algorithms=["ES256"], audience=NOTES,
                issuer=oidc_issuer.url,
                options={"require": ["exp", "iat", "aud"]},
            )  # fmt: skip
        with pytest.raises(EvidenceRefusedError):
            verify.verify(token)
