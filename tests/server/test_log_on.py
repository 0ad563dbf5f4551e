"""Logging clients on: sessions with a password, their tokens, records and ends."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from stead.adapters.argon2 import Argon2Verifier
from stead.adapters.store import Store
from stead.authority.lockout import Lockout, LockoutPolicy
from stead.authority.logon import Logon
from stead.codec.token_text import token_detail
from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    LedgerUnavailableError,
    LogonFailureError,
    LogonSessionEndedError,
    LoopThreadError,
    PrivilegeNotHeldError,
    SecretUsedError,
    StoreUnavailableError,
)
from stead.model import well_known
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.logon_record import LogonType
from stead.model.privilege import LogonRight, Privilege
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel, TokenType
from stead.monitor.effective import effective_token
from stead.server.admission import Arrival
from stead.server.service_thread import ServiceThread, carried

POLICY = LockoutPolicy(threshold=3)
ARRIVAL = Arrival("local", "uid 0", "42", "password", "itself")
NETWORK, INTERACTIVE = LogonType.NETWORK, LogonType.INTERACTIVE


@pytest.fixture
def slept():
    """For how long answers were late; nobody waits for it here."""
    return []


@pytest.fixture
def door(server, slept):
    """The server's door, with a verifier that costs little and a small threshold."""
    admission = server._house.admission
    thread = ServiceThread("password")
    cheap = PasswordHasher(time_cost=1, memory_cost=16, parallelism=2)
    credentials = admission.logon._passwords.credentials
    logon = Logon(
        admission.store,
        credentials,
        verifier=carried(Argon2Verifier(cheap), thread),
        host=admission.host,
        lockout=Lockout(credentials, POLICY, admission.logon.lockout.clock),
        monotonic=admission.logon._monotonic,
    )
    desk = replace(server.accounts, logon=logon, sleep=slept.append)
    for name in ("alice", "bob"):
        desk.set_password(name, Secret("tiger"))
    yield replace(admission, logon=logon, sleep=slept.append)
    thread.close()


@pytest.fixture
def desk(server, door, slept):
    return replace(server.accounts, logon=door.logon, sleep=slept.append)


@pytest.fixture
def log_on(door):
    def make(name="alice", secret=None, logon_type=INTERACTIVE, **how):
        secret = Secret("tiger") if secret is None else secret
        return door.log_on(name, secret, logon_type, arrival=ARRIVAL, **how)

    return make


@pytest.fixture
def live(server):
    return lambda: [r.name for r in server._house.guard.liveness.records()]


# --- who is logged on -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("logon_type", "sid"),
    [
        (LogonType.INTERACTIVE, well_known.INTERACTIVE),
        (LogonType.NETWORK, well_known.NETWORK),
        (LogonType.BATCH, well_known.BATCH),
        (LogonType.SERVICE, well_known.SERVICE),
    ],
    ids=str,
)
def test_a_password_opens_a_session_whose_token_is_that_of_its_type(
    server, log_on, trail, logon_type, sid
):
    right = LogonRight[logon_type.name]
    server.accounts.grant("alice", right)
    with log_on(logon_type=logon_type) as session:
        token = session.token
        is_network = logon_type is NETWORK
        kind = TokenType.IMPERSONATION if is_network else TokenType.PRIMARY
        assert (kind, ImpersonationLevel.IMPERSONATION) == (token.type, token.level)
        assert token.group(sid) is not None
        logon_id = session.record.logon_id
        assert token.group(well_known.logon_sid(logon_id.high, logon_id.low))
        assert ("alice", logon_type) == (session.name, session.record.logon_type)
        assert (session.sid, logon_id) == (token.user, token.logon_id)
    [logon] = trail(AuditEvent.LOGON)
    expected = {
        "authenticated by": "itself",
        "level": "impersonation",
        "logon type": logon_type.name.lower(),
        "package": "password",
        "uid": "70001",
    }
    assert expected | token_detail(token) == logon.detail
    assert ("local", "uid 0", "42") == (logon.gate, logon.peer, logon.correlation)


def test_a_session_is_carried_to_a_thread_and_no_more_once_it_is_closed(log_on):
    with log_on() as session, ThreadPoolExecutor(1) as pool:
        carried_on = session.carry(effective_token)
        assert session.token == pool.submit(carried_on).result(10)
    for verb in (session.carry, session.run):
        with pytest.raises(LogonSessionEndedError, match="was closed here"):
            verb(effective_token)


