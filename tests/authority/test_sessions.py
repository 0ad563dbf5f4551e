from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from stead.adapters.store import Store
from stead.authority.ceiling import is_within
from stead.authority.identity import identify_account
from stead.authority.session import LEASE
from stead.authority.sessions import Sessions
from stead.decision.restricting import lower_integrity, restrict_token
from stead.decision.token_ops import duplicate_token
from stead.errors import LogonSessionEndedError, StoreUnavailableError
from stead.model import well_known
from stead.model.acl import NULL_DACL
from stead.model.claim import Claim, ClaimType
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
from stead.model.well_known import LOW_LEVEL


@pytest.fixture
def account(store):
    return store.add_account("alice", 70001, 70001)


@pytest.fixture
def session(account, identify, open_session):
    return open_session(identify("alice"))


@pytest.fixture
def ended():
    """What the endings of sessions said, in order."""
    return []


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


# --- held, let go, ended ------------------------------------------------------------


def test_a_session_lives_until_its_last_holder_lets_go(session, sessions):
    """A naive session ends when its opener closes it, under whoever still acts."""
    sessions.hold(session.token)
    assert not sessions.release(session.token.logon_id)
    sessions.require_live(session.token)
    assert sessions.release(session.token.logon_id)
    assert not sessions.release(session.token.logon_id)
    with pytest.raises(LogonSessionEndedError):
        sessions.hold(session.token)


def test_a_session_ends_at_once_whoever_holds_it(session, sessions):
    sessions.hold(session.token)
    assert sessions.end(session.token.logon_id)
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)
    assert not sessions.release(session.token.logon_id)


def test_nobody_holds_a_session_by_a_token_made_by_hand(session, sessions):
    raised = replace(session.token, level=ImpersonationLevel.DELEGATION)
    with pytest.raises(LogonSessionEndedError):
        sessions.hold(raised)
    assert sessions.release(session.token.logon_id)


WAYS = {
    "released": lambda sessions, logon_id, _user: sessions.release(logon_id),
    "ended": lambda sessions, logon_id, _user: sessions.end(logon_id),
    "all ended": lambda sessions, _logon_id, user: sessions.end_all_of(user),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_whatever_ends_a_session_calls_its_endings_once(
    session, sessions, ended, way, account
):
    logon_id = session.token.logon_id
    sessions.on_end(logon_id, lambda: ended.append("processes"))
    forget = sessions.on_end(logon_id, lambda: ended.append("one that is over"))
    sessions.on_end(logon_id, lambda: ended.append("logoff"))
    forget()
    forget()
    for _ in range(2):
        way(sessions, logon_id, account.sid)
    assert ["processes", "logoff"] == ended


def test_an_ending_of_a_session_that_has_ended_is_called_at_once(
    session, sessions, ended
):
    sessions.end(session.token.logon_id)
    sessions.on_end(session.token.logon_id, lambda: ended.append("late"))()
    assert ["late"] == ended


def test_an_ending_that_fails_is_logged_and_keeps_no_other_from_its_turn(
    session, sessions, ended, caplog
):
    sessions.on_end(session.token.logon_id, lambda: 1 / 0)
    sessions.on_end(session.token.logon_id, lambda: ended.append("next"))
    assert sessions.end(session.token.logon_id)
    assert ["next"] == ended
    assert "ending of a logon session" in caplog.text


class Ending:
    """Something that is to be done, and counts with how many others it is compared."""

    compared = 0

    def __call__(self):
        """Do nothing."""

    def __eq__(self, other):
        Ending.compared += 1
        return self is other

    __hash__ = None


def test_what_ends_by_itself_is_not_looked_for_among_all_endings(session, sessions):
    """One session may have many grants: each would cost as much as there are others."""
    endings = [Ending() for _ in range(100)]
    forget = [sessions.on_end(session.token.logon_id, each) for each in endings]
    Ending.compared = 0
    for each in reversed(forget):
        each()
        each()
    assert (0, {}) == (Ending.compared, session.endings)
    for each in reversed(list(endings)):  # naive
        endings.remove(each)
    assert 4950 == Ending.compared


@pytest.mark.parametrize("end", ["end", "release"])
def test_an_interrupted_ending_keeps_no_other_from_its_turn(
    session, sessions, ended, end
):
    """As when Ctrl-C falls into the first: a password is wiped by the next one."""

    def interrupted():
        raise KeyboardInterrupt

    endings = [interrupted, lambda: ended.append("wiped"), lambda: ended.append("told")]
    for ending in endings:
        sessions.on_end(session.token.logon_id, ending)
    with pytest.raises(KeyboardInterrupt):
        getattr(sessions, end)(session.token.logon_id)
    assert ["wiped", "told"] == ended
    ended.clear()
    with pytest.raises(KeyboardInterrupt):
        [naive() for naive in endings]
    assert [] == ended


def test_an_ending_runs_under_no_lock_of_the_sessions(session, sessions, ended):
    def ending():
        other = threading.Thread(target=lambda: ended.append(sessions.records()))
        other.start()
        other.join(30)

    sessions.on_end(session.token.logon_id, ending)
    sessions.end(session.token.logon_id)
    assert [()] == ended


def test_an_ending_that_falls_into_another_call_waits_for_that_calls_lock(
    session, sessions, ended
):
    """As when a finalizer ends a session while its thread is inside this object."""
    sessions.on_end(
        session.token.logon_id, lambda: ended.append(sessions._table._lock.depth)
    )
    with sessions._table._lock.held():
        sessions.end(session.token.logon_id)
        assert [] == ended
    assert [0] == ended


def test_a_renewal_that_ends_a_session_calls_its_endings(
    store, session, sessions, account, clock, ended
):
    sessions.on_end(session.token.logon_id, lambda: ended.append("logoff"))
    store.set_account_disabled(account.sid, is_disabled=True)
    clock.now += LEASE
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)
    assert ["logoff"] == ended


