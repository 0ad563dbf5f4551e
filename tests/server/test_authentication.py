"""Clients that show who they are: one refusal for every cause, and what they bring."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import threading
import time
from dataclasses import replace

import pytest
from tests.lives import long_enough

from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import Authenticated, ChannelBinding, Step
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    LogonFailureError,
    LogonSessionEndedError,
    LoopThreadError,
    NoCredentialsError,
    PasswordMismatchError,
    PrivilegeNotHeldError,
    SteadError,
    StoreUnavailableError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.model.privilege import LogonRight, Privilege
from stead.model.quality_of_service import QualityOfService
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel, TokenType
from stead.server.admission import Arrival
from stead.server.authentication import LONGEST_BLOB, MOST_STEPS
from stead.server.password_door import PasswordDoor

REALM, KEY = "KEYS.TEST", b"alice's key"
QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.01)


class Held:
    """Credentials that know whether they were closed."""

    package, principal, expires = "test", "alice@KEYS.TEST", None

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


class SharedKeys:
    """A package: whoever knows alice's key answers a challenge by HMAC."""

    name = "shared-keys"

    def __init__(self, **parts):
        self.parts = parts
        self.begun = []

    def begin(self, binding):
        self.begun.append(_Asking(self.parts, binding))
        return self.begun[-1]


class _Asking:
    challenge = b"challenge"

    def __init__(self, parts, binding):
        self.parts, self.binding = parts, binding
        self.is_closed = False

    def step(self, blob):
        if blob == b"hello":
            return Step(self.challenge)
        if blob == b"break":
            raise ValueError("a library's own words")
        said = answer(self.challenge, self.binding)
        if not hmac.compare_digest(blob, said):
            raise EvidenceRefusedError("the answer is wrong")
        known = {"issuer": REALM, "name": "alice", "is_bound": self.binding is not None}
        client = Authenticated(package="keys", **{**known, **self.parts})
        return Step(b"welcome", client)

    def close(self):
        self.is_closed = True


def answer(challenge, binding=None, key=KEY):
    channel = b"" if binding is None else binding.data
    return hmac.new(key, challenge + channel, hashlib.sha256).digest()


@pytest.fixture
def opened(open_server):
    def make(package=None, **settings):
        settings = {
            "packages": [] if package is None else [package],
            "issuers": [Issuer(REALM, names_accounts=True)],
            "lockout": QUICK,
            **settings,
        }
        server = open_server(**settings)
        server.accounts.add("alice")
        return server

    return make


def records(server, event):
    return list(server.trail.find(Query(event=event)))


def test_a_client_that_shows_who_it_is_has_a_session(opened):
    held = Held()
    server = opened(SharedKeys(credentials=held, details=(("cipher", "hmac"),)))
    assert ("shared-keys",) == server.packages
    with server.begin_logon("shared-keys", gate="test", peer="peer") as exchange:
        assert exchange.session is None
        assert b"welcome" == exchange.step(answer(exchange.step(b"hello")))
    session = exchange.session
    assert ("alice", LogonType.NETWORK, "keys", REALM) == (
        session.name, session.record.logon_type, session.record.package,
        session.record.authenticated_by,
    )  # fmt: skip
    assert TokenType.IMPERSONATION is session.token.type
    assert held is session.credentials_for("test")
    with pytest.raises(NoCredentialsError):
        session.credentials_for("kerberos")
    session.close()
    assert 1 == held.closed
    with pytest.raises(LogonSessionEndedError):
        session.credentials_for("test")


def test_the_record_says_how_it_came(opened):
    server = opened(SharedKeys(actors=("front", "edge"), details=(("cipher", "hmac"),)))
    exchange = server.begin_logon("shared-keys", gate="test", peer="10.0.0.9:1")
    exchange.step(answer(exchange.step(b"hello")))
    _, entry = records(server, AuditEvent.LOGON)[-1]
    assert ("test", "10.0.0.9:1", REALM) == (
        entry.gate, entry.peer, entry.detail["issuer"],
    )  # fmt: skip
    assert ["notes", "front", "edge", "alice"] == [each.name for each in entry.chain]
    assert ("keys", "hmac") == (entry.detail["package"], entry.detail["cipher"])