def test_a_thread_impersonates_with_a_primary_token(log_on):
    with log_on() as session, session.impersonate():
        assert session.token == effective_token()


def test_no_privilege_beyond_those_of_its_account_comes_with_a_logon(server, log_on):
    server.accounts.add_member("Administrators", "alice")
    with log_on() as session:
        held = {entry.privilege for entry in session.token.privileges}
        assert {Privilege.CHANGE_NOTIFY} == held


def test_sensitive_privileges_are_recorded_and_disabled_but_for_the_network(
    server, log_on, trail
):
    server.accounts.grant("alice", Privilege.BACKUP)
    server.accounts.grant("alice", Privilege.SHUTDOWN)
    with log_on() as session:
        assert not session.token.has_privilege(Privilege.BACKUP)
    with log_on(logon_type=NETWORK) as session:
        assert session.token.has_privilege(Privilege.BACKUP)
    with log_on("bob"):
        pass
    special = trail(AuditEvent.SPECIAL_PRIVILEGES)
    assert [("alice", ("SeBackupPrivilege",))] * 2 == [
        (record.client.name, record.privileges) for record in special
    ]


# --- who is not -----------------------------------------------------------------------


FAILURES = {
    "unknown": ("mallory", "tiger", "0xC0000064", 1332),
    "wrong password": ("alice", "lion", "0xC000006A", 86),
    "locked": ("locked", "tiger", "0xC0000234", 1909),
    "disabled": ("bob", "tiger", "0xC0000072", 1331),
    "type not granted": ("root of the store", "tiger", "0xC000015B", 1385),
}


@pytest.fixture
def troubled(server, desk, log_on):
    """Accounts that fail for every reason there is."""
    server.accounts.disable("bob")
    server.accounts.add("locked")
    desk.set_password("locked", Secret("tiger"))
    desk.set_password("root of the store", Secret("tiger"))
    server.accounts.grant("root of the store", LogonRight.DENY_INTERACTIVE)
    for _ in range(POLICY.threshold):
        with pytest.raises(LogonFailureError):
            log_on("locked", Secret("guess"))


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_every_failure_sounds_the_same_and_the_trail_has_its_cause(
    troubled, log_on, live, record_of, failure, door
):
    name, word, sub, status = failure
    before, secret = live(), Secret(word)
    with pytest.raises(LogonFailureError) as refused:
        log_on(name, secret)
    error = refused.value
    assert ("logon failure", "logon failure") == (str(error), error.public)
    assert (None, None) == (error.__cause__, error.__context__)
    assert secret.is_wiped
    record = record_of(error.record)
    assert (AuditEvent.LOGON_FAILED, Outcome.FAILURE, status) == (
        record.event,
        record.outcome,
        record.status,
    )
    assert record.client.name in {name, door.logon.unknown.shown(name)}
    assert ("mallory" != name) == (name == record.client.name)
    assert {
        "authenticated by": "itself",
        "logon type": "interactive",
        "package": "password",
        "status": "0xC000006D",
        "sub status": sub,
    } == record.detail
    assert before == live()


def test_an_error_that_is_kept_holds_no_secret(log_on):
    """A naive logon leaves the password in the frames of what it raises."""

    def naive(word):
        content = word + "!"
        raise LogonFailureError from ValueError(content)

    def held(raised):
        found, error = [], raised.value
        while error is not None:
            found.append(repr(error.args))
            step = error.__traceback__
            while step is not None:
                code = step.tb_frame.f_code
                if "/src/stead/" in code.co_filename or code.co_name == "naive":
                    found.append(repr(step.tb_frame.f_locals))
                step = step.tb_next
            error = error.__cause__ or error.__context__
        return "\n".join(found)

    with pytest.raises(LogonFailureError) as fallen:
        naive("tiger lily")
    assert "tiger lily" in held(fallen)
    with pytest.raises(LogonFailureError) as refused:
        log_on("alice", Secret("tiger lily"))
    assert "tiger lily" not in held(refused)


def test_answers_are_later_each_time_and_only_after_the_record(
    log_on, slept, trail, door
):
    for _ in range(2):
        with pytest.raises(LogonFailureError):
            log_on("alice", Secret("lion"))
    assert slept[0] < slept[1]
    assert all(seconds >= POLICY.first_delay for seconds in slept)
    seen = []
    late = replace(
        door, sleep=lambda _seconds: seen.append(len(trail(AuditEvent.LOGON_FAILED)))
    )
    with pytest.raises(LogonFailureError):
        late.log_on("alice", Secret("lion"), NETWORK, arrival=ARRIVAL)
    assert [3] == seen


