"""The keys of an issuer, as known by now: fetched, kept, replaced, and given up.

- Keys are used as they are known for some time (`fresh`), then asked for again; who
  needs a key meanwhile and finds it does not wait.
- A key that nobody knows may be new: then they are asked for at once, but not more
  often than each `pause`. A flood of made-up key names is no flood of requests, and
  while an issuer is slow it takes few of the threads on which others come.
- An issuer that does not answer keeps its known keys for `keep` since it last did.
  Then nobody is believed any more.
- What an issuer has taken off its list is believed no more once the list is read.

    keys = IssuerKeys(discovered("https://idp.example", Fetcher()))
    keys = IssuerKeys(from_file("/etc/stead/idp.jwks"))
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from stead.adapters.oidc.compact import CompactToken
from stead.adapters.oidc.fetching import Fetcher, require_https
from stead.adapters.oidc.keys import VerificationKey, fitting, read_keys
from stead.adapters.oidc.strict_json import read_object
from stead.errors import (
    DirectoryUnavailableError,
    EvidenceRefusedError,
    UnsafeConfigurationError,
)
from stead.model.arguments import require_callable

_LARGEST: Final = 262_144
_SHORTEST_FRESH: Final = 60.0
_OTHERS_MAY_WRITE: Final = 0o022
_PATIENCE: Final = 2.0  # seconds; an issuer that is well answers sooner
_MOST_PATIENT: Final = 4


@dataclass(frozen=True, slots=True)
class LoadedKeys:
    """What was read of an issuer's keys.

    Attributes:
        keys: those that verify signatures.
        max_age: seconds for which the issuer says that they are good, or None.
    """

    keys: tuple[VerificationKey, ...]
    max_age: int | None = None


LoadKeys: TypeAlias = Callable[[], LoadedKeys]


@dataclass(frozen=True, slots=True)
class _Known:
    keys: tuple[VerificationKey, ...]
    fresh_until: float
    ends: float


class IssuerKeys:
    """Finds the key that a token names; used by any thread."""

    def __init__(
        self,
        load: LoadKeys,
        *,
        fresh: float = 3_600.0,
        keep: float = 86_400.0,
        pause: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe them; nothing is read before a token asks.

        Args:
            load: reads them anew; waits, and raises DirectoryUnavailableError.
            fresh: seconds after which they are read again; fewer if the issuer says
                so, though not under a minute.
            keep: seconds for which they are used while they cannot be read again.
            pause: seconds between two readings at least.
            monotonic: a clock that nobody sets, in seconds.

        Raises:
            UnsafeConfigurationError: the times contradict one another.
        """
        advice = "write `IssuerKeys(discovered(url, Fetcher()))`, or `from_file(path)`"
        require_callable("load", load, advice)
        if not 0 < pause <= fresh <= keep:
            raise UnsafeConfigurationError(
                "keys are read after `pause`, read again after `fresh`, and given up "
                "after `keep`: each is longer than the one before"
            )
        self._load = load
        self._fresh, self._keep, self._pause = fresh, keep, pause
        self._monotonic = monotonic
        self._reading = Lock()
        self._known: _Known | None = None
        self._next = 0.0  # no reading before
        self._why = "they were never read"
        self._slow_after = math.inf
        self._patient = BoundedSemaphore(_MOST_PATIENT)

    def key_of(self, token: CompactToken) -> VerificationKey:
        """Return the key that a token says it was signed by.

        Raises:
            EvidenceRefusedError: the issuer has no such key.
            DirectoryUnavailableError: it cannot be asked, and its known keys, if there
                are any, are too old.
        """
        known = self._known
        found = None if known is None else fitting(known.keys, token)
        if known is None or found is None or self._monotonic() >= known.fresh_until:
            known = self._read_again(known, waits=found is None)
            found = fitting(known.keys, token)
        if found is None:
            raise EvidenceRefusedError(
                f"the issuer has no key `{token.key_id[:40]!a}` for "
                f"`{token.algorithm[:20]!a}`"
            )
        return found

    def _read_again(self, seen: _Known | None, *, waits: bool) -> _Known:
        """Return what is known by now, after reading it if it is time for that."""
        # Somebody else is reading; who has a key that is good enough goes on with it.
        if waits or self._is_over(seen):
            is_mine = self._turn()
        else:
            is_mine = self._reading.acquire(blocking=False)
        if is_mine:
            try:
                # What somebody else has just read is not read again.
                if self._known is seen and self._monotonic() >= self._next:
                    self._read()
            finally:
                self._reading.release()
        known = self._known
        if known is None or self._is_over(known):
            raise DirectoryUnavailableError(
                f"the issuer's keys are not known: {self._why}",
                advice="see that its discovery document can be fetched from here",
            )
        return known

    def _turn(self) -> bool:
        """Wait for whoever is reading; if that takes long, few others may.

        Whoever makes up names of keys waits too. Who has a key needs a thread to come.
        """
        left = min(self._slow_after - self._monotonic(), _PATIENCE)
        if self._reading.acquire(timeout=max(0.0, left)):
            return True
        if not self._patient.acquire(blocking=False):
            return False
        try:
            return self._reading.acquire()
        finally:
            self._patient.release()

    def _is_over(self, known: _Known | None) -> bool:
        return known is None or self._monotonic() >= known.ends

    def _read(self) -> None:
        self._slow_after = self._monotonic() + _PATIENCE
        try:
            loaded = self._load()
        except (DirectoryUnavailableError, EvidenceRefusedError) as error:
            self._why = str(error)
            return
        finally:
            self._next = self._monotonic() + self._pause
            self._slow_after = math.inf
        now, age = self._monotonic(), loaded.max_age
        fresh = self._fresh if age is None else min(self._fresh, float(age))
        fresh = max(fresh, min(self._fresh, _SHORTEST_FRESH))
        self._known = _Known(loaded.keys, now + fresh, now + self._keep)


