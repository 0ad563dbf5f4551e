"""Tokens for other servers: exchanged in a client's stead, whole chain and all."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from tests.adapters.oidc.stage import b64, naive

from stead.adapters.oidc import bearer_credentials
from stead.adapters.oidc.act_chain import Actor, chain_of, write_chain
from stead.adapters.oidc.bearer_credentials import BearerCredentials, _Place
from stead.adapters.oidc.client_authentication import ClientCertificate, ClientKey
from stead.adapters.oidc.exchange_desk import ExchangeDesk, ExchangeRule
from stead.adapters.oidc.exchange_words import ACCESS_TOKEN, GRANT
from stead.adapters.oidc.issuer_keys import IssuerKeys
from stead.adapters.oidc.own_token import OwnToken
from stead.adapters.oidc.signing import SigningKey
from stead.adapters.oidc.silence import Silence
from stead.errors import (
    CredentialsExpiredError,
    DirectoryUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    LogonSessionEndedError,
    NoCredentialsError,
    UnsafeConfigurationError,
    WrongIdentityError,
)
from stead.model.audit_record import Principal
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor.ports import Subject
from stead.testing.https_server import Reply
from stead.testing.issuer import TOKEN, PrivateIssuer

FRONT, FILES, DB = "https://front.example", "files", "db"
PLACES = {"https://files.example": FILES, "https://db.example:8443": DB}
RULE = ExchangeRule(audience=FRONT, targets=[FILES])


@pytest.fixture
def exchange(oidc_issuer):
    return oidc_issuer.exchange("front", RULE, PLACES)


@pytest.fixture
def held(oidc_issuer, exchange):
    """Make what a session holds of a token of its client's."""

    def make(name="alice", exchange=exchange, **claims):
        token = oidc_issuer.token(name, FRONT, **claims)
        return oidc_issuer.credentials(exchange, token, FRONT)

    return make


def reply(issuer, **more):
    said = {
        "access_token": issuer.token("alice", FILES, act={"sub": "front"}),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": 60,
    } | more
    said = {name: value for name, value in said.items() if value is not None}
    issuer.replies[TOKEN] = Reply(body=json.dumps(said).encode())


def own(issuer):
    """Return an exchange whose own token needs no endpoint."""
    return issuer.exchange(
        "front", RULE, PLACES, actor_token=lambda: issuer.token("front", issuer.url)
    )


# --- the client's side ----------------------------------------------------------------


def test_another_server_sees_the_client_and_through_whom_it_comes(oidc_issuer, held):
    credentials = held(scope="read write")
    for place in ("https://files.example", "https://FILES.example:443/x"):
        token = credentials.bearer(place)
        found = oidc_issuer.read(token, FILES)
        assert ("alice", (Actor("front", oidc_issuer.url),)) == (
            found.name,
            found.actors,
        )
        assert frozenset({"read", "write"}) == found.scopes
    # The client's own token, passed on by the naive, is good at this server alone.
    passed_on = oidc_issuer.token("alice", FRONT)
    assert "alice" == naive(passed_on)["sub"]
    with pytest.raises(EvidenceRefusedError, match="another server"):
        oidc_issuer.read(passed_on, FILES)


def test_a_chain_grows_with_each_server_and_names_them_all(oidc_issuer, held):
    first = held().bearer("https://files.example")
    second_rule = ExchangeRule(audience=FILES, targets=[DB])
    onward = oidc_issuer.exchange("files-server", second_rule, PLACES)
    onward_held = oidc_issuer.credentials(onward, first, FILES)
    found = oidc_issuer.read(onward_held.bearer("https://db.example:8443"), DB)
    assert ["files-server", "front"] == [actor.name for actor in found.actors]


def test_one_token_for_each_audience_and_each_session(oidc_issuer, exchange, held):
    alice, bob = held("alice"), held("bob")
    tokens = {who.bearer("https://files.example") for who in (alice, bob) * 3}
    assert {"alice", "bob"} == {naive(token)["sub"] for token in tokens}
    assert 2 == len(tokens)
    assert 3 == oidc_issuer.asked[TOKEN]  # the server's own, once, and one for each


def test_a_cache_by_audience_alone_hands_bob_alice_s_token(oidc_issuer, exchange, held):
    kept = {}

    def naive_bearer(credentials, place):
        if place not in kept:
            kept[place] = credentials.bearer(place)
        return kept[place]

    alice, bob = held("alice"), held("bob")
    place = "https://files.example"
    assert "alice" == naive(naive_bearer(alice, place))["sub"]
    assert "alice" == naive(naive_bearer(bob, place))["sub"]
    assert "bob" == naive(bob.bearer(place))["sub"]


