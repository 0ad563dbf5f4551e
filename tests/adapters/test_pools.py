"""A pooled connection that is handed back while somebody is in force is found."""

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from stead.adapters.pools import Lent, leak_watch
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.monitor.impersonation import impersonate

ALICE = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1001"))
BOB = AccessToken(Sid.from_string("S-1-5-21-1-2-3-1002"))


@pytest.fixture
def engine():
    made = create_engine("sqlite://", poolclass=QueuePool)
    with made.connect(), made.connect():  # opened here, outside all blocks
        pass
    leak_watch(made)
    yield made
    made.dispose()


@pytest.fixture
def only(identity_leaks):
    def look():
        [leak] = identity_leaks()
        assert __file__ in leak.where
        return str(leak)

    return look


@pytest.mark.leaks_identity
def test_one_that_is_handed_back_inside_a_later_block_is_a_leak(engine, only):
    link = engine.connect()
    with impersonate(ALICE):
        link.close()
    assert "a pooled connection was handed back" in only()


@pytest.mark.leaks_identity
def test_one_that_was_taken_as_one_client_and_comes_back_as_another(engine, only):
    with impersonate(ALICE):
        link = engine.connect()
    with impersonate(BOB):
        link.close()
    assert "S-1-5-21-1-2-3-1002" in only()


@pytest.mark.leaks_identity
def test_any_other_pool_is_watched_by_hand(only):
    lent = Lent()
    with impersonate(ALICE):
        lent.hand_back()
    assert "a pooled connection was handed back" in only()


def test_one_that_comes_back_as_it_was_taken_is_none(engine, identity_leaks):
    with impersonate(ALICE), engine.connect():
        pass
    with engine.connect():
        with impersonate(ALICE):
            pass
        with impersonate(ALICE), engine.connect(), impersonate(BOB):
            pass
    assert () == identity_leaks()


def test_one_that_comes_back_after_the_block_that_took_it_is_none(
    engine, identity_leaks
):
    with impersonate(ALICE):
        link = engine.connect()
    link.close()
    leak_watch(engine.pool)
    assert () == identity_leaks()
