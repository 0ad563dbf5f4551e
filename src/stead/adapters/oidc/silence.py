"""For how long somebody who did not answer is not asked again.

Whoever asks waits some seconds for nothing. In turn they would be a queue, in which the
last one waits for all, and each holds a thread that others need meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, TypeVar

from stead.errors import DirectoryUnavailableError

_T = TypeVar("_T")
_SILENCE: Final = 1.0
"""Seconds; who says sooner that it cannot answer keeps nobody waiting."""


class Silence:
    """One client's wait for one issuer; used by any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Know of no failure.

        Args:
            monotonic: a clock that nobody sets, in seconds.
        """
        self._monotonic: Final = monotonic
        self._until = -math.inf
        self._why = self._advice = ""

    def ask(self, act: Callable[[], _T]) -> _T:
        """Return what `act` returns, or raise what it raises.

        Args:
            act: asks.

        Raises:
            DirectoryUnavailableError: it does not answer; or did not lately, and then
                at once, until as much time has passed as it took to find that out.
        """
        begun = self._monotonic()
        if begun < self._until:
            raise DirectoryUnavailableError(self._why, advice=self._advice)
        try:
            return act()
        except DirectoryUnavailableError as error:
            # Not the error itself: it leads to what was asked with.
            self._why, self._advice = str(error), error.advice
            ended = self._monotonic()
            if ended - begun >= _SILENCE:
                self._until = ended + (ended - begun)
            raise