def test_many_threads_exchange_once(oidc_issuer, held):
    credentials, found = held(), []

    def work():
        found.append(credentials.bearer("https://files.example"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (8, 1) == (len(found), len(set(found)))
    assert 2 == oidc_issuer.asked[TOKEN]


def test_a_token_is_renewed_before_it_ends(oidc_issuer, exchange):
    now = [time.time_ns()]
    text = oidc_issuer.token("alice", FRONT, exp=int(time.time()) + 3_000)
    read = oidc_issuer.read(text, FRONT)
    credentials = BearerCredentials(exchange, text, read, clock=lambda: now[0])
    first = credentials.bearer("https://files.example")
    now[0] += 200 * 10**9
    assert first == credentials.bearer("https://files.example")
    now[0] += 85 * 10**9  # under thirty seconds are left of three hundred
    oidc_issuer.life = 900
    assert first != credentials.bearer("https://files.example")


def test_work_that_takes_longer_than_the_clients_token_is_not_begun(held):
    credentials = held(exp=int(time.time()) + 600)
    credentials.renew_for(60)
    with pytest.raises(CredentialsExpiredError, match="before the work would"):
        credentials.renew_for(3600)
    credentials.close()
    with pytest.raises(CredentialsExpiredError):
        credentials.renew_for(1)


def test_what_ends_too_soon_is_an_error_before_the_work(oidc_issuer, exchange, held):
    soon = held(exp=int(time.time()) + 20)
    assert soon.expires == naive(soon._token._content.decode())["exp"] * 10**9
    asked = oidc_issuer.asked[TOKEN]
    with pytest.raises(CredentialsExpiredError, match="the client's token ends"):
        soon.bearer("https://files.example")
    assert asked == oidc_issuer.asked[TOKEN]
    later = held()
    oidc_issuer.life = 20
    with pytest.raises(CredentialsExpiredError, match="its issuer gives ends"):
        later.bearer("https://files.example")


def test_they_end_with_the_session(oidc_issuer, held):
    credentials = held()
    token = credentials.bearer("https://files.example")
    secret = next(iter(credentials._places.values())).token.secret
    text = credentials._token._content
    assert token not in repr(credentials)
    assert ("bearer", f"alice ({oidc_issuer.url})") == (
        credentials.package,
        credentials.principal,
    )
    credentials.close()
    credentials.close()
    assert (b"", True) == (bytes(text), secret.is_wiped)
    with pytest.raises(LogonSessionEndedError):
        credentials.bearer("https://files.example")


def test_a_forked_process_has_no_part_in_them(oidc_issuer, held):
    credentials = held()
    token = credentials.bearer("https://files.example")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            kept = next(iter(credentials._places.values())).token.secret._content
            os.write(writing, b"naive " if bytes(kept).decode() == token else b"")
            credentials.bearer("https://files.example")
            os.write(writing, b"shown")
        except LogonSessionEndedError:
            os.write(writing, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert "naive refused" == answer.read()
    assert token == credentials.bearer("https://files.example")


class Turn:
    """A lock that tells of each who has come for it."""

    def __init__(self):
        self.lock, self.came = threading.Lock(), threading.Semaphore(0)

    def __enter__(self):
        self.came.release()
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def test_who_waits_with_others_for_a_silent_issuer_does_not_ask_it_again(oidc_issuer):
    """Each in its turn would be a queue, in which the last one waits for all."""
    shown = oidc_issuer.add_server("front", RULE)
    oidc_issuer.replies[TOKEN] = Reply(delay=8)

    class Ours(OwnToken):
        tries = 0

        def _tried(self):
            self.tries += 1
            return super()._tried()

    class Naive(Ours):
        def _require_no_failure_since(self, came):
            pass

    def asked_by_three(kind):
        own_token = kind(
            oidc_issuer.url + TOKEN, oidc_issuer.fetcher(seconds=1.5), shown
        )
        own_token._lock = turn = Turn()
        with ThreadPoolExecutor(3) as pool, turn.lock:  # until all of them wait for it
            came = [pool.submit(own_token) for _ in range(3)]
            for _ in came:
                assert turn.came.acquire(timeout=60)
        assert all(
            isinstance(each.exception(), DirectoryUnavailableError) for each in came
        )
        return own_token

    assert 3 == asked_by_three(Naive).tries
    own_token = asked_by_three(Ours)
    assert 1 == own_token.tries
    del oidc_issuer.replies[TOKEN]
    own_token._fetcher = oidc_issuer.fetcher()  # whoever answers may take its time
    assert "front" == naive(own_token())["sub"]  # who comes later asks anew


def test_a_client_whose_issuer_is_silent_holds_few_threads_for_long(oidc_issuer, held):
    """Its requests would ask one after the other, each on a thread that waits."""
    exchange = own(oidc_issuer)
    exchange = replace(exchange, fetcher=oidc_issuer.fetcher(seconds=1.5))
    oidc_issuer.replies[TOKEN] = Reply(delay=8)

    class Naive:
        def __init__(self, _monotonic):
            pass

        def ask(self, act):
            return act()

    def times_asked(kind):
        asked = []
        # So long is waited for each, by this clock: by a real one, who is slow to come
        # may come when the issuer is asked again.
        silence = kind(lambda: 1.5 * len(asked))

        def ask(act):
            return silence.ask(lambda: (asked.append(1), act())[1])

        credentials = held(exchange=exchange)
        credentials._silence = SimpleNamespace(ask=ask)
        with ThreadPoolExecutor(3) as pool:
            came = [
                pool.submit(credentials.bearer, "https://files.example")
                for _ in range(3)
            ]
        assert all(
            isinstance(each.exception(), DirectoryUnavailableError) for each in came
        )
        return len(asked)

    assert 3 == times_asked(Naive)
    assert 1 == times_asked(Silence)


def test_who_was_silent_is_asked_again_after_as_long_and_at_once_if_it_was_short():
    now, asked = [0.0], []
    silence = Silence(lambda: now[0])

    def fails(seconds):
        asked.append(now[0])
        now[0] += seconds
        raise DirectoryUnavailableError("nobody is there", advice="look")

    with pytest.raises(DirectoryUnavailableError):
        silence.ask(partial(fails, 5.0))
    for moment in (5.0, 9.9):
        now[0] = moment
        with pytest.raises(DirectoryUnavailableError, match="nobody") as caught:
            silence.ask(partial(fails, 5.0))
        assert "look" == caught.value.advice
    assert [0.0] == asked
    now[0] = 10.0
    with pytest.raises(DirectoryUnavailableError):
        silence.ask(partial(fails, 0.9))  # it says so by itself
    assert "said" == silence.ask(lambda: "said")


def test_a_session_that_ends_during_an_exchange_gets_nothing(
    oidc_issuer, held, monkeypatch
):
    exchange = own(oidc_issuer)
    credentials = held(exchange=exchange)
    reply(oidc_issuer)
    asked, ended, raised = threading.Event(), threading.Event(), []
    answer = oidc_issuer._server.answer

    def late(path, *request):
        if path == TOKEN:
            asked.set()
            assert ended.wait(60)
        return answer(path, *request)

    monkeypatch.setattr(oidc_issuer._server, "answer", late)

    def work():
        try:
            credentials.bearer("https://files.example")
        except LogonSessionEndedError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert asked.wait(60)
    credentials.close()
    ended.set()
    thread.join()
    assert 1 == len(raised)


def test_only_servers_that_are_named_are_reached(oidc_issuer, held):
    credentials = held()
    for place in (
        "https://other.example",
        "http://files.example",
        "https://files.example:8",
    ):
        with pytest.raises(NoCredentialsError, match="no token is exchanged"):
            credentials.bearer(place)
    assert not oidc_issuer.asked[TOKEN]
    with pytest.raises(NoCredentialsError, match="invalid_target"):
        credentials.bearer("https://db.example:8443")


def test_many_audiences_do_not_grow_without_bound(oidc_issuer):
    places = {f"https://s{n}.example": f"s{n}" for n in range(258)}
    rule = ExchangeRule(audience=FRONT, targets=list(places.values()))
    exchange = oidc_issuer.exchange("front", rule, places)
    text = oidc_issuer.token("alice", FRONT)
    credentials = oidc_issuer.credentials(exchange, text, FRONT)
    for number in range(256):
        credentials._places[f"s{number}", ()] = _Place()
    credentials.bearer("https://s257.example")
    assert 256 == len(credentials._places)
    assert ("s0", ()) not in credentials._places


def test_who_needs_another_token_ends_nobody_s_session(oidc_issuer, held):
    """Two use one token; room for one more was made by wiping what the other showed."""
    rule = ExchangeRule(audience=FRONT, targets=[FILES, DB])
    exchange = oidc_issuer.exchange("front", rule, PLACES)
    token, turns = oidc_issuer.token("alice", FRONT), []

    def clock():
        if turns:
            # The first is about to show its token: another one comes in between.
            turns.pop().start()
            other.join(60)
        return time.time_ns()

    credentials = BearerCredentials(
        exchange, token, oidc_issuer.read(token, FRONT), clock=clock
    )
    first = credentials.bearer("https://files.example")
    for number in range(255):
        credentials._places[f"s{number}", ()] = _Place()
    got = []
    other = threading.Thread(
        target=lambda: got.append(credentials.bearer("https://db.example:8443"))
    )
    turns.append(other)
    assert first == credentials.bearer("https://files.example")
    assert [] == turns
    assert not other.is_alive()
    assert 256 == len(credentials._places)
    credentials.close()
    with pytest.raises(LogonSessionEndedError):
        credentials.bearer("https://files.example")


def test_many_who_use_one_token_and_few_places_all_get_theirs(oidc_issuer, monkeypatch):
    places = {f"https://s{n}.example": f"s{n}" for n in range(6)}
    rule = ExchangeRule(audience=FRONT, targets=list(places.values()))
    exchange = oidc_issuer.exchange("front", rule, places)
    credentials = oidc_issuer.credentials(
        exchange, oidc_issuer.token("alice", FRONT), FRONT
    )
    monkeypatch.setattr(bearer_credentials, "_MOST_KEPT", 2)

    def ask(number):
        order = (number, number + 1, number)
        return [credentials.bearer(f"https://s{n % 6}.example") for n in order]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(24)))
    assert all(a and a.count(".") == 2 for each in got for a in each)
    assert 8 >= len(credentials._places)
    credentials.close()


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"access_token": None}, "without a token"),
        ({"access_token": 7}, "without a token"),
        ({"access_token": "x" * 20_000}, "without a token"),
        ({"access_token": "a b"}, "what is no token"),
        ({"access_token": "a\r\nX: y"}, "what is no token"),
        ({"access_token": "é"}, "what is no token"),
        ({"token_type": "DPoP"}, "bearer token"),
        ({"token_type": None}, "bearer token"),
        ({"issued_token_type": None}, "another type"),
        (
            {"issued_token_type": "urn:ietf:params:oauth:token-type:saml2"},
            "another type",
        ),
        ({"expires_in": 0}, "no time to live"),
        ({"expires_in": True}, "no time to live"),
        ({"expires_in": "60"}, "no time to live"),
        ({"access_token": "opaque"}, "not what was asked for"),
    ],
)
def test_an_answer_that_is_none_is_not_used(oidc_issuer, held, more, match):
    credentials = held(exchange=own(oidc_issuer))
    reply(oidc_issuer, **more)
    with pytest.raises(WrongIdentityError, match=match):
        credentials.bearer("https://files.example")


