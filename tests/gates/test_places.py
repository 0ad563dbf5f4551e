"""Places: bounded for each uid, with a reserve, and shared out when all are taken."""

import pytest

from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.pipe.places import Places

ROOT = 0


class Guest:
    """An occupant that notes whether it was asked to go."""

    def __init__(
        self, uid, since=0.0, *, is_idle=True, is_greeted=True, is_admitted=None
    ):
        self.evidence = PeerEvidence(uid, uid, (), 1)
        self.last_active = since
        self.is_idle = is_idle
        self.is_greeted = is_greeted
        self.is_admitted = is_greeted if is_admitted is None else is_admitted
        self.has_gone = False

    def make_room(self):
        self.has_gone = True


def places_with(guests, **limits):
    places = Places(PipeLimits(**limits), {ROOT})
    for guest in guests:
        places.take(guest)
    return places


def test_no_uid_has_more_than_its_own_bound_and_nobody_goes_for_it():
    guests = [Guest(1), Guest(1)]
    places = places_with(guests, clients=8, clients_per_uid=2)
    assert not places.has_room(1)
    assert places.has_room(2)
    assert [] == [guest for guest in guests if guest.has_gone]


def test_the_reserve_is_for_those_who_administer_alone():
    guests = [Guest(uid, is_idle=False) for uid in (1, 2, 3)]
    places = places_with(guests, clients=3, reserve=2)
    assert not places.has_room(4)
    for _ in range(2):
        assert places.has_room(ROOT)
        places.take(Guest(ROOT, is_idle=False))
    assert not places.has_room(ROOT)


def test_the_longest_idle_of_the_largest_uid_goes():
    guests = [
        Guest(1, 0.0),
        Guest(2, 1.0, is_idle=False),
        Guest(2, 3.0),
        Guest(2, 2.0),
    ]
    places = places_with(guests, clients=4)
    assert places.has_room(3)
    assert [guests[3]] == [guest for guest in guests if guest.has_gone]


@pytest.mark.parametrize("newcomer", [1, 2, 3])
def test_nobody_goes_for_a_uid_that_would_then_have_as_many(newcomer):
    guests = [Guest(1), Guest(1), Guest(2), Guest(2)]
    places = places_with(guests, clients=4)
    assert (newcomer == 3) is places.has_room(newcomer)
    assert (newcomer == 3) is any(guest.has_gone for guest in guests)


def test_who_is_served_stays_and_the_next_largest_is_asked():
    guests = [Guest(1, is_idle=False) for _ in range(4)] + [Guest(2) for _ in range(3)]
    places = places_with(guests, clients=7)
    assert places.has_room(3)
    assert [False] * 4 == [guest.has_gone for guest in guests[:4]]
    assert 1 == sum(guest.has_gone for guest in guests[4:])


def test_who_has_not_said_hello_goes_first_however_few_its_uid_has():
    guests = [
        Guest(1, 0.0),
        Guest(1, 0.0),
        Guest(1, 0.0),
        Guest(2, 2.0, is_greeted=False),
        Guest(3, 1.0, is_greeted=False),
    ]
    places = places_with(guests, clients=5)
    assert places.has_room(4)
    assert [guests[4]] == [guest for guest in guests if guest.has_gone]


def test_a_flood_of_strangers_makes_room_for_itself():
    """The longest silent of all, whom a flood would drive out, is the one who waits."""
    client = Guest(1, 0.0, is_greeted=False)
    flood = [Guest(2, float(n), is_greeted=False) for n in range(1, 4)]
    assert min([client, *flood], key=lambda guest: guest.last_active) is client
    places = places_with([client, *flood], pending=4)
    for newcomer in (2, 2, 3):
        assert places.has_room(newcomer)
        places.take(Guest(newcomer, 9.0, is_greeted=False))
    assert flood == [guest for guest in [client, *flood] if guest.has_gone]


def test_who_waits_to_be_let_in_goes_and_who_is_looked_at_stays():
    """The naive gate has nobody go that has said Hello, and has no room any more."""
    waiting = [Guest(2, float(n), is_admitted=False) for n in range(3)]
    looked_at = [Guest(2, 0.0, is_admitted=False, is_idle=False) for _ in range(3)]
    alone, client = Guest(1, 0.0, is_admitted=False), Guest(3, 0.0)
    guests = [alone, client, *looked_at, *waiting]
    places = places_with(guests, clients=8, pending=1)
    for newcomer in (4, 2):
        assert places.has_room(newcomer)
        places.take(Guest(newcomer, 9.0))
    assert waiting[:2] == [guest for guest in guests if guest.has_gone]


def test_only_so_many_leave_at_a_time():
    guests = [Guest(1) for _ in range(6)]
    places = places_with(guests, clients=6, reserve=2)
    for uid in (2, 3):
        assert places.has_room(uid)
        places.take(Guest(uid))
    assert not places.has_room(4)
    places.free(next(guest for guest in guests if guest.has_gone))
    assert places.has_room(4)


def test_who_has_gone_leaves_its_place():
    guest = Guest(1)
    places = places_with([guest], clients=1)
    assert not places.has_room(2)
    places.free(guest)
    assert places.has_room(2)
