"""Holding a logon session as long as something acts in it."""

from __future__ import annotations

from stead.model.token import AccessToken
from stead.monitor import context
from stead.monitor.ports import SessionLiveness


class Hold:
    """One hold of a session, which an interrupt neither loses nor takes twice."""

    __slots__ = ("_liveness", "_name", "_process", "_token")

    def __init__(self, liveness: SessionLiveness, token: AccessToken) -> None:
        self._liveness = liveness
        self._token = token
        self._name = object()
        self._process = context.this_process()

    def take(self) -> None:
        """Hold the session; raises as `SessionLiveness.hold` does."""
        self._liveness.hold(self._token, self._name)

    def retain(self) -> None:
        """Hold what is known of it; raises as `SessionLiveness.retain` does."""
        self._liveness.retain(self._token, self._name)

    def release(self) -> None:
        """Give it up, in the process that has it; again does nothing.

        In a forked one a lock that was held at the fork is held for ever.
        """
        if self._process == context.this_process():
            self._liveness.release(self._token.logon_id, self._name)


class SharedHold:
    """One hold that several have; the last who lets go of this object gives it up."""

    __slots__ = ("_hold",)

    def __init__(self, hold: Hold) -> None:
        """Share a hold that is taken; it belongs to this from here on."""
        self._hold = hold

    def release(self) -> None:
        """Let the others have it: it is given up when nobody refers to it."""

    def __del__(self) -> None:
        self._hold.release()