@pytest.mark.parametrize(
    ("name", "audience", "claims", "match"),
    [
        ("bob", FILES, {"act": {"sub": "front"}}, "`bob`'s, not `alice`'s"),
        ("front", FILES, {}, "`front`'s, not `alice`'s"),
        ("alice", DB, {"act": {"sub": "front"}}, "another server"),
        ("alice", [FILES, DB], {"act": {"sub": "front"}}, "also for"),
        ("alice", FILES, {}, "does not name all"),
        ("alice", FILES, {"act": {"sub": "another"}}, "does not name all"),
        ("alice", FILES, {"act": {"sub": "front", "iss": "x"}}, "does not name all"),
        ("alice", FILES, {"act": {"sub": "front"}, "exp": 1}, "expired"),
        ("alice", FILES, {"act": {"sub": "front"}, "iss": "https://x"}, "not known"),
    ],
)
def test_an_issuer_that_gives_another_s_token_is_not_followed(
    oidc_issuer, held, name, audience, claims, match
):
    credentials = held(exchange=own(oidc_issuer))
    wrong = oidc_issuer.token(name, audience, **claims)
    reply(oidc_issuer, access_token=wrong)
    # The naive one sends whatever came: and acts as somebody else, or as itself.
    assert naive(wrong)
    with pytest.raises(WrongIdentityError, match=match):
        credentials.bearer("https://files.example")


