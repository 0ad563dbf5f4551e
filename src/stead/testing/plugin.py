"""A pytest plugin: a test that leaks an identity fails, and is told where it entered.

It is there once Stead is installed. A test that leaks on purpose says so:

    @pytest.mark.leaks_identity
    def test_an_abandoned_block(): ...

and may ask for the fixture `identity_leaks`, which returns what has leaked so far. The
option `stead_leaks = false` in pytest's configuration turns it off.

The fixture `kerberos_realm` gives a Kerberos realm of the test's own (`realm`), and
`oidc_issuer` an OpenID Connect issuer (`issuer`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from stead.monitor import context
from stead.monitor.leaks import Leak, LeakWatch

if TYPE_CHECKING:
    from stead.testing.issuer import PrivateIssuer
    from stead.testing.realm import Realm

_MARK = "leaks_identity"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that turns the watch off."""
    parser.addini(
        "stead_leaks",
        "fail a test that leaves an identity of Stead's in force",
        type="bool",
        default=True,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Explain the mark."""
    config.addinivalue_line(
        "markers", f"{_MARK}: leaves an identity of Stead's in force on purpose"
    )


@pytest.fixture
def identity_leaks(
    _watched_identities: tuple[LeakWatch, list[Leak]],
) -> Callable[[], tuple[Leak, ...]]:
    """Give what returns the identities that have leaked in this test, looking now."""
    watch, leaks = _watched_identities

    def look() -> tuple[Leak, ...]:
        _settle(watch)
        return tuple(leaks)

    return look


@pytest.fixture
def kerberos_realm() -> Iterator[Realm]:
    """Give a Kerberos realm that ends with the test; see `stead.testing.realm`."""
    from stead.testing.realm import Realm  # noqa: PLC0415 - few tests need one

    with Realm() as realm:
        yield realm


@pytest.fixture
def oidc_issuer() -> Iterator[PrivateIssuer]:
    """Give an issuer of tokens that ends with the test; see `stead.testing.issuer`."""
    from stead.testing.issuer import PrivateIssuer  # noqa: PLC0415 - few tests need one

    with PrivateIssuer() as issuer:
        yield issuer


@pytest.fixture(autouse=True)
def _watched_identities(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[LeakWatch, list[Leak]]]:
    """Watch one test, and fail it for what leaks in it."""
    leaks: list[Leak] = []
    begun = context.raw_frame()
    with LeakWatch(leaks.append) as watch:
        yield watch, leaks
        watch.ended(begun, "was in force when the test ended")
        is_meant = request.node.get_closest_marker(_MARK) is not None
        if is_meant:
            gc.collect()  # what it leaks is found in it, and not in the next one
        _settle(watch)
    if leaks and not is_meant and request.config.getini("stead_leaks"):
        pytest.fail("\n".join(f"leaked: {leak}" for leak in leaks), pytrace=False)


def _settle(watch: LeakWatch) -> None:
    """Find what is forgotten in cycles, if anything is open at all."""
    if watch.frames():
        gc.collect()
    watch.sweep()
