"""What both clients of the pipe know once a server has admitted them."""

from __future__ import annotations

from stead.errors import ServerClosedError
from stead.gates.pipe.messages import Welcome, level_of, quality_of
from stead.model.quality_of_service import QualityOfService
from stead.model.token import ImpersonationLevel


class Admitted:
    """A client by the words of the server's Welcome, when that has come."""

    def __init__(self) -> None:
        self._welcome: Welcome | None = None

    @property
    def server(self) -> str:
        """The server's name, as it gives it."""
        return self._admitted.server

    @property
    def account(self) -> str:
        """The account that the server admitted the client as."""
        return self._admitted.account

    @property
    def level(self) -> ImpersonationLevel:
        """The level that the server granted; never above the one stated."""
        return level_of(self._admitted)

    @property
    def quality_of_service(self) -> QualityOfService:
        """What the server was given; never more than was stated."""
        return quality_of(self._admitted)

    @property
    def _admitted(self) -> Welcome:
        if self._welcome is None:
            raise ServerClosedError("the server has not admitted this client")
        return self._welcome
