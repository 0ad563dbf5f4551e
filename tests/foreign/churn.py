"""A pytest plugin: while each test runs, threads of a pool enter and leave blocks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stead import AccessToken, Sid, carry, impersonate
from stead.monitor.effective import effective_token

USERS = tuple(
    AccessToken(Sid.from_string(f"S-1-5-21-1-2-3-{number}")) for number in range(3)
)


@pytest.fixture(autouse=True)
def _churn(_watched_identities: object) -> Iterator[None]:
    """Act as several users on other threads as long as the test runs."""
    ended = threading.Event()

    def work(pool: ThreadPoolExecutor, token: AccessToken) -> None:
        while not ended.wait(0.001):
            with impersonate(token):
                carried = pool.submit(carry(effective_token))
                if carried.result() is not token:
                    raise AssertionError("a carried function was somebody else")

    with ThreadPoolExecutor(len(USERS)) as pool, ThreadPoolExecutor(1) as other:
        items = [pool.submit(work, other, token) for token in USERS]
        yield
        ended.set()
        for item in items:
            item.result()
