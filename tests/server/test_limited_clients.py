"""`client.limited`: what it reaches, what is recorded of it, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest
from tests.lives import long_enough

from stead.errors import (
    AccessDeniedError,
    EnforcementUnavailableError,
    HandleClosedError,
    ImpersonationRefusedError,
    InvalidRequestError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    PrivilegeNotHeldError,
)
from stead.model.access_mask import AccessMask, FileRights, Rights
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.limits import (
    ANY_NAME,
    FILES,
    FileRoot,
    Host,
    KindRights,
    TokenLimits,
)
from stead.model.privilege import Privilege
from stead.monitor.impersonation import impersonate
from stead.server.grants import OperationName, prefix
from stead.server.workers import bounds

SECONDS = 60
SOON = timedelta(minutes=5)


class Mail(Rights):
    READ = 0x1
    SEND = 0x4


@pytest.fixture
def plan(server, rights):
    entries = [allow("alice", rights.READ), allow("alice", rights.WRITE)]
    return server.protect("plan", rights, entries, owner="bob")


@pytest.fixture
def pay(server, rights):
    return server.protect("pay", rights, [allow("alice", rights.READ)], owner="bob")


@pytest.fixture
def limited(alice, rights, plan, pay):
    return alice.limited(
        expires=SOON, rights=rights.READ, targets=[plan], purpose="summary"
    )


def until(is_so):
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- what it reaches ----------------------------------------------------------------


def test_it_reaches_what_both_it_and_its_client_may(
    server, alice, limited, plan, pay, rights
):
    found = [
        [bool(server.check(client, what, right)) for client in (alice, limited)]
        for what in (plan, pay)
        for right in (rights.READ, rights.WRITE)
    ]
    assert [[True, True], [True, False], [True, False], [False, False]] == found
    assert server.require(limited, plan, AccessMask.MAXIMUM_ALLOWED).granted == 1


def test_targets_are_exact_names_prefixes_or_every_name(
    server, alice, rights, client_of
):
    names = ("notes", "notes/a", "notes/b", "other", "notes*")
    objects = [server.protect(n, rights, [allow("alice", 1)]) for n in names]

    def reached(*targets):
        lent = alice.limited(expires=SOON, rights=rights.READ, targets=targets)
        return [o.name for o in objects if server.check(lent, o, rights.READ)]

    assert ["notes/a"] == reached("notes/a")
    assert ["notes*"] == reached("notes*")
    assert ["notes/a", "notes/b"] == reached(prefix("notes/"))
    assert list(names) == reached(ANY_NAME)
    assert [] == reached()
    assert ["notes", "other"] == reached(objects[0], "other")


def test_rights_belong_to_the_kind_of_their_class(server, alice, plan, rights):
    inbox = server.protect("inbox", Mail, [allow("alice", 5)])
    lent = alice.limited(
        expires=SOON, rights=[Mail.READ, Mail.SEND], targets=[plan, inbox]
    )
    assert server.check(lent, inbox, Mail.READ | Mail.SEND)
    assert not server.check(lent, plan, rights.READ)
    every = alice.limited(
        expires=SOON, rights=AccessMask.GENERIC_READ, targets=[plan, inbox]
    )
    assert server.check(every, inbox, Mail.READ)
    assert server.check(every, plan, rights.READ)
    assert not server.check(every, inbox, Mail.SEND)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"expires": timedelta(0)}, "in the future"),
        ({"expires": datetime(2000, 1, 1, tzinfo=UTC)}, "in the future"),
        ({"expires": datetime(2200, 1, 1)}, "time zone"),  # noqa: DTZ001 - that is it
        ({"expires": 5}, "time zone"),
        ({"rights": 1}, "does not say which kind"),
        ({"rights": [True]}, "does not say which kind"),
        ({"targets": "plan"}, "not several"),
        ({"targets": Path("/a")}, "not several"),
        ({"targets": [7]}, "a target is"),
        ({"targets": [PurePosixPath("a")]}, "no file root"),
        ({"targets": [Path("/")]}, "no file root"),
        ({"targets": [b"/a"]}, "a target is"),
        ({"targets": [""]}, "printable text"),
        ({"purpose": "a\nb"}, "a purpose is"),
    ],
)
def test_what_cannot_be_meant_is_refused(alice, said, words):
    with pytest.raises(InvalidRequestError, match=words):
        alice.limited(**{"expires": SOON} | said)


def test_a_root_that_would_keep_something_back_is_refused(alice):
    """Rights of roots add up: the narrower one would be a promise that nobody keeps."""
    notes, keys = Path("/srv/notes"), FileRoot("/srv/notes/keys", FileRights.READ_DATA)
    every = [KindRights(FILES, int(FileRights.ALL_ACCESS))]
    naive = TokenLimits(1, rights=every, files=(FileRoot(str(notes)), keys))
    assert naive.rights_at("/srv/notes/keys/id") & FileRights.WRITE_DATA
    for targets in ([notes, keys], [keys, notes], [Path(keys.path), keys]):
        with pytest.raises(InvalidRequestError, match="cannot leave less"):
            alice.limited(expires=SOON, rights=[FileRights.ALL_ACCESS], targets=targets)
    for rights in (FileRights.READ_DATA, Mail.READ):  # of which neither leaves more
        alice.limited(expires=SOON, rights=[rights], targets=[notes, keys]).revoke()
    wider = [FileRoot(str(notes), FileRights.READ_DATA), Path(keys.path)]
    alice.limited(expires=SOON, rights=[FileRights.ALL_ACCESS], targets=wider).revoke()


def test_an_empty_prefix_is_no_way_to_say_everything():
    with pytest.raises(InvalidRequestError, match="every object"):
        prefix("")


def test_a_path_of_bytes_is_no_root(alice):
    class Place:
        def __fspath__(self):
            return b"/a"

    with pytest.raises(InvalidRequestError, match="path of text"):
        alice.limited(expires=SOON, targets=[Place()])


def test_it_says_what_it_reaches(alice):
    moment = datetime(2200, 1, 1, tzinfo=UTC)
    lent = alice.limited(
        expires=moment,
        rights=[FileRights.READ_DATA],
        targets=[
            Path("/a"),
            FileRoot("/b", 1),
            OperationName("get"),
            Host("c", 1),
            "d",
        ],
    )
    said = lent.limits.in_words()
    assert ("/a, /b (READ_DATA)", "get", "c:1", "d") == (
        said["files"], said["operations"], said["hosts"], said["objects"],
    )  # fmt: skip
    assert "2200-01-01T00:00:00+00:00" == said["expires"]
    assert repr(lent) == f"LimitedClient('alice', grant {lent.limits.grant})"


# --- it never widens ----------------------------------------------------------------


def test_a_limited_client_is_limited_further_and_never_less(
    server, limited, plan, pay, rights
):
    again = limited.limited(
        expires=timedelta(hours=1),
        rights=rights.READ | rights.WRITE,
        targets=[ANY_NAME],
    )
    assert again.limits.ends == limited.limits.ends
    assert server.check(again, plan, rights.READ)
    assert not server.check(again, plan, rights.WRITE)
    assert not server.check(again, pay, rights.READ)
    limited.revoke()
    with pytest.raises(LogonSessionEndedError):
        server.check(again, plan, rights.READ)


def test_it_brings_in_nobody_without_limits(server, limited, alice, trail):
    naive = server.client_for("alice", authenticated_by="test")
    assert naive.token.limits is None
    with pytest.raises(ImpersonationRefusedError, match="brings nobody in"):
        server.client_for("alice", authenticated_by="test", via=limited)
    assert "brings nobody in" in trail(AuditEvent.LOGON_FAILED)[-1].reasons[-1]
    assert server.client_for("alice", authenticated_by="test", via=alice)


def test_its_copies_have_its_limits(server, limited, plan, pay, rights):
    copy = limited.with_correlation("42")
    assert server.check(copy, plan, rights.READ)
    assert not server.check(copy, pay, rights.READ)
    with impersonate(limited.token):
        with pytest.raises(AccessDeniedError, match="access is denied"):
            server.protect("made", rights, [allow("alice", 3)])
        server.protect("plan", rights)
    assert "made" not in [o.name for o in server._house.objects.all()]


def test_privileges_are_left_by_name(server, client_of, rights, pay):
    server.accounts.grant("bob", Privilege.BACKUP)
    server.accounts.grant("bob", Privilege.RESTORE)
    bob = client_of(server, "bob")
    lent = bob.limited(expires=SOON, privileges=[Privilege.BACKUP])
    held = {entry.privilege for entry in bob.token.privileges}
    assert {Privilege.BACKUP} == {entry.privilege for entry in lent.token.privileges}
    assert held > {Privilege.BACKUP}
    if lent.token.has_privilege(Privilege.BACKUP):
        server.require_privilege(lent, Privilege.BACKUP, operation="save")
    with pytest.raises(PrivilegeNotHeldError):
        server.require_privilege(lent, Privilege.RESTORE, operation="load")
    # Even with the privilege it asks about no other objects.
    with pytest.raises(AccessDeniedError):
        server.questions_for(lent).explain("bob", pay, int(rights.READ))
    assert () == server.questions_for(lent).what_can("bob", ["READ"]).found


def test_operations_are_asked_for_by_name(server, alice):
    server.operation("get")(lambda client: client.name)
    server.operation("put")(lambda client: client.name)
    lent = alice.limited(expires=SOON, targets=[OperationName("get")])
    assert ["alice"] * 3 == [
        server.call(alice, "get"), server.call(alice, "put"), server.call(lent, "get"),
    ]  # fmt: skip
    with pytest.raises(AccessDeniedError) as refused:
        server.call(lent, "put")
    assert "does not name the operation" in refused.value.advice


def test_a_server_without_the_kernel_s_help_does_nothing_on_the_machine(limited):
    for act in (
        lambda: limited.open("/etc/hostname"),
        lambda: limited.run(int),
        lambda: limited.start(["id"]),
    ):
        with pytest.raises(EnforcementUnavailableError):
            act()


def test_where_landlock_is_too_old_nothing_is_started(limited, alice, monkeypatch):
    bounds.require_confinable(limited.token)
    monkeypatch.setattr(bounds, "LEAST_ABI", 1_000)
    bounds.require_confinable(alice.token)
    with pytest.raises(EnforcementUnavailableError, match="Landlock"):
        bounds.require_confinable(limited.token)


# --- its end ------------------------------------------------------------------------


def test_a_handle_dies_with_the_time_of_its_grant(server, alice, plan, rights):
    def opened(seconds):
        expires = timedelta(seconds=seconds)
        lent = alice.limited(expires=expires, rights=rights.READ, targets=[plan])
        handle = server.open_object(lent, plan, rights.READ)
        handle.require(rights.READ)
        assert plan is handle.object
        return lent, handle

    lent, handle = long_enough(opened, seconds=0.3, late=LogonSessionEndedError)

    def is_over():
        try:
            handle.require(rights.READ)
        except LogonSessionEndedError:
            return True
        return False

    until(is_over)
    with pytest.raises(LogonSessionEndedError):
        server.check(lent, plan, rights.READ)
    assert server.check(alice, plan, rights.READ)
    handle.close()
    with pytest.raises(HandleClosedError):
        handle.require(rights.READ)


@pytest.mark.parametrize("end", ["revoke", "close", "__exit__"])
def test_it_ends_at_once_when_it_is_told_to(server, limited, alice, plan, rights, end):
    arguments = (None, None, None) if end == "__exit__" else ()
    getattr(limited, end)(*arguments)
    getattr(limited, end)(*arguments)
    with pytest.raises(LogonSessionEndedError):
        server.check(limited, plan, rights.READ)
    assert server.check(alice, plan, rights.READ)


def test_it_outlives_the_client_that_lent_it_and_not_its_session(
    server, client_of, plan, rights
):
    alice = client_of(server, "alice")
    lent = alice.limited(expires=SOON, rights=rights.READ, targets=[plan])
    alice.close()
    assert server.check(lent, plan, rights.READ)
    server.accounts.disable("alice")
    with pytest.raises(LogonSessionEndedError):
        server.check(lent, plan, rights.READ)


def test_one_that_is_forgotten_lets_go(server, alice, rights):
    def live():
        return {r.logon_id for r in server._house.admission.sessions.records()}

    grant = alice.limited(expires=SOON).limits.grant
    gc.collect()
    assert grant not in live()


def test_what_cannot_be_recorded_is_not_lent(server, alice, monkeypatch):
    def fail(_record, **_how):
        raise LedgerUnavailableError("the disk is full")

    before = server._house.admission.sessions.records()
    with monkeypatch.context() as patched:
        patched.setattr(server._house.guard.sink, "record", fail)
        with pytest.raises(LedgerUnavailableError):
            alice.limited(expires=SOON)
    assert before == server._house.admission.sessions.records()


# --- the trail ------------------------------------------------------------------------


def test_the_trail_says_what_was_lent_used_and_ended(
    server, alice, limited, plan, pay, rights, trail
):
    server.require(limited, plan, rights.READ)
    with pytest.raises(AccessDeniedError) as refused:
        server.require(limited, pay, rights.READ)
    (made,) = trail(AuditEvent.GRANT_MADE)
    assert (str(limited.limits.grant), "Doc: READ", "plan") == (
        made.object_name, made.detail["rights"], made.detail["objects"],
    )  # fmt: skip
    assert str(alice.token.logon_id) == made.detail["within"]
    assert ("notes", "alice") == (made.server.name, made.client.name)
    used = [r for r in trail(AuditEvent.OBJECT_ACCESS) if "grant" in r.detail]
    name = f"{limited.limits.grant} (summary)"
    assert {name} == {record.detail["grant"] for record in used}
    assert ["plan", "pay"] == [record.object_name for record in used]
    assert f"limited by grant {name}: the object is not" in used[1].reasons[0]
    assert refused.value.record is not None
    (first,) = trail(AuditEvent.GRANT_USED)
    assert str(limited.limits.grant) == first.object_name
    limited.revoke()
    until(lambda: trail(AuditEvent.GRANT_ENDED))
    (ended,) = trail(AuditEvent.GRANT_ENDED)
    assert ("revoked", name) == (ended.detail["because"], ended.detail["grant"])


def test_a_first_use_that_is_not_recorded_yet_lets_nobody_else_act(
    server, limited, plan, rights, trail, monkeypatch
):
    sink = server._house.guard.sink
    record, waits, go_on = sink.record, threading.Event(), threading.Event()

    def slow(told, **how):
        if told.event is AuditEvent.GRANT_USED and not waits.is_set():
            waits.set()
            assert go_on.wait(60)
            raise LedgerUnavailableError("the disk is full")
        return record(told, **how)

    with monkeypatch.context() as patched:
        patched.setattr(sink, "record", slow)
        with ThreadPoolExecutor() as pool:
            first = pool.submit(server.require, limited, plan, rights.READ)
            assert waits.wait(60)
            server.require(limited, plan, rights.READ)
            assert trail(AuditEvent.GRANT_USED)  # before the second one acted
            go_on.set()
            assert isinstance(first.exception(60), LedgerUnavailableError)


@pytest.mark.parametrize(
    ("why", "end"),
    [
        ("its session has ended", lambda server: server.accounts.disable("alice")),
        ("expired", lambda _: None),
    ],
)
def test_the_trail_says_why_it_ended(server, alice, trail, plan, rights, why, end):
    expires = timedelta(milliseconds=100) if why == "expired" else SOON
    lent = alice.limited(expires=expires, rights=rights.READ, targets=[plan])
    end(server)

    event = AuditEvent.GRANT_ENDED
    if why == "expired":
        event = AuditEvent.GRANT_EXPIRED

    def has_ended():
        try:
            server.check(lent, plan, rights.READ)
        except LogonSessionEndedError:
            return bool(trail(event))
        return False

    until(has_ended)
    (ended,) = trail(event)
    assert why == ended.detail["because"]


def test_a_grant_of_one_thread_is_revoked_from_another(server, limited, plan, rights):
    thread = threading.Thread(target=limited.revoke)
    thread.start()
    thread.join()
    with pytest.raises(LogonSessionEndedError):
        server.check(limited, plan, rights.READ)


def test_its_aio_has_its_limits_too(limited):
    async def start():
        with pytest.raises(EnforcementUnavailableError):
            await limited.aio.run(int)

    asyncio.run(start())