# --- what an account loses ----------------------------------------------------------


@pytest.fixture
def staff(store, account):
    staff = store.add_group("staff", 70100)
    store.add_member(staff.sid, account.sid)
    store.add_right(staff.sid, "SeBackupPrivilege")
    return staff


LOSSES = {
    "group": lambda store, account, staff: store.remove_member(staff.sid, account.sid),
    "privilege": lambda store, _account, staff: store.remove_right(
        staff.sid, "SeBackupPrivilege"
    ),
    "right": lambda store, _account, _staff: store.remove_right(
        well_known.EVERYONE, "SeNetworkLogonRight"
    ),
    "denied": lambda store, account, _staff: store.add_right(
        account.sid, "SeDenyNetworkLogonRight"
    ),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_what_an_account_loses_ends_its_session_with_the_lease(
    store, account, staff, identify, open_session, sessions, clock, loss
):
    """A naive session keeps the token with which it began for as long as it lives."""
    session = open_session(identify("alice"))
    clock.now += LEASE
    sessions.require_live(session.token)
    loss(store, account, staff)
    sessions.require_live(session.token)
    clock.now += LEASE
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_lease_that_is_expired_is_looked_at_at_once(
    store, account, staff, identify, open_session, sessions, loss
):
    session = open_session(identify("alice"))
    loss(store, account, staff)
    sessions.expire()
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)


def test_a_loss_between_identification_and_session_is_seen_at_its_first_use(
    store, account, staff, identify, open_session, sessions
):
    identity = identify("alice")
    store.remove_member(staff.sid, account.sid)
    session = open_session(identity)
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)


def test_what_an_account_gains_counts_from_its_next_session(
    store, account, session, identify, open_session, sessions, clock
):
    store.add_member(well_known.ADMINISTRATORS, account.sid)
    store.add_right(account.sid, "SeBackupPrivilege")
    clock.now += LEASE
    sessions.require_live(session.token)
    assert session.token.group(well_known.ADMINISTRATORS) is None
    second = open_session(identify("alice"))
    assert second.token.group(well_known.ADMINISTRATORS) is not None


def test_what_others_lose_and_a_new_password_end_nothing(
    whole_store, store, account, session, sessions, clock
):
    bob = store.add_account("bob", None, None)
    store.set_account_disabled(bob.sid, is_disabled=True)
    whole_store.credentials.set_password(account.sid, "verifier", changed_at=1)
    clock.now += LEASE
    sessions.require_live(session.token)


def test_groups_that_the_kernel_vouched_for_stay_and_those_of_the_store_go(
    store, identify_uid, open_session, sessions
):
    staff = store.add_group("staff", 70100)
    store.add_member(staff.sid, well_known.unix_user(70001))
    session = open_session(identify_uid(70001, 70001, (50,)))
    assert session.token.group(well_known.unix_group(70100)) is not None
    store.add_group("more", None)
    sessions.expire()
    sessions.require_live(session.token)
    store.remove_member(staff.sid, well_known.unix_user(70001))
    sessions.expire()
    with pytest.raises(LogonSessionEndedError):
        sessions.require_live(session.token)


def test_a_store_that_cannot_be_asked_lets_nobody_in(
    whole_store, session, sessions, clock
):
    clock.now += LEASE
    whole_store.close()
    with pytest.raises(StoreUnavailableError):
        sessions.require_live(session.token)


# --- the session is the ceiling of its tokens -----------------------------------------

STAFF, ADMINS = (Sid.from_string(f"S-1-5-21-9-9-9-{rid}") for rid in (1, 2))
PACKAGE, OTHER = (Sid.from_string(f"S-1-15-2-1-2-{n}") for n in (3, 4))
CAMERA = Sid.from_string("S-1-15-3-1")
ON, OFF, NO = GroupAttributes(0x7), GroupAttributes.NONE, GroupAttributes(0x10)
OPTIONAL = GroupAttributes.ENABLED


