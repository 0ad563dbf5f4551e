"""Descriptors of named objects in a store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stead.adapters.store import Store
from stead.authority.ports import StoredObject
from stead.errors import InvalidNameError, StaleVersionError, UnknownObjectError

PLAN = StoredObject("plan", "Doc", {"READ": 1, "WRITE": 2}, b"\x01\x00\xff")


@pytest.fixture
def objects(store):
    return store.objects


def test_an_object_is_kept_and_found_by_its_exact_name(objects):
    assert PLAN == objects.add_object(PLAN)
    assert PLAN == objects.object_by_name("plan")
    assert objects.object_by_name("PLAN") is None
    assert objects.object_by_name("\udc80") is None


def test_the_object_that_is_there_wins(objects):
    objects.add_object(PLAN)
    later = StoredObject("plan", "Other", {}, b"")
    assert PLAN == objects.add_object(later)
    assert (PLAN,) == objects.objects()


def test_a_descriptor_is_replaced_once_for_each_version(objects):
    objects.add_object(PLAN)
    changed = objects.set_object_descriptor("plan", b"new", version=1)
    assert StoredObject("plan", "Doc", PLAN.rights, b"new", 2) == changed
    assert changed == objects.object_by_name("plan")
    with pytest.raises(StaleVersionError):
        objects.set_object_descriptor("plan", b"other", version=1)
    assert changed == objects.object_by_name("plan")


@pytest.mark.parametrize("name", ["plan", "x\0y", "\udc80"])
def test_an_object_that_is_not_there_has_no_descriptor_to_replace(objects, name):
    with pytest.raises(UnknownObjectError):
        objects.set_object_descriptor(name, b"", version=1)


@pytest.mark.parametrize("name", ["x\0y", "\udc80"])
def test_a_name_that_no_database_can_hold_is_refused(objects, name):
    with pytest.raises(InvalidNameError):
        objects.add_object(StoredObject(name, "Doc", {}, b""))
    with pytest.raises(InvalidNameError):
        objects.add_object(StoredObject("plan", name, {}, b""))


def test_objects_are_listed_by_name(objects):
    for name in ("b", "a", "Z", "ä", "\U0001f600"):
        objects.add_object(StoredObject(name, "Doc", {}, b""))
    assert ["Z", "a", "b", "ä", "\U0001f600"] == [one.name for one in objects.objects()]


CHANGE = """
import sys
from stead.adapters.store import Store
from stead.errors import StaleVersionError
objects = Store.open(sys.argv[1]).objects
for _ in range(30):
    while True:
        seen = objects.object_by_name("plan")
        number = int(seen.descriptor) + 1
        try:
            objects.set_object_descriptor("plan", b"%d" % number, version=seen.version)
        except StaleVersionError:
            continue
        break
"""


def test_no_change_of_two_processes_is_overwritten_unseen(place, run_program):
    with Store.open(place) as store:
        store.objects.add_object(StoredObject("plan", "Doc", {}, b"0"))
        changing = [run_program(CHANGE, place) for _ in range(2)]
        assert ["", ""] == [one.communicate(timeout=120)[1] for one in changing]
        kept = store.objects.object_by_name("plan")
    assert (b"60", 61) == (kept.descriptor, kept.version)


def test_a_mapping_of_its_own_is_kept(store):
    own = replace(PLAN, name="own", mapping=(0x20001, 0x20002, 0x20000, 0xF0003))
    store.objects.add_object(own)

    assert own == store.objects.object_by_name("own")
