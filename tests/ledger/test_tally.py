"""Counting from anywhere."""

from __future__ import annotations

import threading

from stead.ledger.tally import Tally


def test_reading_does_not_count():
    tally = Tally()
    tally.add()
    assert [1, 1, 1] == [tally.total() for _ in range(3)]


def test_many_threads_lose_no_step():
    tally = Tally()
    threads = [
        threading.Thread(target=lambda: [tally.add() for _ in range(2000)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tally.total()
    for thread in threads:
        thread.join()
    assert 16_000 == tally.total()