def holding(attributes, **fields):
    return AccessToken(ADMINS, (TokenGroup(STAFF, attributes),), **fields)


def contained(attributes=ON, package=PACKAGE, **fields):
    held = (TokenGroup(CAMERA, attributes),)
    return AccessToken(ADMINS, package=package, capabilities=held, **fields)


RESTRICTED = AccessToken(ADMINS, restricting_sids=(STAFF,))
CLAIMING = AccessToken(ADMINS, user_claims=(Claim("a", ClaimType.INT64, (1,)),))


@pytest.mark.parametrize(
    ("token", "begun"),
    [
        (holding(OFF), holding(ON)),
        (holding(OFF), holding(NO)),
        (holding(ON), holding(NO)),
        (holding(GroupAttributes(0x7)), holding(GroupAttributes(0x17))),
        (holding(ON), holding(OFF)),
        (holding(GroupAttributes(0xF)), holding(ON)),
        (AccessToken(ADMINS), holding(ON)),
        (
            holding(ON),
            AccessToken(ADMINS, (TokenGroup(STAFF, NO), TokenGroup(STAFF, ON))),
        ),
        (AccessToken(ADMINS), contained()),
        (contained(), AccessToken(ADMINS)),
        (contained(package=OTHER), contained()),
        (contained(OFF), contained()),
        (AccessToken(ADMINS, package=PACKAGE), contained()),
        (AccessToken(ADMINS), RESTRICTED),
        (replace(RESTRICTED, is_write_restricted=True), RESTRICTED),
        (replace(RESTRICTED, restricting_sids=(STAFF, CAMERA)), RESTRICTED),
        (AccessToken(ADMINS), replace(RESTRICTED, is_write_restricted=True)),
        (AccessToken(ADMINS), CLAIMING),
        (CLAIMING, AccessToken(ADMINS)),
        (AccessToken(ADMINS), AccessToken(ADMINS, user_is_deny_only=True)),
        (
            AccessToken(ADMINS, trust=Sid.from_string("S-1-19-512-4096")),
            AccessToken(ADMINS),
        ),
    ],
)
def test_a_token_that_may_more_than_its_session_is_not_within_it(token, begun):
    assert not is_within(token, begun)


@pytest.mark.parametrize(
    ("token", "begun"),
    [
        (holding(NO), holding(ON)),
        (holding(OFF), holding(OPTIONAL)),
        (restrict_token(holding(ON), deny_only=[STAFF, ADMINS]), holding(ON)),
        (restrict_token(holding(ON), restricting_sids=[STAFF]), holding(ON)),
        (restrict_token(RESTRICTED, restricting_sids=[STAFF]), RESTRICTED),
        (restrict_token(RESTRICTED, restricting_sids=[ADMINS]), RESTRICTED),
        (lower_integrity(contained(), LOW_LEVEL), contained()),
        (contained(NO), contained()),
        (
            restrict_token(
                holding(GroupAttributes(0xF), owner=STAFF), deny_only=[STAFF]
            ),
            holding(GroupAttributes(0xF), owner=STAFF),
        ),
        (
            AccessToken(ADMINS),
            AccessToken(ADMINS, trust=Sid.from_string("S-1-19-512-4096")),
        ),
    ],
)
def test_a_token_that_may_less_is_within_its_session(token, begun):
    assert is_within(token, begun)


@pytest.mark.parametrize("clock_that_goes_on", ["wall", "monotonic"])
def test_a_session_ends_by_whichever_clock_says_so_first(
    store, account, identify, ended, clock_that_goes_on
):
    now = {"wall": 1_000, "monotonic": 5}
    sessions = Sessions(
        store, clock=lambda: now["wall"], monotonic=lambda: now["monotonic"]
    )
    session = sessions.open(
        identify("alice"), level=ImpersonationLevel.IMPERSONATION, package="test",
        authenticated_by="test", expires=1_100,
    )  # fmt: skip
    sessions.on_end(session.record.logon_id, lambda: ended.append("wiped"))
    now[clock_that_goes_on] += 99
    sessions.require_live(session.token)
    # Naive: a machine that sleeps, and a clock that is set back, stop one of the two.
    now[clock_that_goes_on] += 1
    with pytest.raises(LogonSessionEndedError, match="has expired"):
        sessions.require_live(session.token)
    assert ["wiped"] == ended


def test_what_a_session_has_to_show_is_never_printed(sessions, account, identify):
    class Ticket:
        package, principal, expires = "kerberos", "alice@REALM", None

        def __repr__(self):
            return "the key"

        def close(self):
            pass

    session = sessions.open(
        identify("alice"), level=ImpersonationLevel.DELEGATION, package="test",
        authenticated_by="test", credentials=(Ticket(),),
    )  # fmt: skip
    assert "the key" in repr(session.credentials)
    assert "the key" not in repr(session)
