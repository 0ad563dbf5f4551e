"""Many descriptors at once: the answers of `is_granted`, one by one."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies, strategies_full
from tests.decision.cases import (
    ALICE,
    BOB,
    DENY_ONLY,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    SYSTEM_SECURITY,
    WRITE,
    WRITE_DAC,
    WRITE_OWNER,
    allow,
    deny,
    guarded,
    label,
    token,
)

from stead.decision import many as room
from stead.decision.fast import is_granted
from stead.decision.many import Shelf, many
from stead.errors import (
    BadImpersonationLevelError,
    GenericNotMappedError,
    InvalidAccessMaskError,
    InvalidSecurityDescriptorError,
    SteadError,
)
from stead.model.acl import NULL_DACL, Acl
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel, TokenGroup
from stead.model.well_known import HIGH_LEVEL, LOW_LEVEL, OWNER_RIGHTS


def one_by_one(who, descriptors, desired, mapping):
    answers = []
    for descriptor in descriptors:
        try:
            answers.append(is_granted(who, descriptor, desired, mapping))
        except InvalidSecurityDescriptorError:
            answers.append(False)
    return answers


def holds(who, descriptors, desired, mapping):
    """Check both doors, unless the question itself is refused by each."""
    shelf = Shelf(descriptors, mapping)
    try:
        found = many(who, descriptors, desired, mapping)
    except SteadError as error:
        with pytest.raises(type(error)):
            shelf.granted(who, desired)
        with pytest.raises(type(error)):
            is_granted(who, guarded(), desired, mapping)
        return
    assert one_by_one(who, descriptors, desired, mapping) == found
    assert found == shelf.granted(who, desired)


PLAIN = {
    "who": strategies.tokens(),
    "descriptors": st.lists(strategies.descriptors(), max_size=8),
    "desired": strategies.desires(),
    "mapping": strategies.mappings(),
}
FULL = {
    "who": strategies_full.tokens(),
    "descriptors": st.lists(strategies_full.descriptors(), max_size=4),
    "desired": strategies.desires(),
    "mapping": strategies_full.mappings(),
}


@given(**PLAIN)
def test_many_plain_descriptors_are_answered_like_each(**question):
    holds(**question)


@given(**FULL)
def test_many_descriptors_of_any_kind_are_answered_like_each(**question):
    holds(**question)


@given(**PLAIN)
def test_the_reference_of_the_native_steps_answers_the_same(**question):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "settle", room.pure_settle)
        patch.setattr(room, "answers", room.pure_answers)
        holds(**question)


LISTS = [
    guarded(allow(ALICE, READ)),
    guarded(allow(ALICE, READ), allow(ALICE, READ | WRITE)),
    guarded(deny(INTERNS, READ), allow(ALICE, READ | WRITE)),
    guarded(allow(INTERNS, READ), deny(ALICE, READ), allow(ALICE, WRITE)),
    guarded(allow(OWNER_RIGHTS, READ), allow(BOB, WRITE), owner=ALICE),
    guarded(allow(BOB, WRITE), owner=ALICE),
    guarded(deny(ALICE, WRITE_DAC), owner=ALICE),
    guarded(allow(ALICE, WRITE), owner=INTERNS),
    guarded(dacl=NULL_DACL),
    guarded(allow(ALICE, WRITE), sacl=Acl((label(HIGH_LEVEL, 1),))),
    guarded(allow(ALICE, 1 << 28)),
    guarded(allow(ALICE, SYSTEM_SECURITY | READ)),
    guarded(deny(ALICE, SYSTEM_SECURITY), allow(ALICE, READ)),
    guarded(allow(BOB, 1), deny(BOB, 1), allow(BOB, 1), allow(ALICE, READ)),
]
ASKERS = {
    "anybody": token(),
    "member": token(INTERNS),
    "deny only": token(TokenGroup(INTERNS, DENY_ONLY)),
    "restricted": token(INTERNS, restricting_sids=(INTERNS,)),
    "write-restricted": token(restricting_sids=(BOB,), is_write_restricted=True),
    "low": token(integrity=LOW_LEVEL),
    "privileged": token(privileges=[Privilege.SECURITY, Privilege.TAKE_OWNERSHIP]),
    "contained": token(package=Sid.from_string("S-1-15-2-1-2-3")),
}
RIGHTS = (0, READ, WRITE, READ | WRITE, WRITE_DAC, WRITE_OWNER, SYSTEM_SECURITY)


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("desired", [*RIGHTS, MAXIMUM, MAXIMUM | READ])
def test_lists_of_each_kind_are_answered_like_each(asker, desired):
    holds(ASKERS[asker], LISTS, desired, MAPPING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "settle", room.pure_settle)
        patch.setattr(room, "answers", room.pure_answers)
        holds(ASKERS[asker], LISTS, desired, MAPPING)


def test_answers_come_in_the_order_of_the_descriptors():
    shelf = Shelf([guarded(), guarded(allow(ALICE, READ)), guarded()], MAPPING)
    assert 3 == len(shelf)
    assert [False, True, False] == shelf.granted(token(), READ)


def test_rights_may_come_from_several_entries_and_layers():
    first = guarded(allow(ALICE, READ), deny(ALICE, READ), allow(ALICE, WRITE))
    second = guarded(deny(ALICE, WRITE), allow(ALICE, READ | WRITE))
    shelf = Shelf([first, second], MAPPING)
    assert [True, False] == shelf.granted(token(), READ | WRITE)
    assert [True, True] == shelf.granted(token(), READ)


def test_an_owner_for_whom_an_entry_speaks_is_judged_one_by_one():
    spoken = guarded(allow(OWNER_RIGHTS, READ), owner=ALICE)
    shelf = Shelf([spoken, replace(spoken, owner=BOB)], MAPPING)
    assert [True, False] == shelf.granted(token(), READ)


def test_a_descriptor_that_cannot_be_judged_grants_nothing():
    nameless = replace(guarded(allow(ALICE, READ)), owner=None)
    asked = [nameless, guarded(allow(ALICE, READ))]
    assert [False, True] == many(token(), asked, READ, MAPPING)
    assert [False, True] == Shelf(asked, MAPPING).granted(token(), READ)


@pytest.mark.parametrize(
    ("who", "desired", "error"),
    [
        (token(), -1, InvalidAccessMaskError),
        (token(), 1 << 31, GenericNotMappedError),
        (
            replace(token(), level=ImpersonationLevel.ANONYMOUS),
            READ,
            BadImpersonationLevelError,
        ),
    ],
)
def test_a_question_that_is_wrong_in_itself_is_refused(who, desired, error):
    with pytest.raises(error):
        many(who, [], desired, MAPPING)
    with pytest.raises(error):
        Shelf([], MAPPING).granted(who, desired)


def test_who_holds_many_groups_is_answered_alike():
    groups = tuple(TokenGroup(BOB.with_rid(n)) for n in range(300))
    who = AccessToken(ALICE, groups)
    lists = [guarded(allow(BOB.with_rid(n), READ)) for n in (0, 299, 300)]
    assert [True, True, False] == Shelf(lists, MAPPING).granted(who, READ)


def test_the_same_descriptor_twice_is_answered_twice():
    one: SecurityDescriptor = guarded(allow(ALICE, READ))
    assert [True, True] == many(token(), iter([one, one]), READ, MAPPING)


def test_what_is_denied_where_it_is_missing_stays_missing():
    missing = array("I", [READ, READ | WRITE, WRITE])
    places = array("I", [0, 2])
    room.pure_settle(missing, places, READ, grants=False)
    room.pure_settle(missing, places, READ | WRITE, grants=True)
    assert [MAXIMUM, READ | WRITE, 0] == missing.tolist()
    assert [False, False, True] == room.pure_answers(missing)