def test_the_failure_that_locks_a_name_is_recorded_as_that_once(log_on, trail, door):
    for name in ("alice", "mallory"):
        for _ in range(POLICY.threshold + 2):
            with pytest.raises(LogonFailureError):
                log_on(name, Secret("lion"))
    locked = trail(AuditEvent.ACCOUNT_LOCKED_OUT)
    nobody = door.logon.unknown.shown("mallory")
    alice = str(door.store.account_by_name("alice").sid)
    assert [("alice", alice), (nobody, None)] == [
        (record.object_name, record.detail.get("sid")) for record in locked
    ]
    assert ["uid 0"] * 2 == [record.peer for record in locked]


def test_whose_account_is_locked_nobody_but_the_trail_is_told(log_on, trail):
    heard, written = {}, {}
    for name in ("alice", "mallory"):
        heard[name], before = [], len(trail(AuditEvent.ACCOUNT_LOCKED_OUT))
        for _ in range(POLICY.threshold + 1):
            with pytest.raises(LogonFailureError) as it:
                log_on(name, Secret("lion"))
            heard[name].append((str(it.value), it.value.status, it.value.public))
        written[name] = len(trail(AuditEvent.ACCOUNT_LOCKED_OUT)) - before
    assert heard["alice"] == heard["mallory"]
    assert {"alice": 1, "mallory": 1} == written


