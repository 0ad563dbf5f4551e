"""What is kept of what was read lately."""

from __future__ import annotations

from stead.codec import ace_binary, binary, sddl, sddl_entries
from stead.codec.keeping import Kept
from stead.model.ace import Place

MOST = 4


def full():
    """Return a table in which as much is kept as fits, and the keys of that."""
    kept = Kept(MOST)
    for key in [*range(MOST), *range(MOST)]:
        kept.offer(key, str(key))
    return kept, [key for key in range(MOST) if kept.get(key)]


def test_what_is_read_twice_is_kept():
    kept = Kept(MOST)
    found = []
    for _ in range(3):
        found.append(kept.get("a"))
        kept.offer("a", "value")
    assert found == [None, None, "value"]


def test_so_many_are_kept_and_no_more():
    kept, keys = full()
    assert keys == [*range(MOST)]
    for _ in range(2):
        kept.offer("one more", "value")
    assert [None] * MOST == [kept.get(key) for key in keys]
    assert kept.get("one more") == "value"


def test_so_many_are_remembered_and_no_more():
    kept = Kept(MOST)
    for key in ["first", *range(MOST), "first"]:
        kept.offer(key, "value")
    assert kept.get("first") is None
    kept.offer("first", "value")
    assert kept.get("first") == "value"


def test_everything_can_be_forgotten():
    kept, keys = full()
    kept.clear()
    kept.offer(keys[0], "value")
    assert [None] * MOST == [kept.get(key) for key in keys]


def test_what_strangers_send_cannot_grow_without_end():
    assert isinstance(binary._known_descriptors, Kept)
    assert isinstance(ace_binary._known_aces, Kept)
    assert isinstance(sddl._known_texts, Kept)
    for place in Place.DACL, Place.SACL:
        letters = "A" if place is Place.DACL else "AU"
        for mask in range(sddl_entries._KEPT_HEADS + 2):
            sddl.read_sddl(f"{place.name[0]}:({letters};;{mask:#x};;;WD)")
            assert len(sddl_entries._known_in(place)) <= sddl_entries._KEPT_HEADS
        assert f"{letters};;{mask:#x}" in sddl_entries._known_in(place)
