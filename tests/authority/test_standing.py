"""A session is believed while its lease lasts, and no longer than what it stands on."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from stead.authority.session import LEASE
from stead.authority.sessions import Sessions
from stead.model.limits import TokenLimits
from stead.model.token import ImpersonationLevel, TokenGroup
from stead.model.well_known import ADMINISTRATORS


@pytest.fixture
def session(store, identify, open_session, clock):
    clock.now = 1_000
    store.add_account("alice", 70001, 70001)
    return open_session(identify("alice"))


@pytest.fixture
def standing(sessions, session):
    return sessions.standing(session.token)


def test_it_says_when_it_was_believed(standing, clock):
    assert 1_000 == standing.good_at()
    clock.now += LEASE - 1
    assert clock.now == standing.good_at()


def test_after_the_lease_it_is_to_be_asked_and_then_believed_again(
    standing, sessions, session, clock
):
    clock.now += LEASE
    assert 0 == standing.good_at()
    sessions.require_live(session.token)
    assert clock.now == standing.good_at()


def test_an_ended_session_is_not_believed(standing, sessions, session):
    sessions.end(session.record.logon_id)
    assert 0 == standing.good_at()
    assert sessions.standing(session.token) is None


def test_a_change_in_this_process_is_asked_about_at_once(standing, sessions, session):
    sessions.expire()
    assert 0 == standing.good_at()
    sessions.require_live(session.token)
    assert standing.good_at()


def test_who_has_its_time_is_not_believed_by_either_clock(
    store, identify, clock, session
):
    del session
    times = [42, 42]
    sessions = Sessions(store, clock=lambda: times[0], monotonic=clock)
    made = sessions.open(
        identify("alice"),
        level=ImpersonationLevel.IMPERSONATION,
        package="asserted",
        authenticated_by="test",
        expires=42 + 500,
    )
    standing = sessions.standing(made.token)
    assert standing.good_at()
    clock.now += 500
    assert 0 == standing.good_at()
    clock.now -= 500
    times[0] += 500
    assert 0 == standing.good_at()


def test_what_more_is_looked_at_for_has_none(sessions, session):
    limits = TokenLimits(expires=10**18)
    lent = sessions.open_limited(session.token, limits)
    copied = sessions.open_new_credentials(session.token, ())
    stranger = replace(session.token, groups=(TokenGroup(ADMINISTRATORS),))
    for token in (lent.token, copied.token, stranger):
        assert sessions.standing(token) is None


def test_a_lease_that_was_ended_is_not_given_by_who_asked_before(
    sessions, session, standing, clock
):
    """The store's answer comes after the change, and was made before it."""
    asked, changed = threading.Event(), threading.Event()

    class Slow:
        def renew(self, _session):
            asked.set()
            assert changed.wait(60)
            return session.generation

    sessions._leases._fitness = Slow()
    clock.now += LEASE
    renewing = threading.Thread(target=sessions.require_live, args=(session.token,))
    renewing.start()
    assert asked.wait(60)
    sessions.expire()
    changed.set()
    renewing.join(60)
    # Naive: believed for another lease, by what the store said before the change.
    assert 0 == standing.good_at()


def test_a_session_that_ended_meanwhile_is_not_believed_again(
    sessions, session, standing, clock
):
    class Ending:
        def renew(self, _session):
            sessions.end(session.record.logon_id)
            return session.generation

    sessions._leases._fitness = Ending()
    clock.now += LEASE
    sessions.of(session.token)
    assert 0 == standing.good_at()
