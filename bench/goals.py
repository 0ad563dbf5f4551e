"""What the project promises of what is measured: so many seconds, or so many times.

A promise is of the whole thing as users meet it. What is compared to something else for
its own sake, or is a part of something, has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """What one line is to be.

    Attributes:
        line: begins what is measured.
        to: what it is compared to; None for any, or nothing.
        most: how many times that it takes at most, or how many seconds.
        is_ratio: which of them.
    """

    line: str
    to: str | None
    most: float
    is_ratio: bool = True

    def is_of(self, what: str, to: str) -> bool:
        """Whether it is the goal of a line."""
        return re.match(self.line, what) is not None and self.to in {None, to}

    def is_kept(self, seconds: float, ratio: float) -> bool:
        """Whether a line keeps it, by what it takes or how many times."""
        return (ratio if self.is_ratio else seconds) <= self.most


GOALS = (
    Goal("os.open, close, tripwire", None, 3e-6, is_ratio=False),
    Goal("token block, no server", None, 2e-6, is_ratio=False),
    Goal(r"is_granted \(twin\), 10 entries", "Samba", 1 / 20),
    Goal(r"is_granted \(pure\), 10 entries", "Samba", 1 / 4),
    Goal(r"is_granted \(twin\), asked again", None, 3.0),
    Goal("access_check", "Samba", 1.0),
    Goal("known descriptor", "Samba", 1.0),
    Goal("new descriptor (read|written)(?!.*judged)", "Samba", 4.0),
    Goal(".* lists at once", None, 1 / 10),
    Goal("a Negotiate message accepted", "gssapi", 1.3),
    Goal("second hop: .*pooled", None, 1.2),
    Goal("ledger record, .*slower", "bare sqlite3, group commit", 1.5),
    Goal("ledger record", "bare sqlite3, group commit", 1 / 0.8),
    Goal("(new )?PAC .*(?<!read)$", None, 200e-6, is_ratio=False),
    Goal("log_on of the host's", "pam by itself", 1.05),
    Goal("through the broker: log_on", "pam by itself", 1.05),
    Goal("log_on of the store's", "argon2 by itself", 1.05),
    Goal("trail of .*, (client|object)", None, 50e-3, is_ratio=False),
    Goal("client's block in its operation", "system calls from C, bare", 3.0),
    Goal("worker, round trip", None, 1.5),
    Goal("through the broker: run", None, 1.5),
    Goal("through the broker: open", "bare pool and descriptor pass", 1.5),
    Goal("start", "posix_spawn as the server", 2.5),
)


def goal_of(what: str, to: str) -> Goal | None:
    """Return the goal of a line; None if it has none."""
    return next((goal for goal in GOALS if goal.is_of(what, to)), None)
