"""Who is at the other end of a connection: as they were when they came, or as they are.

Win32: static and dynamic identity tracking. A session is the ceiling of its tokens and
never grows, so a client that is followed gets another session when its account has
gained something; whoever acts in the one before goes on in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from stead.authority.sessions import Sessions
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.server.client_context import ClientContext


class Visitor:
    """The client of one connection.

    Args:
        client: as it was admitted.
        stated: what it lets be done with its identity.
        admit: admits it again; raises as admitting does.
        sessions: knows whether its account has gained anything.
    """

    def __init__(
        self,
        client: ClientContext,
        stated: QualityOfService,
        admit: Callable[[], ClientContext],
        sessions: Sessions,
    ) -> None:
        self._client = client
        self._stated = stated
        self._admit = admit
        self._sessions = sessions
        self._lock = threading.Lock()

    @property
    def account(self) -> str:
        """The account's name."""
        return self._client.name

    @property
    def quality(self) -> QualityOfService:
        """What was granted; never more than was stated."""
        return replace(self._stated, level=self._client.level)

    def now(self) -> ClientContext:
        """Return the client as the next request is to see it; may ask the store.

        Raises:
            LogonFailureError: it would be admitted no more; recorded.
            StoreUnavailableError: the store cannot say what its account has.
        """
        if self._stated.tracking is Tracking.STATIC:
            return self._client
        with self._lock:
            if not self._sessions.is_up_to_date(self._client.token):
                # The one before is let go by the last request that holds it.
                self._client = self._admit()
            return self._client

    def leave(self) -> None:
        """Let go of the client's session; no request may be at work any more."""
        self._client.close()
