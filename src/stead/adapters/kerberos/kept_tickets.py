"""Where one client's tickets lie, how they are renewed, and how they end.

A cache's tickets cannot be replaced in one step, so renewed ones lie in another; what
was made of those before lives until its own end, and that cache no longer. Work that is
longer than one ticket's life has a thread that renews them.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from typing import Final

import krb5

from stead.adapters.kerberos import caches
from stead.adapters.kerberos.causes import new_context, refused_outbound
from stead.adapters.patience import Patience
from stead.errors import (
    CredentialsExpiredError,
    DirectoryUnavailableError,
    NoCredentialsError,
    SteadError,
)

_ENDED: Final = 2.0  # seconds after which no clock takes a ticket that has ended
_SECONDS_TO_LOOK: Final = 60.0  # after which a pause is measured anew
_LAST_TRY: Final = 0.05  # of a second: no renewal is tried more often
_UNREADABLE: Final = 0.5  # seconds: nor is it looked whether the library can be asked


class KeptTickets:
    """The caches of one client's tickets; wiped when closed, or forgotten.

    Attributes:
        is_constrained: whether they are the server's, and not the client's own.
    """

    def __init__(self, principal: str, cache: str, patience: Patience) -> None:
        """Take a cache over.

        Args:
            principal: whose tickets they are, with its realm.
            cache: a MEMORY cache that nobody else knows.
            patience: for how long the realm is waited for.
        """
        # To wipe with, which has to work whatever has become of `krb5.conf`; by who
        # holds the lock, or when nobody is left.
        self._library: Final = new_context()
        self._principal: Final = principal
        self._patience: Final = patience
        self.is_constrained: Final = not caches.has_own_ticket(cache)
        # The last one counts.
        self._caches: Final = [cache]
        self._process: Final = os.getpid()
        # Re-entrant: a finalizer may close this on a thread that holds it.
        self._lock: Final = threading.RLock()
        self._renewing: Final = threading.Lock()
        self._attended_until = 0.0
        self._ended: Final = threading.Event()
        self._wipe: Final = weakref.finalize(
            self, _wipe, self._caches, self._library, self._process, self._ended
        )
        self._wipe.atexit = False  # the process's memory ends with it

    def cache(self) -> str:
        """Return the cache that counts by now.

        Raises:
            NoCredentialsError: they are closed, or of another process.
        """
        if self._ended.is_set() or os.getpid() != self._process:
            raise NoCredentialsError(
                f"the credentials of `{self._principal}` are closed",
                advice="they end with their session, and belong to its process alone",
            )
        return self._caches[-1]

    def renew_for(self, seconds: float) -> None:
        """See to it that they last, before work is begun that needs them.

        Tickets that end sooner are renewed, and again while the work goes on; a thread
        attends to that. Those that somebody delegated are renewed like others.

        Args:
            seconds: how long the work takes.

        Raises:
            CredentialsExpiredError: they end before, and renewals do not reach.
            DirectoryUnavailableError: no KDC answers.
            NoCredentialsError: they are closed, or of another process.
        """
        until = time.time() + seconds
        ticket = caches.ticket_of(self.cache())
        if ticket.ends >= until:
            return
        # The server's own ticket, in constrained ones, is not its client's to renew.
        reach = 0 if self.is_constrained else ticket.renewable_until
        if reach < until or ticket.ends <= time.time():
            raise CredentialsExpiredError(
                f"the tickets of `{self._principal}` do not last for {seconds:.0f} s",
                advice="the realm sets their life; renewable ones can be renewed",
            )
        # At once, so that what cannot be done is known now.
        self._renew()
        self._attend(until)

    def close(self) -> None:
        """Wipe them; again does nothing."""
        with self._lock:
            self._wipe()

    # --- within -------------------------------------------------------------------

    def _renew(self) -> None:
        """Get renewed tickets, into another cache; nobody waits for this to close."""
        with self._renewing:
            try:
                made = self._patience.ask(
                    self._principal.rpartition("@")[2],
                    partial(caches.renewed, self.cache()),
                    caches.destroy,
                )
            except krb5.Krb5Error as error:
                act = f"the tickets of `{self._principal}` are renewed"
                raise refused_outbound(error, act) from error
            with self._lock:
                if self._ended.is_set():
                    caches.destroy(made, self._library)
                self.cache()
                self._caches.append(made)  # first of all: whatever is there is wiped
                self._forget_ended()
                if self._ended.is_set():  # by such a finalizer, which saw no such cache
                    caches.destroy(made, self._library)

    def _forget_ended(self) -> None:
        """Wipe what the renewals before this one have left, with the lock held."""
        moment = time.time() - _ENDED
        for cache in self._caches[:-2]:
            if _ends(cache) <= moment:
                caches.destroy(cache, self._library)
                self._caches.remove(cache)

    def _attend(self, until: float) -> None:
        """Have a thread renew them while work goes on, if once is not enough."""
        with self._lock:
            is_attended = self._attended_until > time.time()
            ends = caches.ticket_of(self.cache()).ends
            if ends >= until:
                return
            self._attended_until = max(until, self._attended_until)
            if is_attended:
                return
        told = (weakref.ref(self), self._ended, _half(ends))
        try:
            threading.Thread(
                target=_attend, args=told, daemon=True, name="stead-renewing"
            ).start()
        except BaseException:  # nobody attends: whoever asks next must not rely on it
            self._attended_until = 0.0
            raise

    def _renew_after(self, pause: float) -> float:
        """Renew them, unless there is a pause left; return the pause from now on.

        One that was measured while the clock was behind is longer than they last.
        """
        if not pause:
            return self._renew_if_due()
        return min(pause, _half(caches.ticket_of(self.cache()).ends))

    def _renew_if_due(self) -> float:
        """Renew them in the second half of their life; return when to look again.

        Zero is never: the work is over, or it is too late.
        """
        ticket = caches.ticket_of(self.cache())
        ends = ticket.ends
        with self._lock:
            if ends >= self._attended_until or ends <= time.time():
                self._attended_until = 0.0
                return 0.0
        if ticket.renewable_until > ticket.ends:
            # A KDC that does not answer now, or refuses, may do so later; the end is
            # the end.
            with suppress(SteadError):
                self._renew()
                ends = caches.ticket_of(self.cache()).ends
        return _half(ends)


def _attend(
    attended: weakref.ref[KeptTickets], ended: threading.Event, pause: float
) -> None:
    """Renew somebody's tickets until the work is over or they are closed."""
    while pause and not ended.wait(step := min(pause, _SECONDS_TO_LOOK)):
        kept = attended()
        if kept is None:
            return
        try:
            pause = kept._renew_after(pause - step)  # noqa: SLF001 - its own thread
        except DirectoryUnavailableError:
            # The library's configuration may be one that somebody has half edited.
            pause = max(pause / 2, _UNREADABLE)
        except SteadError:
            kept._attended_until = 0.0  # noqa: SLF001 - likewise
            return
        del kept


def _ends(cache: str) -> float:
    """Return when a cache's ticket ends; long ago if it has none.

    Never, if that cannot be looked at now.
    """
    try:
        return caches.ticket_of(cache).ends
    except NoCredentialsError:
        return 0.0
    except DirectoryUnavailableError:
        return math.inf


def _half(ends: float) -> float:
    """Return the seconds of half the time until then, in which to try again."""
    return max((ends - time.time()) / 2, _LAST_TRY)


def _wipe(
    held: list[str], library: krb5.Context, process: int, ended: threading.Event
) -> None:
    """Wipe the caches of credentials that are closed or forgotten."""
    ended.set()
    # A forked process does not touch the library, whose locks others may have held.
    if os.getpid() == process:
        for cache in held:
            caches.destroy(cache, library)
