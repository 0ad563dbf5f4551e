"""SCRAM over a store: who is let in, on which channel, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.scram_stage import RIGHT, Stage

from stead.adapters.scram import ITERATIONS, Scram
from stead.adapters.scram_client import ScramClient
from stead.adapters.store import Store
from stead.authority.packages import (
    ChannelBinding,
    Counted,
    CountingExchange,
)
from stead.codec import scram
from stead.errors import (
    AccountDisabledError,
    AccountExpiredError,
    AccountLockedOutError,
    EvidenceRefusedError,
    InvalidRequestError,
    LogonTypeNotGrantedError,
    PasswordMismatchError,
    PasswordMustChangeError,
    RemoteProtocolError,
    SteadError,
    UnknownAccountError,
    WrongIdentityError,
)
from stead.model.logon_record import LogonType
from stead.model.secret import Secret

END_POINT = ChannelBinding("tls-server-end-point", b"digest of a certificate")
EXPORTER = ChannelBinding("tls-exporter", b"material of 32 bytes")
OTHER = ChannelBinding("tls-exporter", b"another channel's")


@pytest.fixture
def memory():
    with Store.open(":memory:") as opened:
        yield opened


@pytest.fixture
def stage(memory):
    return Stage(memory).furnish()


@pytest.fixture(scope="module")
def lasting():
    with Store.open(":memory:") as opened:
        yield Stage(opened).furnish()


def test_who_must_change_the_password_or_comes_late_is_not_let_in(stage, memory):
    """Nothing is compared here: a naive check in the comparison would miss it."""
    alice = memory.accounts.account_by_name("alice")
    assert "alice" == stage.talk("alice").name
    memory.credentials.require_change(alice.sid)
    assert isinstance(stage.failure("alice"), PasswordMustChangeError)
    memory.accounts.set_account_times(
        alice.sid, expires_at=1, logon_hours=None, password_lasts=False
    )
    assert isinstance(stage.failure("alice"), AccountExpiredError)


@pytest.mark.parametrize("name", ["alice", "ALICE", "\uff21lice"], ids=ascii)
def test_whoever_knows_the_password_is_who_it_says(stage, name):
    client = stage.talk(name)
    assert ("alice", "", "scram-sha-256") == (
        client.name, client.issuer, client.package,
    )  # fmt: skip
    assert not client.is_bound
    assert client.credentials is None


@pytest.mark.parametrize("binding", [END_POINT, EXPORTER])
def test_both_ends_of_one_channel_are_bound_to_it(stage, binding):
    client = stage.talk("alice", client_binding=binding, binding=binding)
    assert client.is_bound
    assert (("channel binding", binding.kind),) == client.details


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        (OTHER, EXPORTER, "another channel"),
        (END_POINT, EXPORTER, "does not bind by tls-exporter"),
        (None, EXPORTER, "does not bind"),
        (EXPORTER, None, "the channel cannot"),
    ],
)
def test_a_client_that_is_not_bound_to_this_channel_is_refused(
    stage, theirs, ours, why
):
    error = stage.failure("alice", client_binding=theirs, binding=ours)
    assert isinstance(error, EvidenceRefusedError)
    assert why in str(error)
    assert not stage.store.credentials.failures().get("alice")  # no guess was made


def test_a_binding_to_nothing_is_refused_on_both_sides(stage):
    """A library that knows no binding gives an empty one, which everybody has."""
    nothing = ChannelBinding("tls-exporter", b"")
    with pytest.raises(InvalidRequestError, match="empty"):
        stage.package.begin(nothing)
    with pytest.raises(InvalidRequestError, match="empty"):
        stage.client("alice", binding=nothing)


def test_that_somebody_hid_the_binding_from_the_client_is_seen(stage):
    error = stage.failure("alice", binding=EXPORTER, could_bind=True)
    assert "was told that the server cannot bind" in str(error)
    assert "somebody between" in error.advice
    assert stage.talk("alice", could_bind=True).name == "alice"  # where it is true


@pytest.mark.parametrize(
    ("name", "secret", "error"),
    [
        ("alice", "lion", PasswordMismatchError),
        ("alice", "", PasswordMismatchError),
        ("disabled", RIGHT, AccountDisabledError),
        ("denied", RIGHT, LogonTypeNotGrantedError),
        ("locked", RIGHT, AccountLockedOutError),
        ("without", RIGHT, PasswordMismatchError),
        ("nobody", RIGHT, UnknownAccountError),
        ("a/b", RIGHT, UnknownAccountError),
        ("x" * 5000, RIGHT, UnknownAccountError),
    ],
)
def test_each_failure_is_precise_here(stage, name, secret, error):
    assert type(stage.failure(name, secret)) is error


def test_every_failure_asks_the_store_alike(stage):
    """Whoever measures the work learns no more than by the words."""
    made = set()
    for name, secret in (
        ("alice", "lion"), ("disabled", RIGHT), ("without", RIGHT), ("nobody", RIGHT),
        ("locked", RIGHT), ("a/b", "x"),
    ):  # fmt: skip
        stage.calls.clear()
        stage.failure(name, secret)
        made.add(tuple(stage.calls))
    assert 1 == len(made)


def test_wrong_proofs_count_and_lock_as_wrong_passwords_do(stage):
    for _ in range(2):
        stage.failure("alice", "lion")
    error = stage.logon.attempt("alice", Secret("lion"), LogonType.NETWORK).error
    assert isinstance(error, PasswordMismatchError)  # the third of either kind
    assert isinstance(stage.failure("alice"), AccountLockedOutError)
    stage.now += 601 * 1_000_000_000
    assert "alice" == stage.talk("alice").name
    assert "alice" not in stage.store.credentials.failures()


def test_an_exchange_says_what_it_has_counted(stage):
    exchange = stage.package.begin(None)
    assert isinstance(exchange, CountingExchange)
    client = stage.client("alice", "lion")
    challenge = exchange.step(client.first()).reply
    assert Counted("alice") == exchange.counted
    with pytest.raises(PasswordMismatchError):
        exchange.step(client.answer(challenge))
    assert ("alice", False) == (exchange.counted.name, exchange.counted.locks)
    assert exchange.counted.delay > 0


def test_a_first_message_alone_counts_nothing(stage):
    for _ in range(5):
        stage.challenge("alice")
    assert "alice" not in stage.store.credentials.failures()


def test_an_exchange_is_of_two_messages(stage):
    client, exchange = stage.client("alice"), stage.package.begin(None)
    answer = client.answer(exchange.step(client.first()).reply)
    assert exchange.step(answer).client is not None
    for blob in (answer, client.first(), b""):
        with pytest.raises(EvidenceRefusedError, match="over"):
            exchange.step(blob)
    closed = stage.package.begin(None)
    closed.close()
    with pytest.raises(EvidenceRefusedError, match="over"):
        closed.step(client.first())


def test_an_answer_is_one_to_this_challenge_alone(stage):
    """Replayed, it is one to another nonce."""
    client, exchange = stage.client("alice"), stage.package.begin(None)
    answer = client.answer(exchange.step(client.first()).reply)
    assert exchange.step(answer).client is not None
    again = stage.package.begin(None)
    again.step(client.first())
    with pytest.raises(EvidenceRefusedError, match="another challenge"):
        again.step(answer)


def test_a_password_that_was_changed_meanwhile_proves_nothing(stage):
    client, exchange = stage.client("alice"), stage.package.begin(None)
    answer = client.answer(exchange.step(client.first()).reply)
    alice = stage.store.accounts.account_by_name("alice")
    stage.logon.set_password(alice.sid, Secret("lion"))
    with pytest.raises(PasswordMismatchError):
        exchange.step(answer)


def test_a_client_that_names_nobody_is_refused_unless_somebody_else_has_named_it(
    stage,
):
    client = stage.client("")
    with pytest.raises(EvidenceRefusedError, match="who it is"):
        stage.package.begin(None).step(client.first())
    exchange = stage.package.begin_for("alice", None)
    step = exchange.step(client.answer(exchange.step(client.first()).reply))
    assert "alice" == step.client.name


@pytest.mark.parametrize("secret", ["\u2168", "\U0001f642 tiger", "pass\u00a0word"])
def test_passwords_of_all_letters_are_known_however_they_are_composed(stage, secret):
    stage.add("zoe", secret)
    assert "zoe" == stage.talk("zoe", secret).name
    if secret == "\u2168":
        assert "zoe" == stage.talk("zoe", "IX").name


# --- what is kept ---------------------------------------------------------------------


def test_what_is_kept_goes_with_the_password(stage):
    alice = stage.store.accounts.account_by_name("alice")
    first = stage.store.credentials.scram_of(alice.sid)
    stage.logon.set_password(alice.sid, Secret(RIGHT))
    second = stage.store.credentials.scram_of(alice.sid)
    assert first.salt != second.salt  # of its own each time
    assert stage.logon.remove_password(alice.sid)
    assert stage.store.credentials.scram_of(alice.sid) is None
    assert isinstance(stage.failure("alice"), PasswordMismatchError)


def test_a_server_without_scram_takes_the_old_verifier_away(stage):
    """It would be one of the old password otherwise."""
    alice = stage.store.accounts.account_by_name("alice")
    stage.make_logon(None).set_password(alice.sid, Secret("lion"))
    assert stage.store.credentials.scram_of(alice.sid) is None
    for secret in (RIGHT, "lion"):
        assert isinstance(stage.failure("alice", secret), PasswordMismatchError)


def test_a_password_that_is_shown_makes_what_is_missing_or_weak(stage):
    alice = stage.store.accounts.account_by_name("alice")
    stage.make_logon(None).set_password(alice.sid, Secret("lion"))
    generation = stage.store.accounts.generation()
    assert stage.logon.attempt("alice", Secret("lion"), LogonType.NETWORK).require()
    assert "alice" == stage.talk("alice", "lion").name
    stronger = stage.make_logon(Scram(iterations=5000))
    assert stronger.attempt("alice", Secret("lion"), LogonType.NETWORK).require()
    assert 5000 == stage.store.credentials.scram_of(alice.sid).iterations
    assert "alice" == stage.talk("alice", "lion").name
    assert generation == stage.store.accounts.generation()  # no change of the password
    kept = stage.store.credentials.scram_of(alice.sid)
    assert stronger.attempt("alice", Secret("lion"), LogonType.NETWORK).require()
    assert kept == stage.store.credentials.scram_of(alice.sid)  # once is enough


def test_a_better_verifier_is_kept_for_the_password_it_was_made_of_alone(stage):
    alice = stage.store.accounts.account_by_name("alice")
    kept = stage.store.credentials
    before = kept.scram_of(alice.sid)
    made = stage.terms.make(b"old password")
    assert not kept.renew_verifier(alice.sid, "changed by now", "better", scram=made)
    assert before == kept.scram_of(alice.sid)


def test_what_a_wrong_password_is_shown_with_renews_nothing(stage):
    alice = stage.store.accounts.account_by_name("alice")
    stronger = stage.make_logon(Scram(iterations=5000))
    assert stronger.attempt("alice", Secret("lion"), LogonType.NETWORK).error
    assert 4096 == stage.store.credentials.scram_of(alice.sid).iterations


@pytest.mark.parametrize("iterations", [0, 4095, 10_000_001])
def test_counts_that_no_client_may_take_are_refused(iterations):
    with pytest.raises(InvalidRequestError):
        Scram(iterations=iterations)
    assert ITERATIONS == Scram().iterations


# --- the client -----------------------------------------------------------------------


def test_the_client_believes_a_server_that_knows_the_account_alone(stage):
    client, exchange = stage.client("alice"), stage.package.begin(None)
    with pytest.raises(InvalidRequestError, match="not asked"):
        client.require_server(b"v=QUJD")
    final = exchange.step(client.answer(exchange.step(client.first()).reply)).reply
    forged = scram.write_server_final(bytes(32))
    with pytest.raises(WrongIdentityError, match="does not know"):
        client.require_server(forged)
    with pytest.raises(RemoteProtocolError):
        client.require_server(b"e=other-error")
    client.require_server(final)


@pytest.mark.parametrize("nonce", ["", "abc"])
def test_the_client_answers_a_challenge_of_its_own_alone(nonce):
    client = ScramClient("alice", Secret(RIGHT), entropy=bytes)
    own = scram.read_client_first(client.first()).nonce
    for said in (own, nonce or own[:-1] + "x", "x" + own):
        challenge = scram.write_server_first(said, b"salt" * 4, 4096).text.encode()
        with pytest.raises(RemoteProtocolError, match="somebody else"):
            client.answer(challenge)


def test_the_client_takes_no_challenge_that_makes_guessing_cheap():
    client = ScramClient("alice", Secret(RIGHT), least_iterations=100_000)
    own = scram.read_client_first(client.first()).nonce
    challenge = scram.write_server_first(own + "x", b"salt" * 4, 4096).text.encode()
    with pytest.raises(WrongIdentityError, match="4096 iterations"):
        client.answer(challenge)


# --- whatever comes -------------------------------------------------------------------


def outcome(exchange, *blobs):
    """Return what a stranger's blobs lead to; any other error is one too many."""
    try:
        for blob in blobs:
            step = exchange.step(blob)
    except (EvidenceRefusedError, PasswordMismatchError, UnknownAccountError) as error:
        return type(error)
    return step.client