def test_a_token_of_another_issuer_is_neither_shown_to_this_one_nor_mistaken(
    oidc_issuer, exchange
):
    """What two issuers call by one name are two people."""
    with PrivateIssuer() as other:
        text = other.token("alice", FRONT)
        credentials = other.credentials(exchange, text, FRONT)
    reply(oidc_issuer)  # it takes whatever token names somebody it knows
    shown = {"grant_type": GRANT, "subject_token": text}
    answer = exchange.fetcher.post(exchange.endpoint, shown, {})
    got = naive(json.loads(answer.body)["access_token"])
    assert ("alice", oidc_issuer.url) == (got["sub"], got["iss"])
    assert other.url == naive(text)["iss"] != got["iss"]
    assert 1 == oidc_issuer.asked[TOKEN]
    with pytest.raises(NoCredentialsError, match="is exchanged at"):
        credentials.bearer("https://files.example")
    assert 1 == oidc_issuer.asked[TOKEN]


@pytest.mark.parametrize(
    ("has", "asked", "given"),
    [
        ("read", (), "read write"),
        ("read write", ["read"], "read write"),
        (None, ["read"], "write"),
    ],
)
def test_a_token_that_may_do_more_than_was_asked_for_is_not_used(
    oidc_issuer, held, has, asked, given
):
    exchange = oidc_issuer.exchange(
        "front", RULE, PLACES, scopes=asked,
        actor_token=lambda: oidc_issuer.token("front", oidc_issuer.url),
    )  # fmt: skip
    credentials = held(exchange=exchange, scope=has)

    def give(scope):
        act = {"sub": "front"}
        token = oidc_issuer.token("alice", FILES, act=act, scope=scope)
        reply(oidc_issuer, access_token=token)
        return token

    assert "write" in naive(give(given))["scope"]  # and the naive one sends it
    with pytest.raises(WrongIdentityError, match="scope `write`, which was not"):
        credentials.bearer("https://files.example")
    assert give("read") == credentials.bearer("https://files.example")