@pytest.mark.parametrize(
    ("settings", "blob"),
    [
        ({}, b"wrong"),
        ({}, b"break"),
        ({}, b"x" * (LONGEST_BLOB + 1)),
        ({"name": "bob"}, None),
        ({"issuer": "EVIL.TEST"}, None),
        ({"is_bound": False, "binding": ChannelBinding("tls-exporter", b"1")}, None),
    ],
)
def test_every_cause_of_failure_is_one_refusal(opened, settings, blob):
    binding = settings.pop("binding", None)
    held = Held()
    package = SharedKeys(**settings, credentials=held)
    server = opened(package)
    exchange = server.begin_logon("shared-keys", binding=binding)
    challenge = exchange.step(b"hello")
    with pytest.raises(LogonFailureError) as caught:
        exchange.step(answer(challenge, binding) if blob is None else blob)
    assert "logon failure" == caught.value.public == str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    ((number, _),) = records(server, AuditEvent.LOGON_FAILED)
    assert caught.value.record == number
    assert package.begun[0].is_closed
    # What was handed over is wiped, and the exchange is over.
    assert bool(held.closed) is (blob is None)
    with pytest.raises(InvalidRequestError, match="over"):
        exchange.step(b"hello")


def test_a_client_that_never_ends_is_refused(opened):
    server = opened(SharedKeys())
    exchange = server.begin_logon("shared-keys")
    for _ in range(MOST_STEPS):
        exchange.step(b"hello")
    with pytest.raises(LogonFailureError):
        exchange.step(b"hello")


def test_a_package_that_is_not_there_is_refused_like_any_other(opened):
    with pytest.raises(LogonFailureError):
        opened().begin_logon("negotiate")


def test_it_is_not_for_an_event_loop(opened):
    server = opened(SharedKeys())
    exchange = server.begin_logon("shared-keys")

    async def ask():
        exchange.step(b"hello")

    with pytest.raises(LoopThreadError):
        asyncio.run(ask())
    assert b"challenge" == exchange.step(b"hello")


def test_only_a_server_with_the_privilege_says_who_clients_are(opened):
    server = opened(SharedKeys(), privileges=())
    with pytest.raises(PrivilegeNotHeldError):
        server.begin_logon("shared-keys")


def test_a_session_lives_as_long_as_what_it_was_shown(opened):
    server = opened()
    known = {"package": "bearer", "issuer": REALM, "name": "alice"}

    def admitted(seconds):
        ends = time.time_ns() + int(seconds * 1e9)
        return server.admit(Authenticated(**known, expires=ends)), ends

    session, ends = long_enough(admitted, seconds=1.0, late=LogonFailureError)
    while time.time_ns() < ends:
        time.sleep(0.01)
    with pytest.raises(LogonSessionEndedError):
        session.impersonate().__enter__()


def test_what_is_over_opens_no_session(opened):
    server = opened()
    over = time.time_ns() - 1
    client = Authenticated(package="bearer", issuer=REALM, name="alice", expires=over)
    with pytest.raises(LogonFailureError):
        server.admit(client)


def test_a_level_is_what_both_sides_allow(opened):
    server = opened()
    known = {"package": "bearer", "issuer": REALM, "name": "alice"}
    with server.admit(Authenticated(**known)) as session:
        assert ImpersonationLevel.IMPERSONATION is session.client.level
    far = Authenticated(**known, level=ImpersonationLevel.DELEGATION)
    with server.admit(far) as session:
        assert ImpersonationLevel.DELEGATION is session.client.level
    near = Authenticated(**known, level=ImpersonationLevel.IDENTIFICATION)
    with server.admit(near) as session:
        assert ImpersonationLevel.IDENTIFICATION is session.client.level


def test_two_packages_of_one_name_are_refused(open_server):
    with pytest.raises(InvalidRequestError, match="two packages"):
        open_server(packages=[SharedKeys(), SharedKeys()])


class Patient(SharedKeys):
    """A package that is slow to tell who a client is."""

    def __init__(self, **parts):
        super().__init__(**parts)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def begin(self, binding):
        asking = super().begin(binding)
        step = asking.step

        def slow(blob):
            self.asked.set()
            assert self.go_on.wait(60)
            assert not asking.is_closed  # under the hands of a step
            return step(blob)

        asking.step = slow
        return asking


