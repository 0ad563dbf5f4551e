"""A grant's session: within another, with the limited token as its ceiling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stead.authority.sessions import LEASE, Sessions
from stead.decision.limiting import limit_token
from stead.decision.restricting import restrict_token
from stead.decision.token_ops import duplicate_token
from stead.errors import InvalidRequestError, LogonSessionEndedError
from stead.model.limits import MOST_LAYERS, KindRights, NamePattern, TokenLimits
from stead.model.token import ImpersonationLevel

HOUR = 3_600 * 10**9


class Wall:
    def __init__(self):
        self.now = 10**18

    def __call__(self):
        return self.now


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def sessions(store, clock, wall):
    return Sessions(store, clock=wall, monotonic=clock)


@pytest.fixture
def session(store, identify, open_session):
    store.add_account("alice", 70001, 70001)
    return open_session(identify("alice"))


@pytest.fixture
def limits(wall):
    return TokenLimits(wall.now + HOUR, (KindRights("Doc", 1),), (NamePattern("plan"),))


@pytest.fixture
def lent(sessions, session, limits):
    return sessions.open_limited(session.token, limits)


def has_ended(sessions, token):
    try:
        sessions.require_live(token)
    except LogonSessionEndedError:
        return True
    return False


def test_it_is_a_session_of_its_own_for_the_same_user(session, lent, sessions):
    assert lent.record.logon_id == lent.token.limits.grant != session.record.logon_id
    assert (session.record.user, session.posix) == (lent.record.user, lent.posix)
    assert session.token.groups == lent.token.groups
    assert (session.record, lent.record) == sessions.records()
    assert lent is sessions.of(lent.token)


def test_a_token_without_the_limits_belongs_to_no_session(lent, sessions, session):
    token, other = lent.token, TokenLimits(10**18 + 1)
    for forged in (
        replace(token, limits=None),
        replace(token, limits=replace(token.limits, expires=10**18 + 2 * HOUR)),
        replace(token, limits=other),
        replace(session.token, logon_id=token.logon_id),
    ):
        assert has_ended(sessions, forged)
    for copy in (
        duplicate_token(token, level=ImpersonationLevel.IDENTIFICATION),
        restrict_token(token, disable_max_privilege=True),
        limit_token(token, TokenLimits(10**18 + 1)),
    ):
        assert lent is sessions.of(copy)


def test_it_ends_with_its_time_by_the_wall(lent, sessions, session, wall):
    wall.now += HOUR - 1
    sessions.require_live(lent.token)
    wall.now += 1
    with pytest.raises(LogonSessionEndedError, match="has expired"):
        sessions.require_live(lent.token)
    wall.now -= HOUR
    assert has_ended(sessions, lent.token)
    sessions.require_live(session.token)


def test_a_wall_clock_that_is_set_back_gives_no_more_time(lent, sessions, clock, wall):
    wall.now -= HOUR
    clock.now += HOUR - 1
    sessions.require_live(lent.token)
    clock.now += 1
    assert has_ended(sessions, lent.token)


def test_a_copy_that_was_limited_further_expires_alone(lent, sessions, wall):
    copy = limit_token(lent.token, TokenLimits(wall.now + 1))
    sessions.require_live(copy)
    wall.now += 1
    assert has_ended(sessions, copy)
    sessions.require_live(lent.token)


def test_it_holds_the_session_around_it(session, lent, sessions):
    assert not sessions.release(session.record.logon_id)
    sessions.require_live(session.token)
    assert sessions.end(lent.record.logon_id)
    assert has_ended(sessions, session.token)


def test_whatever_ends_the_session_around_it_ends_it(session, lent, sessions):
    told = []
    sessions.on_end(lent.record.logon_id, lambda: told.append("ended"))
    sessions.end(session.record.logon_id)
    assert ["ended"] == told
    assert has_ended(sessions, lent.token)
    assert () == sessions.records()


def test_an_account_that_loses_something_ends_its_grants(
    session, lent, sessions, store, clock
):
    sessions.require_live(lent.token)
    store.set_account_disabled(session.record.user, is_disabled=True)
    clock.now += LEASE
    assert has_ended(sessions, lent.token)
    assert () == sessions.records()


def test_one_grant_within_another_ends_with_it(lent, sessions, limits, wall):
    inner = sessions.open_limited(
        lent.token, replace(limits, expires=wall.now + 2 * HOUR)
    )
    assert 2 == len(list(inner.token.limits.layers()))
    other = sessions.open_limited(lent.token, limits)
    sessions.end(inner.record.logon_id)
    sessions.require_live(other.token)
    wall.now += HOUR
    assert has_ended(sessions, other.token)


def test_what_cannot_be_limited_leaves_no_hold(session, sessions, limits):
    token = session.token
    for _ in range(MOST_LAYERS):
        token = limit_token(token, limits)
    with pytest.raises(InvalidRequestError, match="up to 8 times"):
        sessions.open_limited(token, limits)
    assert sessions.release(session.record.logon_id)


def test_no_grant_is_made_in_an_ended_session(session, sessions, limits):
    sessions.end(session.record.logon_id)
    with pytest.raises(LogonSessionEndedError):
        sessions.open_limited(session.token, limits)
    assert () == sessions.records()
