"""An OpenID Connect issuer of a test's own: real HTTPS on the loopback.

    with PrivateIssuer() as issuer:
        text = issuer.token("alice", "https://notes.example", scope="read")
        verifier = BearerVerifier([issuer.described("https://notes.example")])
        verifier.verify(text).name                       # alice
        issuer.rotate()                                  # another key from now on
        issuer.stop(); issuer.start()                    # down for a while

It has a discovery document, keys and a token endpoint with `client_credentials`
(RFC 6749 4.4) and exchanges (RFC 8693). In a test the fixture `oidc_issuer` gives one.
What it is asked for is counted, and what it answers can be replaced, to see what
becomes of nonsense. It trusts and is trusted by nobody else: certificate and keys are
made for it, and end with it. Needs the extra `oidc`.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import unquote_plus

from stead.adapters.oidc.act_chain import Actor
from stead.adapters.oidc.bearer import BearerToken, BearerVerifier
from stead.adapters.oidc.bearer_credentials import BearerCredentials
from stead.adapters.oidc.claim_values import require_time
from stead.adapters.oidc.client_authentication import (
    ClientAuthentication,
    ClientKey,
    ClientSecret,
)
from stead.adapters.oidc.compact import read_compact
from stead.adapters.oidc.exchange_desk import ExchangeDesk, ExchangeRule
from stead.adapters.oidc.exchange_words import ASSERTION
from stead.adapters.oidc.fetching import Fetcher
from stead.adapters.oidc.issuer_keys import IssuerKeys, LoadedKeys, discovered
from stead.adapters.oidc.keys import read_key, read_keys
from stead.adapters.oidc.own_token import OwnToken
from stead.adapters.oidc.signing import ACCESS_TYPE, SigningKey
from stead.adapters.oidc.token_exchange import TokenExchange
from stead.adapters.oidc.token_issuer import TokenIssuer
from stead.errors import EvidenceRefusedError, ServerUnavailableError
from stead.model.secret import Secret
from stead.testing.https_server import HttpsServer, Reply, make_certificate
from stead.testing.private_server import PrivateServer, free_port

DISCOVERY: Final = "/.well-known/openid-configuration"
KEYS: Final = "/keys"
TOKEN: Final = "/token"  # noqa: S105 - a path
_LIFE: Final = 300
_NANOSECONDS: Final = 1_000_000_000


class PrivateIssuer(PrivateServer):
    """An issuer, from `with` to its end.

    Attributes:
        asked: how often each path was asked for.
        replies: by path, what is answered instead.
        refusals: why exchanges were refused, in order.
        life: seconds that its tokens are good for.
        max_age: seconds for which its keys are said to be good, or None.
    """

    _prefix = "stead-issuer-"

    def __init__(self, *, algorithm: str = "ES256", life: int = _LIFE) -> None:
        """Describe it; nothing is made before `with`.

        Args:
            algorithm: by which it signs.
            life: seconds that its tokens are good for.
        """
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.replies: dict[str, Reply] = {}
        self.refusals: list[str] = []
        self.life = life
        self.max_age: int | None = None
        self._algorithm = algorithm
        self._keys: list[SigningKey] = []
        self._made = 0
        self._secrets: dict[str, str] = {}
        self._server_keys: dict[str, SigningKey] = {}
        self._rules: dict[str, ExchangeRule] = {}
        self._port = 0
        self._server: HttpsServer | None = None

    # --- its life ---------------------------------------------------------------------

    def _make(self) -> None:
        make_certificate(self.folder)
        self.rotate()
        self.start()

    def _stop(self) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the port that it had before."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.certificate)
        # None that is given to others while it does not listen.
        self._port = self._port or free_port()
        self._server = HttpsServer(("127.0.0.1", self._port), self.answer, context)
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more; again does nothing. Its keys and tokens stay."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def rotate(self, *, keeps_old: bool = True, key_id: str = "") -> SigningKey:
        """Sign by a new key from now on.

        Args:
            keeps_old: whether the old ones stay in its document.
            key_id: the new one's name.
        """
        self._made += 1
        key = SigningKey.generate(key_id or f"key-{self._made}", self._algorithm)
        self._keys = [key, *(self._keys if keeps_old else ())]
        return key

    # --- what tests ask of it ---------------------------------------------------------

    @property
    def url(self) -> str:
        """Its name, and where it is."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def certificate(self) -> Path:
        """The file with its certificate, which is what trusts it."""
        if self.folder == Path():
            raise ServerUnavailableError("the issuer was not started", advice="`with`")
        return self.folder / "issuer.pem"

    @property
    def signing_key(self) -> SigningKey:
        """The key that it signs by now."""
        return self._keys[0]

    def trust(self) -> ssl.SSLContext:
        """Return a context for clients, which trusts it and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        return context

    def fetcher(self, *, seconds: float = 30.0) -> Fetcher:
        """Return what asks it."""
        return Fetcher(context=self.trust(), seconds=seconds)

    def described(self, audience: str, **options: Any) -> TokenIssuer:
        """Return it as a server's configuration has it; see `TokenIssuer`."""
        options.setdefault("keys", IssuerKeys(discovered(self.url, self.fetcher())))
        return TokenIssuer(issuer=self.url, audience=audience, **options)

    def claims(self, name: str, audience: str, **more: Any) -> dict[str, Any]:
        """Return what a token of its says; `more` adds, and None takes away."""
        now = int(time.time())
        said = {
            "iss": self.url,
            "sub": name,
            "aud": audience,
            "iat": now,
            "exp": now + self.life,
            "jti": secrets.token_urlsafe(8),
            "client_id": "test",
        } | more
        return {key: value for key, value in said.items() if value is not None}

    def token(
        self,
        name: str,
        audience: str,
        *,
        token_type: str = ACCESS_TYPE,
        header: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """Return a token of its.

        Args:
            name: the client.
            audience: whom it is for.
            token_type: its `typ`.
            header: other members of its header.
            more: claims to add; None takes one away.
        """
        return self.signing_key.sign(
            self.claims(name, audience, **more), token_type, header
        )

    # --- servers that exchange --------------------------------------------------------

    def add_server(
        self, name: str, rule: ExchangeRule, key: SigningKey | None = None
    ) -> ClientAuthentication:
        """Let a server exchange tokens; return what shows who it is.

        Args:
            name: the server's.
            rule: what it may have.
            key: by which it shows that it asks; a secret is made if not given.
        """
        self._rules[name] = rule
        if key is not None:
            self._server_keys[name] = key
            return ClientKey(name, key)
        self._secrets[name] = secrets.token_urlsafe(24)
        return ClientSecret(name, Secret(self._secrets[name]))

    def exchange(
        self,
        name: str,
        rule: ExchangeRule,
        audiences: Mapping[str, str],
        *,
        key: SigningKey | None = None,
        **options: Any,
    ) -> TokenExchange:
        """Let a server exchange tokens; return that, as its configuration has it."""
        shown = self.add_server(name, rule, key)
        own = OwnToken(self.url + TOKEN, self.fetcher(), shown)
        options.setdefault("actor_token", own)
        return TokenExchange(
            endpoint=self.url + TOKEN,
            fetcher=self.fetcher(),
            issuer=self.described(rule.audience),
            authentication=shown,
            actor=Actor(name, self.url),
            audiences=audiences,
            **options,
        )

    def read(self, text: str, audience: str) -> BearerToken:
        """Return what a token of its says, to the server that it is for."""
        return BearerVerifier([self.described(audience)]).verify(text)

    def credentials(
        self, exchange: TokenExchange, text: str, audience: str
    ) -> BearerCredentials:
        """Return the credentials that a session has by a token of its client's."""
        return BearerCredentials(exchange, text, self.read(text, audience))

    # --- what it answers --------------------------------------------------------------

    def answer(
        self, path: str, form: list[tuple[str, str]], authorization: str
    ) -> Reply:
        """Answer one request; for its own server."""
        self.asked[path] += 1
        if path in self.replies:
            return self.replies[path]
        if path == DISCOVERY:
            return _reply(self._discovery())
        if path == KEYS:
            age = {} if self.max_age is None else {
                "Cache-Control": f"public, max-age={self.max_age}"
            }  # fmt: skip
            return _reply({"keys": [key.public() for key in self._keys]}, headers=age)
        if path == TOKEN:
            return self._token(form, authorization)
        return _reply({}, status=404)

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": self.url + KEYS,
            "token_endpoint": self.url + TOKEN,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self._algorithm],
        }

    def _token(self, form: list[tuple[str, str]], authorization: str) -> Reply:
        name = self._by_secret(authorization) or self._by_key(dict(form))
        if name is None:
            return _reply({"error": "invalid_client"}, status=401)
        if dict(form).get("grant_type") == "client_credentials":
            made = {"token_type": "Bearer", "expires_in": self.life}
            return _reply(made | {"access_token": self.token(name, self.url)})
        desk = ExchangeDesk(
            self.url,
            lambda: self.signing_key,
            keys=IssuerKeys(self._own_keys),
            rules=self._rules,
            life=self.life,
        )
        answer = desk.answer(form, client=name)
        if answer.cause:
            self.refusals.append(answer.cause)
        return _reply(answer.body, status=answer.status)

    def _own_keys(self) -> LoadedKeys:
        return LoadedKeys(read_keys({"keys": [key.public() for key in self._keys]}))

    def _by_key(self, form: Mapping[str, str]) -> str | None:
        """Return which server signed an assertion for this endpoint (RFC 7523 3)."""
        if form.get("client_assertion_type") != ASSERTION:
            return None
        try:
            assertion = read_compact(form.get("client_assertion", ""))
            said = assertion.claims("the assertion")
            key = self._server_keys.get(str(said.get("sub")))
            public = None if key is None else read_key(key.public())
            if public is None:
                return None
            assertion.require_signed_by(public.key, frozenset({public.algorithm}))
        except EvidenceRefusedError:
            return None
        is_now = time.time() < require_time(said, "exp")
        is_for_us = said.get("aud") == self.url + TOKEN
        return str(said["sub"]) if is_now and is_for_us else None

    def _by_secret(self, authorization: str) -> str | None:
        scheme, _, blob = authorization.partition(" ")
        if scheme != "Basic":
            return None
        name, _, letters = b64decode(blob).decode().partition(":")
        known = self._secrets.get(unquote_plus(name), "")
        is_right = known and secrets.compare_digest(known, unquote_plus(letters))
        return unquote_plus(name) if is_right else None


def _reply(
    body: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    return Reply(status, json.dumps(body).encode(), headers or {})