def discovered(
    issuer: str, fetcher: Fetcher, *, key_hosts: Collection[str] = ()
) -> LoadKeys:
    """Return what reads an issuer's keys by way of its discovery document.

    Args:
        issuer: its name, which is an HTTPS address (OpenID Connect Discovery 4).
        fetcher: asks for documents.
        key_hosts: other hosts from which it may have its keys fetched.
    """
    require_https(issuer)
    place = issuer.rstrip("/") + "/.well-known/openid-configuration"
    hosts = {urlsplit(issuer).netloc.lower(), *map(str.lower, key_hosts)}

    def load() -> LoadedKeys:
        said = read_object(
            fetcher.get(place).body, largest=_LARGEST, what="a discovery document"
        )
        # Whoever serves the document may be asked for another issuer's (RFC 8414 3.3).
        if said.get("issuer") != issuer:
            raise DirectoryUnavailableError(
                f"`{place}` is of another issuer, `{said.get('issuer')!a:.80}`",
                advice="name the issuer exactly as it writes itself",
            )
        where = _key_place(said, hosts, place)
        found = fetcher.get(where)
        keys = read_object(found.body, largest=_LARGEST, what="a set of keys")
        return LoadedKeys(read_keys(keys), found.max_age)

    return load


def _key_place(said: dict[str, Any], hosts: set[str], place: str) -> str:
    where = said.get("jwks_uri")
    if not isinstance(where, str):
        raise DirectoryUnavailableError(f"`{place}` does not say where the keys are")
    try:
        require_https(where)
    except UnsafeConfigurationError as error:
        raise DirectoryUnavailableError(str(error)) from None
    host = urlsplit(where).netloc.lower()
    if host not in hosts:
        raise DirectoryUnavailableError(
            f"`{place}` says that its keys are at `{host[:80]}`",
            advice="name that host in `key_hosts`, if it is the issuer's",
        )
    return where


def from_file(path: str | os.PathLike[str]) -> LoadKeys:
    """Return what reads an issuer's keys from a file, a JWK set (RFC 7517 5).

    It raises `DirectoryUnavailableError` for a file that is not there, is no such set,
    or that others than its owner may write.
    """

    def load() -> LoadedKeys:
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - one descriptor, looked at
                if os.fstat(file.fileno()).st_mode & _OTHERS_MAY_WRITE:
                    raise DirectoryUnavailableError(
                        f"others may write `{os.fspath(path)}`", advice="chmod go-w it"
                    )
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise DirectoryUnavailableError(
                f"`{os.fspath(path)}` cannot be read: {error.strerror}"
            ) from error
        return LoadedKeys(read_keys(read_object(data, largest=_LARGEST, what="keys")))

    return load