@pytest.mark.parametrize("blob", [b"hello", answer(_Asking.challenge)])
def test_an_exchange_that_is_closed_during_a_step_lets_nobody_in(opened, blob):
    held = Held()
    package = Patient(credentials=held)
    server = opened(package)
    exchange = server.begin_logon("shared-keys")
    caught = []

    def step():
        try:
            exchange.step(blob)
        except SteadError as error:
            caught.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    assert package.asked.wait(60)
    # Naive: the connection is gone, nobody looks for a session, and one opens.
    exchange.close()
    package.go_on.set()
    thread.join(60)
    assert package.begun[0].is_closed
    with pytest.raises(InvalidRequestError, match="over"):
        exchange.step(answer(_Asking.challenge))
    assert exchange.session is None
    assert [] == records(server, AuditEvent.LOGON)
    is_known = blob != b"hello"
    assert (is_known, is_known) == (bool(caught), bool(held.closed))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_a_step_leaves_nothing_open(opened, monkeypatch, kind):
    held = Held()
    package = SharedKeys(credentials=held)
    server = opened(package)
    exchange = server.begin_logon("shared-keys")

    def interrupted(*_arguments, **_named):
        raise kind

    monkeypatch.setattr(_Asking, "step", interrupted)
    with pytest.raises(kind):
        exchange.step(b"hello")
    assert package.begun[0].is_closed
    monkeypatch.undo()
    exchange = server.begin_logon("shared-keys")
    sessions = server._house.admission.sessions
    before = len(sessions.records())
    monkeypatch.setattr(type(server._house.guard.recorder), "record", interrupted)
    with pytest.raises(kind):
        exchange.step(answer(_Asking.challenge))
    monkeypatch.undo()
    assert held.closed
    assert package.begun[1].is_closed
    assert before == len(sessions.records())


def test_a_package_that_does_not_begin_is_refused_like_any_other(opened):
    class Demanding(SharedKeys):
        def begin(self, binding):
            if binding is None:
                raise EvidenceRefusedError("a binding is demanded")
            return super().begin(binding)

    server = opened(Demanding())
    with pytest.raises(LogonFailureError):
        server.begin_logon("shared-keys")
    ((_, record),) = records(server, AuditEvent.LOGON_FAILED)
    assert "a binding is demanded" in str(record)


def test_nothing_that_waits_for_a_failure_is_for_an_event_loop(opened):
    held = Held()
    server = opened()
    client = Authenticated(package="x", issuer="EVIL", name="a", credentials=held)

    async def ask():
        # Naive: each unknown name keeps everybody on the loop waiting.
        with pytest.raises(LoopThreadError):
            server.begin_logon("negotiate")
        with pytest.raises(LoopThreadError):
            server.admit(client)

    asyncio.run(ask())
    assert held.closed


class Directory:
    """A password authority of one domain."""

    name, domains = "directory", ("KEYS.TEST", "keys")

    def __init__(self):
        self.asked = []
        self.is_down = False

    def log_on(self, name, domain, secret, *, keep):
        self.asked.append((name, domain, keep))
        if self.is_down:
            raise DirectoryUnavailableError("nobody answers")
        with secret.revealed() as content:
            if content != b"tiger":
                raise PasswordMismatchError("wrong")
        return Authenticated(package="directory", issuer=REALM, name=name)


@pytest.mark.parametrize("name", ["alice@KEYS.TEST", "alice@keys.test", "KEYS\\alice"])
def test_a_name_of_a_domain_is_for_its_authority(opened, name):
    directory = Directory()
    server = opened(password_authorities=[directory])
    with server.log_on(name, "tiger") as session:
        assert ("alice", "directory", TokenType.PRIMARY) == (
            session.name, session.record.package, session.token.type,
        )  # fmt: skip
    assert [True] == [keep for _, _, keep in directory.asked]
    server.log_on(name, "tiger", LogonType.NETWORK).close()
    assert not directory.asked[-1][2]


@pytest.mark.parametrize("name", ["alice", "alice@OTHER", "KEYS.TEST", "@KEYS.TEST"])
def test_other_names_are_the_stores(opened, name):
    directory = Directory()
    server = opened(password_authorities=[directory])
    with pytest.raises(LogonFailureError):
        server.log_on(name, "tiger")
    assert not directory.asked


def test_failures_elsewhere_lock_the_name_here(opened):
    directory = Directory()
    server = opened(password_authorities=[directory])
    for _ in range(QUICK.threshold):
        with pytest.raises(LogonFailureError):
            server.log_on("alice@KEYS.TEST", "guess")
    with pytest.raises(LogonFailureError):
        server.log_on("alice@KEYS.TEST", "tiger")


