"""A pytest plugin: a test that leaks an identity fails, and is told where it entered.

It is there once Stead is installed. A test that leaks on purpose says so:

    @pytest.mark.leaks_identity
    def test_an_abandoned_block(): ...

and may ask for the fixture `identity_leaks`, which returns what has leaked so far. The
option `stead_leaks = false` in pytest's configuration turns it off.

Fixtures give what clients log on to and what servers reach: `kerberos_realm` a realm
of the test's own (`stead.testing.realm`), `delegating_realm` one whose services act for
others (`stead.testing.directory_realm`), `active_directory` the run's domain of that
kind (`stead.testing.domain`), `oidc_issuer` an issuer of tokens
(`stead.testing.issuer`), `private_postgres` a database (`stead.testing.postgres`),
`private_file_server` a file server in no domain (`stead.testing.file_server`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from stead.monitor import context
from stead.monitor.leaks import Leak, LeakWatch

if TYPE_CHECKING:
    from stead.testing.directory_realm import DirectoryRealm
    from stead.testing.domain import Domain
    from stead.testing.file_server import FileServer
    from stead.testing.issuer import PrivateIssuer
    from stead.testing.postgres import Postgres
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


@pytest.fixture
def delegating_realm() -> Iterator[DirectoryRealm]:
    """Give a realm that knows to whom services delegate; it ends with the test."""
    from stead.testing.directory_realm import (  # noqa: PLC0415 - few tests need one
        DirectoryRealm,
    )

    with DirectoryRealm() as realm:
        yield realm


@pytest.fixture(scope="session")
def active_directory() -> Iterator[Domain]:
    """Give the run's Active Directory domain; see `stead.testing.domain`.

    It is there until the run ends, with what every test did to it: add accounts of
    your own names, and leave those as they are that others know.
    """
    from stead.testing.domain import Domain  # noqa: PLC0415 - few tests need one

    with Domain() as domain:
        yield domain


@pytest.fixture
def private_postgres() -> Iterator[Postgres]:
    """Give a PostgreSQL whose roles have passwords; see `stead.testing.postgres`."""
    from stead.testing.postgres import Postgres  # noqa: PLC0415 - few tests need one

    with Postgres() as database:
        yield database


@pytest.fixture
def private_file_server() -> Iterator[FileServer]:
    """Give a file server in no domain; see `stead.testing.file_server`."""
    from stead.testing.file_server import (  # noqa: PLC0415 - few tests need one
        FileServer,
    )

    with FileServer() as files:
        yield files


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
