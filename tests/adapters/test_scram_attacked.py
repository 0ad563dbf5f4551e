"""SCRAM attacked: by challenges, with a stolen store, and while verifiers change."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import threading
import time

import pytest
from tests.adapters.scram_stage import RIGHT, Stage

from stead.adapters.scram import Scram
from stead.adapters.store import Store
from stead.authority.names import name_key
from stead.codec import scram
from stead.errors import AccountLockedOutError, PasswordMismatchError, SteadError
from stead.model.logon_record import LogonType
from stead.model.secret import Secret


@pytest.fixture
def stage(folder):
    with Store.open(folder / "store.db") as opened:
        yield Stage(opened).furnish()


def test_a_challenge_does_not_tell_whether_a_name_exists(stage, folder):
    """Naive servers refuse at once, or make up another salt each time."""
    known = {name: scram_of(stage, name) for name in ("alice", "disabled", "locked")}

    def naive(name):
        return known[name].salt if name in known else time.time_ns().to_bytes(16)

    assert naive("alice") == naive("alice")
    assert naive("mallory") != naive("mallory")  # asked twice, a name tells

    names = ["alice", "disabled", "locked", "without", "mallory", "a/b", "x" * 900]
    asked = {name: stage.challenge(name) for name in names}
    assert {16} == {len(salt) for salt, _ in asked.values()}
    assert {4096} == {count for _, count in asked.values()}
    assert len(names) == len({salt for salt, _ in asked.values()})
    for name in names:
        assert asked[name] == stage.challenge(name) == stage.challenge(name.upper())
    # Another process over the store asks for the same, and another store does not.
    with Store.open(folder / "store.db") as again:
        assert asked["mallory"] == Stage(again).challenge("mallory")
    with Store.open(":memory:") as other:
        assert asked["mallory"][0] != Stage(other).challenge("mallory")[0]


WIDE = {letter: letter + 0xFEE0 for letter in range(ord("a"), ord("z") + 1)}
SPELLINGS = {
    "capitals": str.upper,
    "wide letters": lambda name: name.translate(WIDE),
    "a space that does not break": lambda name: name.replace(" ", "\u00a0"),
    "a wide space": lambda name: name.replace(" ", "\u3000"),
    "a space before": lambda name: f" {name}",
    "a letter that nobody sees": lambda name: f"{name}\ufe0f",
    "too long": lambda name: name + "x" * 900,
}


def test_another_spelling_does_not_tell_whether_a_name_exists(stage):
    """A name's other spelling is that name to the store, or nobody's: so for all."""
    stage.add("alice smith")

    def naive(name):
        account = stage.logon.account_named(name)
        return name_key(name) if account is None else scram_of(stage, account.name).salt

    def telling(asked):
        return {
            what
            for what, spell in SPELLINGS.items()
            if (asked("alice smith") == asked(spell("alice smith")))
            != (asked("mallory smith") == asked(spell("mallory smith")))
        }

    assert {"a space that does not break", "a wide space"} == telling(naive)
    assert set() == telling(stage.challenge)


def scram_of(stage, name):
    account = stage.store.accounts.account_by_name(name)
    return stage.store.credentials.scram_of(account.sid)


def test_a_salt_of_nobody_cannot_be_told_from_its_name(stage):
    """Salts that a name's digest makes are known to whoever can make digests."""
    salt, _ = stage.challenge("mallory")
    for made in (b"", b"stead", b"scram"):
        assert salt != hmac.digest(made or b"\0", b"mallory", "sha256")[:16]
        assert salt != hashlib.sha256(made + b"mallory").digest()[:16]


def test_while_counts_change_nobody_has_either_as_often_as_somebody(stage):
    """With the newest count for nobody, each account of the old one stands out."""
    for number in range(30):
        account = stage.store.accounts.add_account(f"user{number}", None, None)
        count = 4096 if number < 10 else 5000
        stage.make_logon(Scram(iterations=count)).set_password(
            account.sid, Secret(RIGHT)
        )
    real = [scram_of(stage, name).iterations for name in _accounts(stage)]
    nobodies = [stage.challenge(f"nobody{n}")[1] for n in range(300)]
    share = nobodies.count(4096) / 300
    assert abs(share - real.count(4096) / len(real)) < 0.12
    # A name that had the new one never goes back to the old one as accounts follow.
    before = {n: stage.challenge(f"nobody{n}")[1] for n in range(50)}
    stronger = stage.make_logon(Scram(iterations=5000))
    for number in range(10):
        name = f"user{number}"
        assert stronger.attempt(name, Secret(RIGHT), LogonType.NETWORK).require()
    after = {n: stage.challenge(f"nobody{n}")[1] for n in range(50)}
    assert all(after[n] >= before[n] for n in before)
    assert before != after


