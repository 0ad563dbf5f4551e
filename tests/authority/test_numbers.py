"""Numbers of sessions: each is given out once, whoever takes them at once."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from stead.adapters.store import Store
from stead.authority.numbers import Numbers
from stead.errors import StoreUnavailableError


class Asked:
    """A store that counts how often it is asked for numbers."""

    def __init__(self, store):
        self._store = store
        self.times = 0

    def __getattr__(self, name):
        self.times += 1
        return getattr(self._store, name)


def test_many_numbers_are_asked_for_at_once_and_each_is_given_out_once(store):
    asked = Asked(store)
    one, other = Numbers(asked), Numbers(asked)
    taken = [numbers.take() for numbers in (one, other) * 100]
    assert 200 == len(set(taken))
    assert asked.times < 20
    assert store.allocate_luid() not in taken


def test_threads_that_take_numbers_at_once_share_none(store):
    numbers, taken = Numbers(store), []
    threads = [
        threading.Thread(
            target=lambda: taken.extend([numbers.take() for _ in range(300)])
        )
        for _ in range(8)
    ]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join(240)
    finally:
        sys.setswitchinterval(switch)
    assert 2400 == len(set(taken)) == len(taken)


def test_a_forked_process_gives_out_none_of_its_parents(tmp_path):
    """A naive one, that only looks at what is ready, gives out what the parent will."""
    tmp_path.chmod(0o700)
    with Store.open(tmp_path / "store.db", create=True) as opened:
        numbers = Numbers(opened.accounts)
        numbers.take()
        read, write = os.pipe()
        child = os.fork()
        if not child:
            naive = numbers._ready.popleft()
            try:
                numbers.take()
                said = "took one"
            except StoreUnavailableError:
                said = "refused"
            os.write(write, f"{int(naive)} {said}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        naive, said = os.read(read, 100).decode().split(" ", 1)
        os.close(read)
        os.close(write)
        assert int(naive) == int(numbers.take())
        assert "refused" == said


def test_a_store_that_cannot_be_asked_gives_none(whole_store):
    numbers = Numbers(whole_store.accounts)
    whole_store.close()
    with pytest.raises(StoreUnavailableError):
        numbers.take()
