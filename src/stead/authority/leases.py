"""How long a live session is believed: for a lease at a time ([MS-LSAD], LSA).

Whoever acts in a session has it looked up by its token. Within its lease that asks
nobody; when the lease is over, the store is asked whether somebody ended the session,
and whether its account is what it was. A session that has had its time ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from stead.authority.ceiling import is_within
from stead.authority.fitness import Asking, Fitness
from stead.authority.live_sessions import LiveSessions
from stead.authority.packages import OutboundCredentials
from stead.authority.session import LEASE, Session, expired, unfit
from stead.authority.standing import Standing
from stead.decision.limiting import is_over as grant_is_over
from stead.errors import LogonSessionEndedError
from stead.model.luid import Luid
from stead.model.token import AccessToken


class SessionLeases:
    """The leases of the sessions in a table.

    Args:
        table: the sessions that live.
        fitness: tells whether one may go on.
        ask: asks the store for that, and for not too long.
        clock: nanoseconds since the epoch, UTC.
        monotonic: nanoseconds that never step.
    """

    def __init__(
        self,
        table: LiveSessions,
        fitness: Fitness,
        *,
        ask: Asking,
        clock: Callable[[], int],
        monotonic: Callable[[], int],
    ) -> None:
        self._table = table
        self._live: Final = table.by_id
        self._fitness = fitness
        self._ask = ask
        self._clock = clock
        self._monotonic = monotonic

    def of(self, token: AccessToken) -> Session:
        """Return the live session that a token belongs to.

        Raises:
            LogonSessionEndedError: it has ended, its account was disabled or has lost
                what the session began with, or no session of this server ever made
                such a token: one of another user or other groups, or of more than the
                session began with.
            StoreUnavailableError: the store cannot say whether it is fit.
        """
        session = self._table.find(token)
        if token.limits is not None or session.over is not None:
            self._require_time_left(token, session)
        if session.outer is not None:
            self.of(session.outer.token)
        if (
            self._monotonic() >= session.lease_ends
            or session.epoch != self._table.epoch
        ):
            self._renew(session)
        return session

    def is_up_to_date(self, token: AccessToken) -> bool:
        """Tell whether a new logon would give the client what its session has.

        A session that has ended counts as such: whoever ended it meant it.

        Raises:
            StoreUnavailableError: the store cannot say.
        """
        session = self._live.get(token.logon_id)
        return session is None or self._ask(
            partial(self._fitness.is_up_to_date, session)
        )

    def credentials_of(self, token: AccessToken) -> tuple[OutboundCredentials, ...]:
        """Return what a token's session has to show to other machines.

        A grant's are those of whoever's token was limited.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        return self._of_credentials(token).credentials

    def credentials_session(self, token: AccessToken) -> Luid:
        """Return the number of the session whose credentials a token's session shows.

        What is kept of connections that they opened is kept by it, and ends with it.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        return self._of_credentials(token).record.logon_id

    def ends_at(self, token: AccessToken) -> int | None:
        """Return when a token's session ends by itself, or what it lies within does.

        That is nanoseconds since the epoch, UTC; None for never.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        ends = (session.ends_at for session in self.of(token).outwards())
        return min((end for end in ends if end is not None), default=None)

    def _of_credentials(self, token: AccessToken) -> Session:
        *_, session = self.of(token).outwards(to_credentials=True)
        return session

    def _require_time_left(self, token: AccessToken, session: Session) -> None:
        """End a session that has had its time."""
        now = self._clock()
        is_over = session.is_over(now, self._monotonic())
        if is_over or grant_is_over(session.token, now):
            self._table.end(session.record.logon_id)
        elif not grant_is_over(token, now):
            return
        raise expired(token)

    def require_live(self, token: AccessToken) -> None:
        """Return if the token's session lives; raises as `of` does."""
        self.of(token)

    def standing(self, token: AccessToken) -> Standing | None:
        """Return what tells for how long a token's session is believed; asks nobody.

        Returns:
            None if `of` looks at more than the session's lease: it lies within another
            one, or the token has limits. None too if it does not live.
        """
        session = self._live.get(token.logon_id)
        if session is None or session.outer is not None or token.limits is not None:
            return None
        if not is_within(token, session.token):
            return None
        return Standing(session, self._clock, self._monotonic)

    def hold(self, token: AccessToken, by: object = None) -> None:
        """Keep the token's session alive until `release`.

        Args:
            token: whose session.
            by: who holds it, by which an interrupted hold can be undone; None for
                somebody who counts by itself.

        Raises:
            LogonSessionEndedError, StoreUnavailableError: as `of` does.
        """
        self._table.hold(self.of(token), token, by)

    def end_overdue(self) -> None:
        """End the sessions that have had their time, whether or not they are used."""
        self._table.end_overdue(self._clock(), self._monotonic())

    def expire(self) -> None:
        """End every lease: what was just changed in the store counts at once."""
        self._table.expire()

    def _renew(self, session: Session) -> None:
        # Read before the store is: a change from here on expires this lease too.
        epoch, begins = self._table.epoch, self._monotonic()
        try:
            generation = self._ask(partial(self._fitness.renew, session))
        except LogonSessionEndedError:
            self._table.end(session.record.logon_id)
            raise
        if generation is None:
            self._table.end(session.record.logon_id)
            raise unfit(session.record.name)
        self._table.renew(session, generation, epoch, begins + LEASE)