def test_a_chain_that_an_issuer_makes_shorter_is_found(oidc_issuer, held):
    credentials = held(exchange=own(oidc_issuer), act={"sub": "gateway"})
    reply(oidc_issuer)
    with pytest.raises(WrongIdentityError, match="does not name all"):
        credentials.bearer("https://files.example")
    whole = {"sub": "front", "act": {"sub": "gateway"}}
    reply(oidc_issuer, access_token=oidc_issuer.token("alice", FILES, act=whole))
    assert credentials.bearer("https://files.example")


def test_tokens_that_only_the_other_server_reads_are_taken_where_that_is_said(
    oidc_issuer, held
):
    exchange = oidc_issuer.exchange(
        "front", RULE, PLACES, accepts_opaque=True,
        actor_token=lambda: oidc_issuer.token("front", oidc_issuer.url),
    )  # fmt: skip
    credentials = held(exchange=exchange)
    reply(oidc_issuer, access_token="opaque-7")
    assert "opaque-7" == credentials.bearer("https://files.example")


def test_a_server_may_ask_for_fewer_scopes(oidc_issuer, held):
    exchange = oidc_issuer.exchange("front", RULE, PLACES, scopes=["read"])
    credentials = held(exchange=exchange, scope="read write")
    token = credentials.bearer("https://files.example")
    assert frozenset({"read"}) == oidc_issuer.read(token, FILES).scopes
    assert "write" in naive(oidc_issuer.token("alice", FRONT, scope="write"))["scope"]


def test_a_token_bound_to_this_server_s_certificate_is_used(oidc_issuer, held):
    der = b"this server's"
    bound = {"x5t#S256": b64(hashlib.sha256(der).digest())}
    token = oidc_issuer.token("alice", FILES, act={"sub": "front"}, cnf=bound)
    for certificate in (None, b"another's", der):
        exchange = oidc_issuer.exchange(
            "front", RULE, PLACES, certificate=certificate,
            actor_token=lambda: oidc_issuer.token("front", oidc_issuer.url),
        )  # fmt: skip
        credentials = held(exchange=exchange)
        reply(oidc_issuer, access_token=token)
        if certificate == der:
            assert token == credentials.bearer("https://files.example")
            continue
        with pytest.raises(WrongIdentityError, match="bound to"):
            credentials.bearer("https://files.example")


def test_an_answer_that_is_no_json_is_not_used(oidc_issuer, held):
    credentials = held(exchange=own(oidc_issuer))
    for body in (b"", b"<html>", b"[]", b'{"access_token": 1, "access_token": 2}'):
        oidc_issuer.replies[TOKEN] = Reply(body=body)
        with pytest.raises(WrongIdentityError, match="what it answers"):
            credentials.bearer("https://files.example")


def test_an_issuer_that_is_down_is_an_error(oidc_issuer, held):
    credentials = held()
    oidc_issuer.replies[TOKEN] = Reply(502)
    with pytest.raises(DirectoryUnavailableError):
        credentials.bearer("https://files.example")
    oidc_issuer.replies[TOKEN] = Reply(302, headers={"Location": "/other"})
    with pytest.raises(NoCredentialsError):
        credentials.bearer("https://files.example")
    assert not oidc_issuer.asked["/other"]
    oidc_issuer.stop()
    with pytest.raises(DirectoryUnavailableError):
        credentials.bearer("https://files.example")