@given(first=st.binary(max_size=60), second=st.binary(max_size=60))
def test_no_bytes_let_anybody_in_or_raise_anything_else(lasting, first, second):
    found = outcome(lasting.package.begin(None), first, second)
    assert issubclass(found, SteadError)


@given(
    place=st.integers(0, 200),
    inserted=st.binary(max_size=3),
    dropped=st.integers(0, 3),
    which=st.sampled_from(["first", "second"]),
    binding=st.sampled_from([None, EXPORTER]),
)
def test_no_change_on_the_way_lets_anybody_in(
    lasting, place, inserted, dropped, which, binding
):
    def changed(blob):
        return blob[:place] + inserted + blob[place + dropped :]

    client = lasting.client("alice", RIGHT, binding)
    exchange = lasting.package.begin(binding)
    first = client.first()
    sent = changed(first) if which == "first" else first
    try:
        challenge = exchange.step(sent).reply
        answer = client.answer(challenge)
    except SteadError:
        return
    finally:
        lasting.store.credentials.change_failures("alice", lambda _found: None)
    resent = changed(answer) if which == "second" else answer
    found = outcome(exchange, resent)
    lasting.store.credentials.change_failures("alice", lambda _found: None)
    if (sent, resent) == (first, answer):
        assert "alice" == found.name
    else:
        assert issubclass(found, SteadError)