def _accounts(stage):
    everybody = stage.store.accounts.accounts()
    with_one = stage.store.credentials.accounts_with_password()
    return [account.name for account in everybody if account.sid in with_one]


def test_a_store_without_verifiers_asks_for_as_much_as_the_first_one_will():
    with Store.open(":memory:") as opened:
        assert 4096 == Stage(opened).challenge("anybody")[1]


def test_a_stolen_store_logs_nobody_on(stage, folder):
    """A store that keeps the client's key, as naive ones do, does."""
    with sqlite3.connect(folder / "store.db") as stolen:
        row = stolen.execute(
            "SELECT salt, stored_key, server_key FROM scram"
        ).fetchone()
        content = b"".join(map(bytes, _everything(stolen)))
    stolen.close()
    salt, stored, server = row
    assert RIGHT.encode() not in content
    keys = scram.keys_of(RIGHT.encode(), salt, 4096)
    assert keys.stored == stored
    assert keys.client not in content

    def try_with(client_key):
        client, exchange = stage.client("alice"), stage.package.begin(None)
        first = scram.read_client_first(client.first())
        asked = scram.read_server_first(exchange.step(client.first()).reply)
        bare = scram.write_client_final_bare(first.header, b"", asked.nonce)
        said = scram.conversation(first, asked, bare)
        forged = scram.ScramKeys(client_key, stored, server)
        return exchange.step(
            scram.write_client_final(bare, scram.proof_of(forged, said))
        )

    # What a naive store would have kept: with it, the thief is alice.
    assert "alice" == try_with(keys.client).client.name
    for key in (stored, server, bytes(32), hashlib.sha256(stored).digest()):
        with pytest.raises(PasswordMismatchError):
            try_with(key)
        stage.logon.lockout.clear("alice")


def _everything(connection):
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'"
    ).fetchall():
        for row in connection.execute(f"SELECT * FROM {name}"):  # noqa: S608 - a table's
            for value in row:
                yield value if isinstance(value, bytes) else str(value).encode()


def test_a_guess_at_a_stolen_store_costs_what_was_asked_for(stage):
    """The count is what slows a thief down: a naive one of 1 is as fast as a digest."""

    def seconds(count):
        began = time.thread_time()  # others have the processor now and then
        for _ in range(3):
            scram.keys_of(b"guess", b"salt" * 4, count)
        return time.thread_time() - began

    assert Scram().iterations >= 600_000  # OWASP's figure for PBKDF2 with SHA-256
    assert seconds(Scram().iterations) > 100 * seconds(1)


def test_a_thief_of_the_secret_and_of_a_made_up_verifier_is_still_nobody(stage):
    """Whoever knows the store's secret knows every decoy, and no decoy lets in."""
    package = stage.package
    verifier, is_real = package.verifier_of(None, "mallory")
    assert not is_real
    assert stage.challenge("mallory")[0] == verifier.salt
    error = stage.failure("mallory", "anything")
    assert "no account has this name" in str(error)


def test_what_a_process_of_an_earlier_version_does_to_a_password_counts(stage, folder):
    """It knows nothing of this table, and leaves no verifier of an old password."""
    alice = stage.store.accounts.account_by_name("alice")
    with sqlite3.connect(folder / "store.db") as old:
        old.execute("PRAGMA foreign_keys = ON")  # as every version's do
        old.execute("DELETE FROM password WHERE sid = ?", (str(alice.sid),))
        old.execute(
            "INSERT INTO password VALUES (?, 'of another', 1)", (str(alice.sid),)
        )
    old.close()
    assert stage.store.credentials.scram_of(alice.sid) is None
    assert isinstance(stage.failure("alice"), PasswordMismatchError)
    stage.store.accounts.remove_principal(alice.sid)
    assert stage.store.accounts.account_by_name("alice") is None


def test_an_account_that_is_deleted_takes_its_verifier_along(stage):
    alice = stage.store.accounts.account_by_name("alice")
    stage.store.accounts.remove_principal(alice.sid)
    assert stage.store.credentials.scram_of(alice.sid) is None


def test_guesses_at_once_by_two_servers_are_no_more_than_the_threshold(stage, folder):
    """Whoever compares first and counts afterwards lets as many pass as there are."""
    with Store.open(folder / "store.db") as second:
        servers, ready = (stage, Stage(second)), threading.Barrier(12)
        outcomes = []

        def guess(number):
            server = servers[number % 2]
            client = server.client("alice", f"guess {number}")
            exchange = server.package.begin(None)
            answer = client.answer(exchange.step(client.first()).reply)
            ready.wait(60)
            try:
                exchange.step(answer)
            except SteadError as error:
                outcomes.append(type(error))

        threads = [threading.Thread(target=guess, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert 12 == len(outcomes)
        assert stage.policy.threshold == outcomes.count(PasswordMismatchError)
        assert isinstance(stage.failure("alice"), AccountLockedOutError)