def test_a_directory_that_is_down_locks_nobody(opened):
    directory = Directory()
    directory.is_down = True
    server = opened(password_authorities=[directory])
    for _ in range(QUICK.threshold + 1):
        with pytest.raises(LogonFailureError):
            server.log_on("alice@KEYS.TEST", "tiger")
    _, last = records(server, AuditEvent.LOGON_FAILED)[-1]
    assert "nobody answers" in str(last)
    directory.is_down = False
    server.log_on("alice@KEYS.TEST", "tiger").close()


def test_a_directory_that_is_slow_keeps_no_account_of_the_store_waiting(opened):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Directory):
        def log_on(self, name, domain, secret, *, keep):
            begun.set()
            go_on.wait(60)
            return super().log_on(name, domain, secret, keep=keep)

    server = opened(password_authorities=[Slow()])
    server.accounts.set_password("alice", "correct horse")
    names = [f"user{number}@KEYS.TEST" for number in range(65)]
    threads = [threading.Thread(target=attempt, args=(server, name)) for name in names]
    for thread in threads:
        thread.start()
    try:
        assert begun.wait(60)
        # Each of the locks that names share is held by somebody who waits by now.
        server.log_on("alice", "correct horse").close()
    finally:
        go_on.set()
        for thread in threads:
            thread.join(60)


def attempt(server, name):
    with contextlib.suppress(LogonFailureError):
        server.log_on(name, "tiger").close()


def test_two_authorities_of_one_domain_are_refused(open_server):
    with pytest.raises(SteadError, match="two password authorities"):
        open_server(password_authorities=[Directory(), Directory()])


class Oracle(Directory):
    """A directory whose clients bring credentials."""

    def __init__(self, **parts):
        super().__init__()
        self.parts = parts
        self.held = []

    def log_on(self, name, domain, secret, *, keep):
        client = super().log_on(name, domain, secret, keep=keep)
        self.held.append(Held())
        return replace(client, credentials=self.held[-1], **self.parts)


def test_a_right_password_of_who_may_not_log_on_is_a_failure_like_any_other(opened):
    directory = Oracle()
    server = opened(password_authorities=[directory])
    server.accounts.grant("alice", LogonRight.DENY_BATCH)
    late = []
    door = replace(server._house.admission, sleep=late.append)
    arrival = Arrival("local", "", "1", "password", "itself")
    for word in ("wrong", "tiger"):
        with pytest.raises(LogonFailureError):
            door.log_on(
                "alice@KEYS.TEST", Secret(word), LogonType.BATCH, arrival=arrival
            )
    # Naive: who is refused at the door, behind the directory, is answered at once.
    assert 2 == len(late)
    assert all(seconds >= QUICK.first_delay for seconds in late)
    assert [1] == [held.closed for held in directory.held]
    # Naive: it also takes all failures of the name back.
    kept = server.accounts.logon.lockout.store.failures()
    assert [2] == [failures.count for failures in kept.values()]


def test_a_name_is_counted_once_however_its_domain_is_called(opened):
    directory = Directory()
    server = opened(password_authorities=[directory])
    spellings = [
        "alice@KEYS.TEST", "keys\\Alice@keys", "ALICE@keys", "alice @Keys.Test",
        "keys\\KEYS.TEST\\alice",
    ]  # fmt: skip
    for spelled in spellings[: QUICK.threshold]:
        with pytest.raises(LogonFailureError):
            server.log_on(spelled, "guess")
    assert 1 == len(server.accounts.logon.lockout.store.failures())
    # Naive: each spelling has guesses of its own.
    for spelled in spellings:
        with pytest.raises(LogonFailureError):
            server.log_on(spelled, "tiger")


def test_a_directory_whose_library_breaks_is_a_failure_like_any_other(opened):
    class Broken(Directory):
        def log_on(self, name, domain, secret, *, keep):
            raise ValueError("a library's own words")

    server = opened(password_authorities=[Broken()])
    with pytest.raises(LogonFailureError) as caught:
        server.log_on("alice@KEYS.TEST", "tiger")
    assert "own words" not in str(caught.value)
    ((_, record),) = records(server, AuditEvent.LOGON_FAILED)
    assert "ValueError" in str(record)


def test_a_directory_does_not_speak_for_the_stores_own_accounts(opened):
    directory = Oracle(issuer="")
    server = opened(password_authorities=[directory])
    # Naive: an issuer that is left out is the store itself.
    with pytest.raises(LogonFailureError):
        server.log_on("alice@KEYS.TEST", "tiger")
    assert [1] == [held.closed for held in directory.held]