def test_a_crowd_of_guesses_gets_no_more_than_the_threshold_compared(
    server, log_on, trail
):
    """Afterwards not even the right password opens the door."""
    words = [*(f"guess {n}" for n in range(20)), "tiger"]
    together = threading.Barrier(20)

    def guess(word):
        together.wait(30)
        with pytest.raises(LogonFailureError):
            log_on("alice", Secret(word))

    threads = [threading.Thread(target=guess, args=(w,)) for w in words[:20]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with pytest.raises(LogonFailureError):
        log_on("alice", Secret(words[20]))
    subs = [record.detail["sub status"] for record in trail(AuditEvent.LOGON_FAILED)]
    assert POLICY.threshold == subs.count("0xC000006A")
    assert 21 - POLICY.threshold == subs.count("0xC0000234")


def test_a_server_without_tcb_logs_nobody_on_and_that_is_told(open_server, record_of):
    server = open_server(privileges=(Privilege.IMPERSONATE,))
    server.accounts.add("alice")
    secret = Secret("tiger")
    with pytest.raises(PrivilegeNotHeldError) as refused:
        server._house.admission.log_on("alice", secret, NETWORK, arrival=ARRIVAL)
    assert secret.is_wiped
    assert refused.value.record is not None


@pytest.mark.parametrize(
    "logon_type",
    [LogonType.UNLOCK, LogonType.NEW_CREDENTIALS],
)
def test_types_that_are_not_offered_are_refused_by_name(log_on, logon_type):
    secret = Secret("tiger")
    with pytest.raises(InvalidRequestError) as refused:
        log_on("alice", secret, logon_type)
    assert "network_cleartext, batch, service; for new" in refused.value.advice
    assert secret.is_wiped


def test_a_server_without_the_library_says_so(door):
    poor = replace(door, logon=None)
    with pytest.raises(EnforcementUnavailableError, match="passwords"):
        poor.log_on("alice", Secret("tiger"), NETWORK, arrival=ARRIVAL)


def test_a_secret_serves_once(log_on):
    secret = Secret("tiger")
    log_on("alice", secret).close()
    with pytest.raises(SecretUsedError):
        log_on("alice", secret)


def test_an_event_loop_never_waits_for_a_logon(log_on):
    async def main():
        with pytest.raises(LoopThreadError):
            log_on()
        return await asyncio.to_thread(log_on)

    asyncio.run(main()).close()


def test_a_logon_that_cannot_be_recorded_does_not_live(server, log_on, live):
    before = live()
    server._house.guard.sink.close()
    for word in ("tiger", "lion"):
        secret = Secret(word)
        with pytest.raises(LedgerUnavailableError):
            log_on("alice", secret)
        assert secret.is_wiped
    assert before == live()


@pytest.mark.bypasses_the_law  # what fails here is the record itself
def test_a_failure_after_the_comparison_is_as_late_as_one_in_it(
    door, log_on, slept, monkeypatch
):
    """As on a full disk: an answer at once would say that the password was right."""

    def fail(*_given, **_named):
        raise LedgerUnavailableError("now")

    with monkeypatch.context() as broken:
        broken.setattr("stead.monitor.recorder.Recorder.record", fail)
        for secret in ("lion", "tiger"):
            with pytest.raises(LedgerUnavailableError):
                log_on(secret=Secret(secret))
    first = door.logon.lockout.policy.first_delay
    wrong, right = slept
    naive = 0.0  # nothing failed, when the password was compared
    assert wrong >= first
    assert right >= first
    assert naive < first


@pytest.mark.bypasses_the_law
def test_a_store_that_cannot_be_asked_lets_nobody_in(server, door, log_on, record_of):
    door.logon._passwords.credentials.set_password(
        server.accounts.store.account_by_name("alice").sid, "damaged", changed_at=1
    )
    with pytest.raises(LogonFailureError) as refused:
        log_on()
    assert "0xC000006D" == record_of(refused.value.record).detail["sub status"]
    with Store.open(":memory:") as gone:
        pass
    lockout = door.logon.lockout
    door.logon.lockout = replace(lockout, store=gone.credentials)
    with pytest.raises(LogonFailureError) as refused:
        log_on()
    assert StoreUnavailableError.status == record_of(refused.value.record).status


# --- for a client ---------------------------------------------------------------------


def test_a_client_that_hands_in_a_password_is_recorded_with_it(
    log_on, bob, trail, door
):
    with log_on("alice", via=bob):
        pass
    with pytest.raises(LogonFailureError):
        log_on("mallory", Secret("lion"), via=bob)
    explicit = trail(AuditEvent.EXPLICIT_CREDENTIALS)
    nobody = door.logon.unknown.shown("mallory")
    assert [("bob", "alice"), ("bob", nobody)] == [
        (record.client.name, record.object_name) for record in explicit
    ]


def test_a_client_whose_session_ended_hands_in_nothing(log_on, bob, live):
    bob.close()
    before = live()
    with pytest.raises(LogonSessionEndedError):
        log_on("alice", via=bob)
    assert before == live()


def test_a_client_is_logged_on_inside_another_clients_block(log_on, bob):
    """The library starts threads, which must not begin as a client."""
    with bob.impersonate(), log_on("alice") as session:
        with session.impersonate():
            assert session.token == effective_token()
        assert bob.token == effective_token()


@pytest.mark.root
def test_a_password_is_compared_for_a_block_that_the_kernel_judges(kernel_server):
    """The naive way starts the library's threads there, and the kernel refuses them."""
    kernel_server.accounts.set_password("alice", Secret("tiger"))
    bob = kernel_server.client_for("bob", authenticated_by="test")
    hasher = PasswordHasher()
    made = hasher.hash("tiger")

    def naive():
        with bob.impersonate():
            return hasher.verify(made, "tiger")

    def ours():
        door = kernel_server._house.admission
        with bob.impersonate():
            return door.log_on("alice", Secret("tiger"), INTERACTIVE, arrival=ARRIVAL)

    with pytest.raises(VerificationError):
        kernel_server.executor().submit(naive).result(60)
    with kernel_server.executor().submit(ours).result(60) as session:
        assert "alice" == session.name


# --- how it ends ----------------------------------------------------------------------


def test_a_session_ends_when_it_is_closed_and_that_is_recorded_once(
    log_on, live, trail
):
    session = log_on()
    assert "alice" in live()
    session.close()
    session.close()
    session.log_off()
    assert ["notes"] == live()
    assert ["alice"] == [record.client.name for record in trail(AuditEvent.LOGOFF)]


def test_a_session_that_is_forgotten_ends(log_on, live):
    session = log_on()
    del session
    gc.collect()
    assert ["notes"] == live()


def test_a_block_in_force_keeps_its_session_until_it_is_left(
    server, log_on, live, trail, plan, rights
):
    """A naive session ends under the block, which then is nobody in the middle."""
    session = log_on()
    client = session.client
    with session.impersonate():
        session.close()
        assert "alice" in live()
        server.require(client, plan, rights.READ)
        assert [] == trail(AuditEvent.LOGOFF)
    assert ["notes"] == live()
    assert [1, 1] == [
        len(trail(event))
        for event in (AuditEvent.LOGOFF, AuditEvent.IMPERSONATION_LEFT)
    ]
    with pytest.raises(LogonSessionEndedError), client.impersonate():
        pytest.fail("an ended session was entered")


def test_a_block_that_is_refused_or_forgotten_holds_nothing(server, log_on, live):
    session = log_on()
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError), session.impersonate():
        pytest.fail("entered without a record")
    block = session.impersonate()
    del block
    session.close()
    assert ["notes"] == live()