def test_places_of_a_configuration_are_servers(oidc_issuer):
    for place in (
        "files.example",
        "https://u@files.example",
        "https://x:0",
        "ldap://x",
    ):
        with pytest.raises(UnsafeConfigurationError):
            oidc_issuer.exchange("front", RULE, {place: FILES})


@pytest.mark.parametrize("given", [{"scopes": "docs.read"}, {"audiences": [FILES]}])
def test_what_could_not_be_meant_of_an_exchange_is_refused(oidc_issuer, given):
    options = {"audiences": {"https://files.example": FILES}, **given}
    with pytest.raises(InvalidRequestError, match=next(iter(given))):
        oidc_issuer.exchange("front", RULE, **options)


# --- through whom, within a server ----------------------------------------------------


def subject_of(*through):
    user = Sid.from_string("S-1-5-21-1-2-3-1001")
    named = tuple(Principal(Sid.from_string("S-1-0-0"), name) for name in through)
    return Subject(AccessToken(user), Principal(user, "alice"), through=named)


def test_a_chain_within_a_server_comes_between_it_and_the_token_s():
    server, gateway = Actor("front", "https://idp"), Actor("gateway", "https://idp")
    assert (server, gateway) == chain_of(subject_of(), (gateway,), server)
    # A session that began with the token knows its actors already: they count once.
    same = subject_of(str(gateway))
    assert (server, gateway) == chain_of(same, (gateway,), server)
    both = subject_of("bob", str(gateway))
    bob = Actor("bob", "https://idp")
    assert (server, bob, gateway) == chain_of(both, (gateway,), server)
    assert (server, bob) == chain_of(subject_of("bob"), (), server)


def test_who_carried_an_identity_here_is_named_to_the_next_server(oidc_issuer, held):
    # This server's own token says so, where its issuer takes its word.
    exchange = oidc_issuer.exchange(
        "front", RULE, PLACES,
        actor_token=lambda: oidc_issuer.token(
            "front", oidc_issuer.url, act={"sub": "bob"}
        ),
    )  # fmt: skip
    credentials = held(exchange=exchange)
    token = credentials.bearer("https://files.example", subject_of("bob"))
    assert ["front", "bob"] == [a.name for a in oidc_issuer.read(token, FILES).actors]
    # One that leaves him out is not followed.
    silent = held(exchange=oidc_issuer.exchange("front", RULE, PLACES))
    with pytest.raises(WrongIdentityError, match="does not name all"):
        silent.bearer("https://files.example", subject_of("bob"))


def test_a_chain_that_is_too_long_is_not_written():
    chain = [Actor(f"s{n}", "https://idp") for n in range(9)]
    assert {} == write_chain((), "https://idp")
    assert "iss" in write_chain(chain[:1], "https://other")["act"]
    with pytest.raises(EvidenceRefusedError, match="over 8 actors"):
        write_chain(chain, "https://idp")


# --- the issuer's side ----------------------------------------------------------------


@pytest.fixture
def desk(oidc_issuer):
    def make(**rules):
        return ExchangeDesk(
            oidc_issuer.url,
            lambda: oidc_issuer.signing_key,
            keys=IssuerKeys(oidc_issuer._own_keys),
            rules={"front": RULE} | rules,
        )

    return make


def form(issuer, *, actor="front", **more):
    asked = {
        "grant_type": GRANT,
        "audience": FILES,
        "subject_token": issuer.token("alice", FRONT, scope="read write"),
        "subject_token_type": ACCESS_TOKEN,
    }
    if actor is not None:
        asked["actor_token"] = issuer.token(actor, issuer.url)
        asked["actor_token_type"] = ACCESS_TOKEN
    asked |= more
    return [(name, value) for name, value in asked.items() if value is not None]


