"""What is kept on the store's disk for administrators."""

from __future__ import annotations

import os
import stat

import pytest

from stead.adapters.store import Store
from stead.adapters.store.reserve import PIECE, Reserve
from stead.errors import UnsafeStoreError
from stead.ledger.ports import NoRoom

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def make(tmp_path):
    """Give what makes a reserve of so many bytes; each is closed at the end."""
    made = []

    def one(size):
        made.append(Reserve(tmp_path / "store.db", size))
        return made[-1]

    yield one
    for reserve in made:
        reserve.close()
        reserve.close()


def test_it_takes_its_room_when_it_is_refilled_and_gives_it_in_pieces(make, tmp_path):
    reserve = make(2 * PIECE + 1)
    file = tmp_path / "store.db-reserve"
    assert not reserve.is_whole()
    assert reserve.refill()
    assert reserve.is_whole()
    assert 512 * file.stat().st_blocks >= 2 * PIECE
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert [True] * 3 + [False] == [reserve.release() for _ in range(4)]
    assert 0 == file.stat().st_blocks
    assert not reserve.is_whole()


def test_another_process_sees_what_was_given_away(make):
    ours, theirs = make(PIECE), make(PIECE)
    assert ours.refill()
    assert theirs.is_whole()
    theirs.release()
    assert not ours.is_whole()


@pytest.mark.root
@needs_root
def test_it_takes_nothing_of_a_disk_that_has_less(small_disk):
    reserve = Reserve(small_disk / "store.db", PIECE // 2)
    assert not reserve.refill()
    assert 0 == (small_disk / "store.db-reserve").stat().st_size
    reserve.close()


@pytest.mark.root
@needs_root
def test_what_could_not_be_taken_whole_is_not_taken_in_part(small_disk, monkeypatch):
    status = os.statvfs("/")
    monkeypatch.setattr(os, "fstatvfs", lambda _: status)
    reserve = Reserve(small_disk / "store.db", 4 * PIECE)
    assert not reserve.refill()
    assert 0 == (small_disk / "store.db-reserve").stat().st_size
    reserve.close()


def test_a_link_in_its_place_is_not_followed(tmp_path):
    target = tmp_path / "somebody's"
    target.write_text("precious")
    (tmp_path / "store.db-reserve").symlink_to(target)
    with pytest.raises(UnsafeStoreError, match="cannot be opened") as caught:
        Reserve(tmp_path / "store.db", PIECE)
    assert caught.value.advice
    assert "precious" == target.read_text()


def test_a_store_in_memory_and_one_that_keeps_nothing_have_no_room(place):
    with Store.open(":memory:") as store:
        assert isinstance(store.reserve(PIECE), NoRoom)
    with Store.open(place) as store:
        room = store.reserve(0)
        assert [True, True, False] == [
            room.is_whole(), room.refill(), room.release()
        ]  # fmt: skip
        room.close()