@pytest.mark.leaks_identity
def test_a_block_that_nobody_can_leave_any_more_holds_nothing(log_on, live):
    session = log_on()
    block = session.impersonate()
    block.__enter__()
    session.close()
    assert "alice" in live()
    del block, session
    gc.collect()
    assert ["notes"] == live()


def test_an_ended_sessions_block_is_refused_and_recorded(log_on, trail):
    session = log_on()
    client = session.client
    session.log_off()
    with pytest.raises(LogonSessionEndedError), client.impersonate():
        pytest.fail("an ended session was entered")
    [refused] = trail(AuditEvent.IMPERSONATION_REFUSED)
    assert ("alice", LogonSessionEndedError.status) == (
        refused.client.name,
        refused.status,
    )
    assert [] == trail(AuditEvent.IMPERSONATION_ENTERED)


def test_logging_off_ends_a_session_at_once_with_what_belongs_to_it(
    server, log_on, live, plan, rights
):
    session, ended = log_on(), []
    sessions = server._house.guard.liveness
    sessions.hold(session.token)  # as a process does
    sessions.on_end(session.record.logon_id, lambda: ended.append("processes"))
    with session.impersonate():
        session.log_off()
        assert ["processes"] == ended
        with pytest.raises(LogonSessionEndedError):
            server.require(session.client, plan, rights.READ)
    assert ["notes"] == live()


def test_a_disabled_accounts_sessions_end_at_once_and_are_recorded(
    server, log_on, live, trail
):
    session, ended = log_on(), []
    server._house.guard.liveness.on_end(
        session.record.logon_id, lambda: ended.append("processes")
    )
    server.accounts.disable("alice")
    assert (["notes"], ["processes"]) == (live(), ended)
    session.close()
    assert 1 == len(trail(AuditEvent.LOGOFF))


LOSSES = {
    "group": lambda desk: desk.remove_member("readers", "alice"),
    "privilege": lambda desk: desk.revoke("alice", Privilege.BACKUP),
    "right": lambda desk: desk.revoke("Users", LogonRight.INTERACTIVE),
    "denied": lambda desk: desk.grant("alice", LogonRight.DENY_INTERACTIVE),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_what_an_account_loses_here_ends_its_sessions_at_once(
    server, log_on, plan, rights, lose
):
    server.accounts.add_member("readers", "alice")
    server.accounts.grant("alice", Privilege.BACKUP)
    session = log_on()
    server.require(session.client, plan, rights.READ)
    lose(server.accounts)
    with pytest.raises(LogonSessionEndedError):
        server.require(session.client, plan, rights.READ)


def test_a_new_password_ends_no_session(server, desk, log_on, plan, rights):
    session = log_on()
    desk.set_password("alice", Secret("lion"))
    server.require(session.client, plan, rights.READ)
    with pytest.raises(LogonFailureError):
        log_on()
    log_on("alice", Secret("lion")).close()


def test_a_session_tells_no_secret_and_is_not_copied(log_on):
    with log_on() as session:
        assert "LogonSession('alice', interactive)" == repr(session)
        for make in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(InvalidRequestError):
                make(session)


def test_nothing_of_a_secret_reaches_the_trail(server, log_on, desk):
    with log_on("alice", Secret("tiger")):
        pass
    with pytest.raises(LogonFailureError):
        log_on("alice", Secret("leopard"))
    desk.set_password("alice", Secret("panther"))
    bodies = b"".join(entry.body for entry in server.trail.store.entries())
    assert b"alice" in bodies
    for word in (b"tiger", b"leopard", b"panther", b"$argon2"):
        assert word not in bodies


@pytest.mark.parametrize("given", ["tiger", b"tiger", Secret("tiger")])
def test_a_password_may_be_given_as_text_bytes_or_secret(server, given):
    server.accounts.set_password("alice", given)
    with server.log_on("alice", "tiger") as session:
        assert "alice" == session.name
    server.accounts.change_password("alice", "tiger", "lion")
    with server.log_on("alice", b"lion"):
        pass
