"""The types of logon that are offered, and what each is about (LOGON32_LOGON_*)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from stead.errors import InvalidRequestError
from stead.model import well_known
from stead.model.logon_record import LogonType
from stead.model.privilege import LogonRight
from stead.model.sid import Sid


@dataclass(frozen=True, slots=True)
class LogonRule:
    """What one type of logon is about.

    Attributes:
        sid: what every token of the type holds.
        right: what an account needs to log on this way.
        denial: what keeps it from doing so, whatever else it holds.
        keeps_credentials: whether the session keeps what the client showed, so that it
            reaches other machines as the client.
    """

    sid: Sid
    right: LogonRight
    denial: LogonRight
    keeps_credentials: bool = True


LOGON_RULES: Final[Mapping[LogonType, LogonRule]] = MappingProxyType({
    LogonType.INTERACTIVE: LogonRule(
        well_known.INTERACTIVE, LogonRight.INTERACTIVE, LogonRight.DENY_INTERACTIVE
    ),
    LogonType.NETWORK: LogonRule(
        well_known.NETWORK,
        LogonRight.NETWORK,
        LogonRight.DENY_NETWORK,
        keeps_credentials=False,
    ),
    LogonType.NETWORK_CLEARTEXT: LogonRule(
        well_known.NETWORK, LogonRight.NETWORK, LogonRight.DENY_NETWORK
    ),
    LogonType.BATCH: LogonRule(
        well_known.BATCH, LogonRight.BATCH, LogonRight.DENY_BATCH
    ),
    LogonType.SERVICE: LogonRule(
        well_known.SERVICE, LogonRight.SERVICE, LogonRight.DENY_SERVICE
    ),
})  # fmt: skip
"""The types of logon that are offered."""


def logon_rule(logon_type: LogonType) -> LogonRule:
    """Return what a type of logon is about.

    Raises:
        InvalidRequestError: it is not offered.
    """
    # A bare number equals its member, and has none of its words.
    is_type = isinstance(logon_type, LogonType)
    rule = LOGON_RULES.get(logon_type) if is_type else None
    if rule is None:
        offered = ", ".join(kind.name.lower() for kind in LOGON_RULES)
        raise InvalidRequestError(
            f"logon type `{str(logon_type)[:80]}` is not offered",
            advice=f"offered are {offered}; for new credentials, "
            "`client.with_new_credentials`",
        )
    return rule