def test_a_desk_gives_a_token_that_names_client_and_server(oidc_issuer, desk):
    answer = desk().answer(form(oidc_issuer, scope="read"), client="front")
    assert (200, "") == (answer.status, answer.cause)
    found = oidc_issuer.read(answer.body["access_token"], FILES)
    assert ("alice", "front", frozenset({"read"})) == (
        found.name,
        found.actors[0].name,
        found.scopes,
    )
    assert answer.body["access_token"] not in repr(answer)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
        ({"audience": DB}, "invalid_target"),
        ({"audience": None}, "invalid_target"),
        ({"resource": "https://other.example"}, "invalid_target"),
        ({"scope": "read admin"}, "invalid_scope"),
        ({"requested_token_type": "urn:x:saml2"}, "invalid_request"),
        ({"subject_token": None}, "invalid_request"),
        ({"subject_token": None, "subject_token_type": None}, "invalid_request"),
        ({"subject_token_type": "x"}, "invalid_request"),
        ({"subject_token": "x.y.z"}, "invalid_request"),
        ({"actor_token": None}, "invalid_request"),
        ({"actor_token": "x.y.z"}, "invalid_request"),
        ({"actor_token": None, "actor_token_type": None}, "invalid_request"),
    ],
)  # fmt: skip
def test_a_desk_refuses_what_it_cannot_mean(oidc_issuer, desk, more, code):
    answer = desk().answer(form(oidc_issuer, **more), client="front")
    assert (400, {"error": code}) == (answer.status, answer.body)
    assert answer.cause


def test_a_token_without_scopes_is_exchanged_for_none(oidc_issuer, desk):
    subject = oidc_issuer.token("alice", FRONT)
    has = naive(subject).get("scope")
    # The naive reads "it does not say" as "whatever is asked for".
    assert has is None or {"admin"} <= set(has.split())
    asked = form(oidc_issuer, subject_token=subject, scope="admin")
    answer = desk().answer(asked, client="front")
    assert (400, {"error": "invalid_scope"}) == (answer.status, answer.body)
    plain = desk().answer(form(oidc_issuer, subject_token=subject), client="front")
    assert oidc_issuer.read(plain.body["access_token"], FILES).scopes is None
    # What an operator's rule gives is the operator's to say.
    ruled = ExchangeRule(audience=FRONT, targets=[FILES], scopes=["admin"])
    assert 200 == desk(front=ruled).answer(asked, client="front").status


def test_a_desk_knows_who_asks(oidc_issuer, desk):
    answer = desk().answer(form(oidc_issuer), client="evil")
    assert "unauthorized_client" == answer.body["error"]
    # A token that was given to another is not exchanged by whoever finds it.
    thief = ExchangeRule(audience="https://evil.example", targets=[FILES])
    answer = desk(evil=thief).answer(form(oidc_issuer, actor="evil"), client="evil")
    assert ("invalid_request", "the token is for another server") == (
        answer.body["error"],
        answer.cause,
    )
    answer = desk().answer(form(oidc_issuer, actor="another"), client="front")
    assert "`front` is not the actor" == answer.cause
    twice = [*form(oidc_issuer), ("audience", FILES)]
    assert 400 == desk().answer(twice, client="front").status


def test_who_may_act_is_the_client_s_to_say(oidc_issuer, desk):
    for may, status in (
        ({"sub": "front"}, 200),
        ({"sub": "front", "iss": oidc_issuer.url}, 200),
        ({"sub": "front", "iss": "https://evil.example"}, 400),
        ({"sub": "another"}, 400),
        ("front", 400),
        ({}, 400),
    ):
        token = oidc_issuer.token("alice", FRONT, may_act=may)
        answer = desk().answer(form(oidc_issuer, subject_token=token), client="front")
        assert status == answer.status, may


def test_a_server_impersonates_only_by_name(oidc_issuer, desk):
    alone = form(oidc_issuer, actor=None)
    assert "may not impersonate" in desk().answer(alone, client="front").cause
    rule = ExchangeRule(audience=FRONT, targets=[FILES], may_impersonate=True)
    token = oidc_issuer.token("alice", FRONT, act={"sub": "gateway"})
    asked = form(oidc_issuer, actor=None, subject_token=token)
    answer = desk(front=rule).answer(asked, client="front")
    found = oidc_issuer.read(answer.body["access_token"], FILES)
    # The server does not appear; who came before it still does.
    assert ["gateway"] == [actor.name for actor in found.actors]
    token = oidc_issuer.token("alice", FRONT, may_act={"sub": "another"})
    asked = form(oidc_issuer, actor=None, subject_token=token)
    assert 400 == desk(front=rule).answer(asked, client="front").status


def test_impersonation_is_asked_for_by_name(oidc_issuer, held):
    rule = ExchangeRule(audience=FRONT, targets=[FILES], may_impersonate=True)
    exchange = oidc_issuer.exchange("front", rule, PLACES, actor_token=None)
    token = held(exchange=exchange).bearer("https://files.example")
    assert () == oidc_issuer.read(token, FILES).actors