def test_names_without_a_domain_are_nobody_elses(open_server):
    everybodys = Directory()
    everybodys.domains = ("KEYS.TEST", "")
    # Naive: the store's accounts would be asked of somebody else.
    with pytest.raises(InvalidRequestError, match="are the store's"):
        open_server(password_authorities=[everybodys])


def test_a_store_that_fails_behind_a_directory_keeps_no_credentials(
    opened, monkeypatch
):
    directory = Oracle()
    server = opened(password_authorities=[directory])

    def fails(*_arguments):
        raise StoreUnavailableError("the store is gone")

    monkeypatch.setattr(type(server.accounts.logon.lockout), "succeed", fails)
    with pytest.raises(LogonFailureError):
        server.log_on("alice@KEYS.TEST", "tiger")
    assert [1] == [held.closed for held in directory.held]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, StoreUnavailableError])
@pytest.mark.parametrize(
    "where",
    [
        "_bind",
        "make_client",
        # A logon that is interrupted in its middle came to nothing that is recorded.
        pytest.param("_vouched", marks=pytest.mark.bypasses_the_law),
    ],
)
def test_what_fails_behind_the_door_leaves_no_session_and_no_credentials(
    opened, monkeypatch, where, kind
):
    directory = Oracle()
    server = opened(password_authorities=[directory])
    door, happened = server._house.admission, []

    def fails(*_arguments, **_named):
        happened.append(where)
        raise kind("here")

    if where == "make_client":
        door = replace(door, make_client=fails)
    else:
        owner = PasswordDoor if where == "_vouched" else type(door)
        monkeypatch.setattr(owner, where, fails)
    before = len(door.sessions.records())
    with pytest.raises((kind, LogonFailureError)):
        door.log_on(
            "alice@KEYS.TEST", Secret("tiger"), LogonType.INTERACTIVE,
            arrival=Arrival("local", "", "1", "password", "itself"),
        )  # fmt: skip
    assert [where] == happened
    assert before == len(door.sessions.records())
    assert [1] == [min(held.closed, 1) for held in directory.held]


@pytest.mark.parametrize(
    ("settings", "level", "stated", "keeps"),
    [
        ({}, ImpersonationLevel.DELEGATION, ImpersonationLevel.DELEGATION, True),
        ({}, ImpersonationLevel.IMPERSONATION, ImpersonationLevel.DELEGATION, True),
        ({}, ImpersonationLevel.DELEGATION, ImpersonationLevel.IMPERSONATION, False),
        ({}, ImpersonationLevel.DELEGATION, ImpersonationLevel.IDENTIFICATION, False),
        ({}, ImpersonationLevel.DELEGATION, ImpersonationLevel.ANONYMOUS, False),
        (
            {"privileges": (Privilege.TCB, Privilege.AUDIT)},
            ImpersonationLevel.DELEGATION, ImpersonationLevel.DELEGATION, False,
        ),
    ],
)  # fmt: skip
def test_who_may_not_be_acted_for_elsewhere_leaves_no_credentials(
    opened, settings, level, stated, keeps
):
    held = Held()
    server = opened(**settings)
    client = Authenticated(
        package="bearer", issuer=REALM, name="alice", level=level, credentials=held
    )
    quality = QualityOfService(stated, effective_only=False)
    with server.admit(client, quality=quality) as session:
        assert bool(held.closed) is not keeps
        if keeps:
            assert held is session.credentials_for("test")
        else:
            # Naive: a server that may not be the client here is the client elsewhere.
            with pytest.raises(NoCredentialsError):
                session.credentials_for("test")
    assert held.closed


def test_what_is_shown_is_looked_at_here_and_its_failure_recorded(opened):
    server = opened()

    def broken():
        raise KeyError("a library's own words")

    def refused():
        raise EvidenceRefusedError("it is forged")

    with server.admit_shown(
        lambda: Authenticated(package="keys", issuer=REALM, name="alice"),
        package="keys", gate="test", peer="10.0.0.9:1",
    ) as session:  # fmt: skip
        assert "alice" == session.name
    heard = set()
    for show in (broken, refused):
        with pytest.raises(LogonFailureError) as caught:
            server.admit_shown(show, package="keys", gate="test")
        heard.add(str(caught.value))
    assert 1 == len(heard)
    found = records(server, AuditEvent.LOGON_FAILED)
    reasons = [reason for _, entry in found for reason in entry.reasons]
    assert ["it cannot be read: KeyError", "it is forged"] == [
        reason.partition(";")[0]
        for reason in reasons
        if "KeyError" in reason or "forged" in reason
    ]
