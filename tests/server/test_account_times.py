"""When accounts log on, what they must change first, and what ends their sessions."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations

import pytest
from argon2 import PasswordHasher
from tests.lives import long_enough

from stead.adapters.argon2 import Argon2Verifier
from stead.authority.account_policy import AccountPolicy
from stead.authority.identity import identify_peer
from stead.authority.lockout import Lockout, LockoutPolicy
from stead.authority.logon import Logon
from stead.authority.packages import Authenticated
from stead.errors import (
    AccessDeniedError,
    AccountExpiredError,
    InvalidNameError,
    InvalidRequestError,
    LogonFailureError,
    LogonHoursError,
    LogonSessionEndedError,
    PasswordMismatchError,
    UnknownAccountError,
)
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.logon_hours import LogonHours
from stead.model.logon_record import LogonType
from stead.model.posix_identity import PosixIdentity
from stead.model.secret import Secret
from stead.server.admission import Arrival

HOUR = 3_600_000_000_000
PATIENT = LockoutPolicy(threshold=100, first_delay=0.0)
ARRIVAL = Arrival("local", "uid 0", "42", "password", "itself")
SUB_STATUS = {
    "expired": "0xC0000193", "hours": "0xC000006F", "must change": "0xC0000224",
    "too old": "0xC0000071", "wrong": "0xC000006A", "nobody": "0xC0000064",
    "disabled": "0xC0000072",
}  # fmt: skip


class Cheap:
    """A verifier that costs little, and counts what it is asked.

    Something else may be done after it has compared, and before it says what it found.
    """

    def __init__(self):
        self._verifier = Argon2Verifier(
            PasswordHasher(time_cost=1, memory_cost=16, parallelism=2)
        )
        self.compared = 0
        self.afterwards = []

    def matches(self, verifier, secret):
        self.compared += 1
        is_right = self._verifier.matches(verifier, secret)
        while self.afterwards:
            self.afterwards.pop()()
        return is_right

    def __getattr__(self, name):
        return getattr(self._verifier, name)


@pytest.fixture
def verifier():
    return Cheap()


@pytest.fixture
def policy():
    return AccountPolicy()


@pytest.fixture
def logon(server, verifier, policy):
    given = server._house.admission.logon
    return Logon(
        given._store,
        given._passwords.credentials,
        verifier=verifier,
        host=given._host,
        lockout=Lockout(given._passwords.credentials, PATIENT, given.lockout.clock),
        policy=policy,
        monotonic=given._monotonic,
    )


@pytest.fixture
def desk(server, logon):
    desk = replace(server.accounts, logon=logon, sleep=lambda _seconds: None)
    desk.set_password("alice", Secret("tiger"))
    return desk


@pytest.fixture
def log_on(server, logon):
    door = replace(server._house.admission, logon=logon, sleep=lambda _seconds: None)

    def make(name="alice", secret="tiger"):  # noqa: S107 - a test's own
        return door.log_on(name, Secret(secret), LogonType.INTERACTIVE, arrival=ARRIVAL)

    return make


def other_hours():
    """Return every hour of the week but this one and the next."""
    now = (time.time_ns() // HOUR + 96) % 168
    return LogonHours(((1 << 168) - 1) & ~(1 << now) & ~(1 << (now + 1) % 168))


REFUSALS = {
    "expired": lambda desk: desk.times.set_end("alice", datetime.now(UTC)),
    "hours": lambda desk: desk.times.set_hours("alice", other_hours()),
    "must change": lambda desk: desk.passwords.require_change("alice"),
    "disabled": lambda desk: desk.disable("alice"),
}


@pytest.mark.parametrize("cause", REFUSALS)
def test_each_cause_is_precise_in_the_trail_and_one_text_to_the_client(
    desk, log_on, trail, verifier, cause
):
    log_on().close()
    REFUSALS[cause](desk)
    compared = verifier.compared
    heard = set()
    for name, secret in (("alice", "tiger"), ("alice", "wrong"), ("nobody", "tiger")):
        with pytest.raises(LogonFailureError) as refused:
            log_on(name, secret)
        heard.add((str(refused.value), refused.value.status))
        assert refused.value.__cause__ is refused.value.__context__ is None
    assert 1 == len(heard)
    assert 3 == verifier.compared - compared  # one comparison for each, as ever
    told = [record.detail["sub status"] for record in trail(AuditEvent.LOGON_FAILED)]
    assert [SUB_STATUS[c] for c in (cause, "wrong", "nobody")] == told


@pytest.mark.bypasses_the_law  # asks below where failures are recorded
def test_as_much_is_asked_of_the_store_whatever_the_cause(desk, logon, server):
    """So that the time of the answer tells nothing: a naive check returns early."""
    asked = []

    class Counting:
        def __init__(self, store):
            self._store = store

        def __getattr__(self, name):
            method = getattr(self._store, name)

            def count(*arguments, **named):
                asked.append(name)
                return method(*arguments, **named)

            return count

    logon._store = Counting(server._house.admission.store)
    seen = {}
    desk.add("carol")
    desk.set_password("carol", Secret("tiger"))
    for cause, prepare in REFUSALS.items():
        for undo in (
            lambda: desk.times.set_end("carol", None),
            lambda: desk.times.set_hours("carol", "always"),
            lambda: desk.set_password("carol", Secret("tiger")),
            lambda: desk.enable("carol"),
        ):
            undo()
        prepare(_Renamed(desk))
        asked.clear()
        attempt = logon.attempt("carol", Secret("tiger"), LogonType.NETWORK)
        assert attempt.error is not None
        seen[cause] = list(asked)
    asked.clear()
    assert logon.attempt("xyz", Secret("tiger"), LogonType.NETWORK).error is not None
    seen["nobody"] = list(asked)
    assert 1 == len(set(map(tuple, seen.values()))), seen


class _Renamed:
    """Does to `carol` what is said of `alice`."""

    def __init__(self, desk):
        self._desk = desk

    def __getattr__(self, name):
        value = getattr(self._desk, name)
        if name in {"times", "passwords"}:
            return _Renamed(value)
        return lambda _alice, *rest, **named: value("carol", *rest, **named)


@pytest.mark.parametrize(
    ("cause", "error"), [("expired", AccountExpiredError), ("hours", LogonHoursError)]
)
def test_an_account_out_of_its_time_gets_in_by_no_other_door_either(
    server, desk, client_of, cause, error
):
    """A naive check sits in the comparison of passwords, and nowhere else."""
    REFUSALS[cause](desk)
    with pytest.raises(error):
        client_of(server, "alice")
    with pytest.raises(LogonFailureError):
        server.client_for_peer(PosixIdentity(70001, 70001))
    naive = identify_peer(server._house.admission.store, PosixIdentity(70001, 70001))
    assert "alice" == naive.name


def test_what_is_said_of_an_account_is_kept_and_recorded(desk, trail):
    end = datetime(2099, 1, 1, tzinfo=UTC)
    assert 4_070_908_800_000_000_000 == desk.times.set_end("alice", end).expires_at
    hours = LogonHours.from_string("mon-fri 08-18")
    assert hours == desk.times.set_hours("alice", "mon-fri 08-18").logon_hours
    assert desk.times.let_password_last("alice").password_lasts
    [alice] = [account for account in desk.list() if account.name == "alice"]
    assert (4_070_908_800_000_000_000, hours, True) == (
        alice.expires_at, alice.logon_hours, alice.password_lasts
    )  # fmt: skip
    assert desk.times.set_end("alice", None).expires_at is None
    assert desk.times.set_hours("alice", "always").logon_hours is None
    assert [
        "ends 2099-01-01T00:00:00+00:00", "hours mon-fri 08-18", "password lasts: True",
        "ends never", "hours always",
    ] == [r.detail["new"] for r in trail(AuditEvent.ACCOUNT_CHANGED)]  # fmt: skip


def test_who_may_not_changes_no_times(server, desk, bob):
    poor = replace(desk, subject=bob.subject)
    for act in (
        lambda: poor.times.set_end("alice", None),
        lambda: poor.times.set_hours("alice", "never"),
        lambda: poor.times.let_password_last("alice"),
        lambda: poor.passwords.require_change("alice"),
    ):
        with pytest.raises(AccessDeniedError):
            act()


@pytest.mark.bypasses_the_law  # the naive one records nothing
@pytest.mark.parametrize(
    "end",
    [
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
        datetime(2262, 4, 12, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    ],
    ids=str,
)
def test_an_end_that_no_store_can_keep_is_refused_and_nothing_said_of_it(
    desk, trail, end
):
    """The record of a change that then failed otherwise would say that it was made."""
    with pytest.raises(OverflowError):  # naive
        desk.store.set_account_times(desk.list()[0].sid, expires_at=1 << 63)
    with pytest.raises(InvalidRequestError, match="between 1970 and 2262"):
        desk.times.set_end("alice", end)
    assert [] == trail(AuditEvent.ACCOUNT_CHANGED)


def test_what_cannot_be_meant_is_refused(desk):
    with pytest.raises(InvalidRequestError, match="time zone"):
        desk.times.set_end("alice", datetime(2099, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidNameError):
        desk.times.set_hours("alice", "at night")
    with pytest.raises(UnknownAccountError):
        desk.times.set_hours("nobody", "never")


# --- passwords that must be changed ---------------------------------------------------


def test_the_owner_changes_a_password_that_must_be_changed_with_the_old_one(
    desk, log_on, trail
):
    desk.set_password("alice", Secret("given"), must_change=True)
    with pytest.raises(LogonFailureError):
        log_on(secret="given")
    desk.change_password("alice", Secret("given"), Secret("own"))
    log_on(secret="own").close()
    with pytest.raises(LogonFailureError):
        log_on(secret="given")
    assert Outcome.SUCCESS is trail(AuditEvent.PASSWORD_CHANGED)[-1].outcome


def test_the_old_password_is_no_new_one(desk, log_on, trail):
    """A naive check lets the owner answer the demand with the same password."""
    desk.passwords.require_change("alice")
    old, new = Secret("tiger"), Secret("tiger")
    with pytest.raises(InvalidRequestError, match="is the old one") as caught:
        desk.change_password("alice", old, new)
    # It says that the old one was right: no way to try passwords unseen.
    record = trail(AuditEvent.PASSWORD_CHANGED)[-1]
    assert (Outcome.FAILURE, "alice") == (record.outcome, record.object_name)
    assert caught.value.record
    assert old.is_wiped
    assert new.is_wiped
    with pytest.raises(LogonFailureError):
        log_on()


def test_a_password_must_be_changed_once(desk):
    assert desk.passwords.require_change("alice")
    assert not desk.passwords.require_change("alice")
    assert not desk.passwords.require_change("bob")  # who has none


@pytest.mark.parametrize("cause", ["expired", "hours", "disabled"])
def test_who_may_not_log_on_changes_no_password_either(desk, cause):
    REFUSALS[cause](desk)
    with pytest.raises(LogonFailureError):
        desk.change_password("alice", Secret("tiger"), Secret("other"))


def test_a_package_that_proves_the_password_otherwise_is_refused_like_a_logon(
    server, desk, trail
):
    """SCRAM compares no password: a naive check in the comparison would miss it."""
    shown = Authenticated(package="scram-sha-256", issuer="", name="alice")
    server.admit(shown).close()
    desk.passwords.require_change("alice")
    with pytest.raises(LogonFailureError):
        server.admit(shown)
    [failed] = trail(AuditEvent.LOGON_FAILED)
    assert SUB_STATUS["must change"] == failed.detail["sub status"]
    server.accounts.remove_password("alice")
    server.admit(shown).close()  # nothing is kept that could be too old


@pytest.mark.bypasses_the_law  # makes a password old by hand
@pytest.mark.parametrize("policy", [AccountPolicy(maximum_password_age=3600)])
def test_a_password_that_is_too_old_is_changed_by_its_owner(desk, log_on, logon, trail):
    log_on().close()
    sid = desk.list()[0].sid
    hours_ago = time.time_ns() - 2 * HOUR
    verifier = logon._passwords.of(sid).verifier
    logon._passwords.credentials.set_password(sid, verifier, changed_at=hours_ago)
    with pytest.raises(LogonFailureError):
        log_on()
    [failed] = trail(AuditEvent.LOGON_FAILED)
    assert SUB_STATUS["too old"] == failed.detail["sub status"]
    desk.times.let_password_last("alice")
    log_on().close()
    desk.times.let_password_last("alice", lasts=False)
    desk.change_password("alice", Secret("tiger"), Secret("lion"))
    log_on(secret="lion").close()


@pytest.mark.parametrize("ends", [False, True])
def test_a_new_password_ends_sessions_if_the_policy_says_so(
    server, desk, logon, log_on, ends
):
    live = server._house.guard.liveness
    logon.policy = AccountPolicy(password_ends_sessions=ends)
    for change in (
        lambda: desk.set_password("alice", Secret("tiger")),
        lambda: desk.change_password("alice", Secret("tiger"), Secret("lion")),
    ):
        session = log_on()
        change()
        assert ends is (session.record not in live.records())
        session.close()


@pytest.mark.parametrize("policy", [AccountPolicy(password_ends_sessions=True)])
def test_who_was_compared_with_the_former_password_has_no_session_after_it(
    server, desk, log_on, logon, verifier
):
    """Whoever logs on without pause is being compared when the new one is given."""
    store = server._house.admission.store
    verifier.afterwards.append(lambda: desk.set_password("alice", Secret("lion")))
    session = log_on()
    sessions = server._house.guard.liveness
    identity = sessions._table.by_id[session.token.logon_id].identity
    # A naive logon is identified as of when it is let in.
    late = sessions.open(
        replace(identity, generation=store.generation()),
        level=session.token.level,
        package="password",
        authenticated_by="itself",
    )
    sessions.expire()
    sessions.require_live(late.token)
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)
    log_on(secret="lion").close()


MEANWHILE = {
    "given": lambda desk: desk.set_password("alice", Secret("given")),
    "taken": lambda desk: desk.remove_password("alice"),
}


@pytest.mark.bypasses_the_law  # keeps passwords without a record
@pytest.mark.parametrize("cause", MEANWHILE)
def test_an_administrators_word_on_a_password_is_the_last_one(
    desk, logon, verifier, cause
):
    """Who knows the former one, and is being compared, would have the account again."""
    alice = desk.store.account_by_name("alice").sid
    verifier.afterwards.append(lambda: MEANWHILE[cause](desk))
    before = logon.confirm("alice", Secret("tiger")).require()
    by_now = logon._passwords.of(alice)
    with pytest.raises(PasswordMismatchError):
        logon.set_password(alice, Secret("thiefs"), replaces=before.verifier)
    assert by_now == logon._passwords.of(alice)
    logon.set_password(alice, Secret("thiefs"))  # naive: it was right, so it is changed
    assert by_now != logon._passwords.of(alice)


@pytest.mark.parametrize("cause", MEANWHILE)
def test_whose_password_is_changed_meanwhile_hears_what_a_wrong_one_hears(
    desk, log_on, verifier, trail, cause
):
    verifier.afterwards.append(lambda: MEANWHILE[cause](desk))
    with pytest.raises(LogonFailureError) as refused:
        desk.change_password("alice", Secret("tiger"), Secret("thiefs"))
    assert refused.value.__context__ is None
    with pytest.raises(LogonFailureError):
        log_on(secret="thiefs")
    *_, failed = trail(AuditEvent.PASSWORD_CHANGED)
    assert (Outcome.FAILURE, PasswordMismatchError.status) == (
        failed.outcome,
        failed.status,
    )


# --- two administrators ---------------------------------------------------------------


class Meanwhile:
    """A store to which another administrator gets first, between two questions."""

    def __init__(self, store, act):
        self._store, self._act = store, act

    def set_account_times(self, sid, **times):
        act, self._act = self._act, lambda: None
        act()
        return self._store.set_account_times(sid, **times)

    def __getattr__(self, name):
        return getattr(self._store, name)


TIMES = {
    "its end": lambda times: times.set_end("alice", datetime.now(UTC)),
    "its hours": lambda times: times.set_hours("alice", "never"),
    "its password's age": lambda times: times.let_password_last("alice"),
}


def said_of(account):
    """Return what was said of when an account may log on."""
    said = {
        "its end": account.expires_at is not None,
        "its hours": account.logon_hours is not None,
        "its password's age": account.password_lasts,
    }
    return {what for what, is_so in said.items() if is_so}


@pytest.mark.bypasses_the_law  # the naive one records nothing
@pytest.mark.parametrize(("first", "second"), [*permutations(TIMES, 2)])
def test_what_two_administrators_say_of_an_account_at_once_both_counts(
    desk, first, second
):
    before = desk.store.account_by_name("alice")
    store = Meanwhile(desk.store, lambda: TIMES[first](desk.times))
    TIMES[second](replace(desk.times, store=store))
    assert {first, second} == said_of(desk.store.account_by_name("alice"))
    # A naive one writes all that it had read, but for what it changes.
    desk.store.set_account_times(
        before.sid,
        expires_at=before.expires_at,
        logon_hours=before.logon_hours,
        password_lasts=before.password_lasts,
    )
    assert set() == said_of(desk.store.account_by_name("alice"))


# --- sessions that are open -----------------------------------------------------------


def soon():
    return datetime.now(UTC) + timedelta(minutes=5)


def go_on(server, monkeypatch):
    """Let ten minutes pass for the sessions of a server."""
    sessions, ten = server._house.guard.liveness._leases, 600_000_000_000
    for clock in ("_clock", "_monotonic"):
        now = getattr(sessions, clock)
        monkeypatch.setattr(sessions, clock, lambda now=now: now() + ten)


def test_an_account_that_ends_takes_its_sessions_along(server, client_of, monkeypatch):
    server.accounts.times.set_end("alice", soon())
    alice = client_of(server, "alice")
    server._house.guard.liveness.require_live(alice.token)
    go_on(server, monkeypatch)
    with pytest.raises(LogonSessionEndedError, match="at this time"):
        server._house.guard.liveness.require_live(alice.token)


def test_a_session_that_nobody_uses_ends_in_time_as_well(
    server, client_of, trail, monkeypatch
):
    server.accounts.times.set_end("alice", soon())
    alice = client_of(server, "alice")
    go_on(server, monkeypatch)
    deadline = time.monotonic() + 60
    while not trail(AuditEvent.LOGOFF):
        assert time.monotonic() < deadline, "it never ends"
        time.sleep(0.05)
    assert alice.token.logon_id == trail(AuditEvent.LOGOFF)[0].client.logon_id


def test_without_forced_logoff_a_session_outlives_its_hours(open_server, client_of):
    server = open_server(account_policy=AccountPolicy(force_logoff=False))
    server.accounts.add("alice", uid=70001)

    def begun(seconds):
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        server.accounts.times.set_end("alice", end)
        return client_of(server, "alice"), end

    alice, end = long_enough(begun, seconds=1.0, late=AccountExpiredError)
    while datetime.now(UTC) <= end:
        time.sleep(0.05)
    server._house.guard.liveness.require_live(alice.token)
    with pytest.raises(AccountExpiredError):
        client_of(server, "alice")


def test_a_change_of_an_accounts_times_ends_its_sessions(server, client_of):
    alice = client_of(server, "alice")
    server.accounts.times.set_hours("alice", "always")
    with pytest.raises(LogonSessionEndedError):
        server._house.guard.liveness.require_live(alice.token)