def test_scopes_and_ends_only_shrink(oidc_issuer, desk):
    rule = ExchangeRule(audience=FRONT, targets=[FILES], scopes=["read", "other"])
    made = desk(front=rule).answer(form(oidc_issuer), client="front")
    assert "read" == made.body["scope"]
    wide = desk(front=rule).answer(form(oidc_issuer, scope="write"), client="front")
    assert "invalid_scope" == wide.body["error"]
    bare = oidc_issuer.token("alice", FRONT)
    made = desk(front=rule).answer(
        form(oidc_issuer, subject_token=bare), client="front"
    )
    assert "other read" == made.body["scope"]
    soon = oidc_issuer.token("alice", FRONT, exp=int(time.time()) + 60)
    made = desk().answer(form(oidc_issuer, subject_token=soon), client="front")
    assert naive(made.body["access_token"])["exp"] <= naive(soon)["exp"]
    assert made.body["expires_in"] <= 60
    over = oidc_issuer.token(
        "alice", FRONT, iat=int(time.time()) - 60, exp=int(time.time()) - 10
    )  # good for clocks that differ, and for nothing new
    made = desk().answer(form(oidc_issuer, subject_token=over), client="front")
    assert 400 == made.status


def test_a_token_that_is_bound_to_its_client_is_exchanged_by_its_recipient(
    oidc_issuer, desk
):
    bound = oidc_issuer.token("alice", FRONT, cnf={"jkt": "x"})
    answer = desk().answer(form(oidc_issuer, subject_token=bound), client="front")
    assert 200 == answer.status
    assert "cnf" not in naive(answer.body["access_token"])


def test_a_desk_makes_no_chain_too_long(oidc_issuer, desk):
    act = {"sub": "a"}
    for _ in range(7):
        act = {"sub": "a", "act": act}
    token = oidc_issuer.token("alice", FRONT, act=act)
    answer = desk().answer(form(oidc_issuer, subject_token=token), client="front")
    assert (400, True) == (answer.status, "over 8 actors" in answer.cause)


def test_a_rule_s_lists_are_lists():
    for options in ({"targets": "files"}, {"targets": [], "scopes": "read"}):
        with pytest.raises(UnsafeConfigurationError):
            ExchangeRule(audience=FRONT, **options)


def test_a_desk_without_keys_is_busy(oidc_issuer):
    def down():
        raise DirectoryUnavailableError("down")

    desk = ExchangeDesk(
        oidc_issuer.url, lambda: oidc_issuer.signing_key, keys=IssuerKeys(down),
        rules={"front": RULE},
    )  # fmt: skip
    answer = desk.answer(form(oidc_issuer), client="front")
    assert (503, "temporarily_unavailable") == (answer.status, answer.body["error"])


# --- who asks -------------------------------------------------------------------------


def test_a_server_shows_a_key_instead_of_a_secret(oidc_issuer, held):
    key = SigningKey.generate("front-key")
    known = oidc_issuer.exchange("front", RULE, PLACES, key=key)
    assert held(exchange=known).bearer("https://files.example")
    thief = ClientKey("front", SigningKey.generate("front-key"))
    posing = OwnToken(oidc_issuer.url + TOKEN, oidc_issuer.fetcher(), thief)
    with pytest.raises(NoCredentialsError, match="invalid_client"):
        posing()
    said = ClientKey("front", key).present("https://idp.example/token").form
    claims = naive(said["client_assertion"])
    assert ("front", "front", "https://idp.example/token") == (
        claims["iss"], claims["sub"], claims["aud"],
    )  # fmt: skip
    assert 60 == claims["exp"] - claims["iat"]
    again = ClientKey("front", key).present("https://idp.example/token").form
    assert claims["jti"] != naive(again["client_assertion"])["jti"]
    assert {"client_id": "front"} == ClientCertificate("front").present("x").form


def test_a_server_s_own_token_is_kept_until_it_ends(oidc_issuer):
    now = [0.0]
    secret = oidc_issuer.add_server("front", RULE)
    token = OwnToken(
        oidc_issuer.url + TOKEN, oidc_issuer.fetcher(), secret,
        audience=oidc_issuer.url, monotonic=lambda: now[0],
    )  # fmt: skip
    assert token() == token()
    assert "front" == naive(token())["sub"]
    assert 1 == oidc_issuer.asked[TOKEN]
    now[0] += 271
    token()
    assert 2 == oidc_issuer.asked[TOKEN]


def test_an_endpoint_that_does_not_know_a_server_gives_nothing(oidc_issuer, held):
    exchange = oidc_issuer.exchange("front", RULE, PLACES)
    oidc_issuer.add_server("front", RULE)  # another secret
    with pytest.raises(NoCredentialsError, match="invalid_client"):
        held(exchange=exchange).bearer("https://files.example")
    shown = repr(exchange)
    assert "Secret" not in shown
