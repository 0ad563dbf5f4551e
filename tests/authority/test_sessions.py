from __future__ import annotations

from dataclasses import replace

import pytest

from stead.adapters.store import Store
from stead.authority.identity import identify_account
from stead.authority.sessions import LEASE, Sessions
from stead.decision.token_ops import duplicate_token
from stead.errors import LogonSessionEndedError
from stead.model import well_known
from stead.model.acl import NULL_DACL
from stead.model.logon_record import LogonType
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    MandatoryPolicy,
    TokenGroup,
)


@pytest.fixture
def account(store):
    return store.add_account("alice", 70001, 70001)


@pytest.fixture
def session(account, identify, open_session):
    return open_session(identify("alice"))


def test_a_session_knows_who_opened_it_and_how(session, account, sessions):
    assert (account.sid, "alice", LogonType.NETWORK, 42) == (
        session.record.user,
        session.record.name,
        session.record.logon_type,
        session.record.opened_at,
    )
    assert (session.record,) == sessions.records()
    assert session is sessions.of(session.token)


def test_numbers_of_sessions_and_tokens_never_repeat(account, identify, open_session):
    made = [open_session(identify("alice")) for _ in range(3)]
    numbers = [session.record.logon_id for session in made]
    numbers += [session.token.token_id for session in made]
    assert 6 == len(set(numbers))


def test_a_copy_of_the_token_is_the_sessions(session, sessions):
    copy = duplicate_token(session.token, level=ImpersonationLevel.IDENTIFICATION)
    assert session is sessions.of(copy)


def test_an_ended_session_is_refused(session, sessions):
    assert sessions.end(session.record.logon_id)
    assert not sessions.end(session.record.logon_id)
    with pytest.raises(LogonSessionEndedError, match="does not live here"):
        sessions.require_live(session.token)
    assert () == sessions.records()


def test_a_token_made_by_hand_has_no_session(session, sessions):
    unknown = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
    stolen = replace(unknown, logon_id=session.token.logon_id)
    raised = replace(session.token, level=ImpersonationLevel.DELEGATION)
    for token in (unknown, stolen, raised):
        with pytest.raises(LogonSessionEndedError):
            sessions.require_live(token)


def test_all_sessions_of_a_user_end_at_once_and_nobody_elses(
    store, session, sessions, account, identify, open_session
):
    store.add_account("bob", None, None)
    bob = open_session(identify("bob"))
    second = open_session(identify("alice"))
    assert (session.record, second.record) == sessions.end_all_of(account.sid)
    assert (bob.record,) == sessions.records()


def test_a_lease_is_renewed_as_long_as_the_account_is_what_it_was(
    session, sessions, clock
):
    for _ in range(3):
        clock.now += LEASE
        sessions.require_live(session.token)


def test_a_disabled_account_ends_its_sessions_when_the_lease_is_up(
    store, session, sessions, account, clock
):
    store.set_account_disabled(account.sid, is_disabled=True)
    clock.now += LEASE - 1
    sessions.require_live(session.token)
    clock.now += 1
    with pytest.raises(LogonSessionEndedError, match="changed or disabled"):
        sessions.require_live(session.token)
    assert () == sessions.records()


def test_an_account_that_was_disabled_and_enabled_again_is_not_what_it_was(
    store, session, sessions, account, clock
):
    for is_disabled in (True, False):
        store.set_account_disabled(account.sid, is_disabled=is_disabled)
    clock.now += LEASE
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)


def test_another_process_that_disables_the_account_is_seen_within_the_lease(
    tmp_path, clock
):
    tmp_path.chmod(0o700)
    place = tmp_path / "store.db"
    with Store.open(place) as ours, Store.open(place) as theirs:
        alice = ours.accounts.add_account("alice", None, None)
        sessions = Sessions(ours.accounts, clock=lambda: 42, monotonic=clock)
        session = sessions.open(
            identify_account(ours.accounts, "alice", host=lambda _uid: None),
            level=ImpersonationLevel.IMPERSONATION,
            package="asserted",
            authenticated_by="test",
        )
        theirs.accounts.set_account_disabled(alice.sid, is_disabled=True)
        clock.now += LEASE
        with pytest.raises(LogonSessionEndedError):
            sessions.require_live(session.token)


def test_a_bare_uid_that_gets_an_account_is_not_what_it_was(
    store, sessions, identify_uid, open_session, clock
):
    session = open_session(identify_uid(70009))
    clock.now += LEASE
    sessions.require_live(session.token)
    store.add_account("dora", 70009, 70009)
    clock.now += LEASE
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)


def test_a_client_that_comes_as_nobody_has_nobodys_session(
    account, identify, open_session, sessions, clock
):
    session = open_session(identify("alice"), ImpersonationLevel.ANONYMOUS)
    assert (well_known.ANONYMOUS_LOGON, "ANONYMOUS LOGON", None) == (
        session.record.user,
        session.record.name,
        session.posix,
    )
    clock.now += LEASE
    sessions.require_live(session.token)


def test_a_servers_session_lives_as_long_as_the_server(sessions, clock):
    own = sessions.open_server("notes", (Privilege.TCB,))
    clock.pass_seconds(86_400)
    sessions.require_live(own.token)
    assert LogonType.SERVICE is own.record.logon_type
    assert {Privilege.TCB} == own.token.enabled_privileges


@pytest.mark.parametrize(
    "gain",
    [
        {"mandatory_policy": MandatoryPolicy.OFF},
        {"owner": well_known.EVERYONE},
        {"primary_group": well_known.ADMINISTRATORS},
        {"default_dacl": NULL_DACL},
    ],
)
def test_a_token_that_gained_anything_by_hand_does_not_live(sessions, session, gain):
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(replace(session.token, **gain))


def test_a_token_whose_group_became_an_owner_does_not_live(sessions, session):
    first, *rest = session.token.groups
    better = TokenGroup(first.sid, first.attributes | GroupAttributes.OWNER)
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(replace(session.token, groups=(better, *rest)))
