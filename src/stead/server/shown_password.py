"""Whether a password's proof may go to a machine, and the record before it does.

The machine may be a false one, and try passwords against the proof: so somebody has to
have named it for this password, whoever handed that in or the operator.
"""

from __future__ import annotations

from typing import Final

from stead.adapters.outbound.passage import not_taken
from stead.adapters.outbound.passwords import ShownPassword
from stead.errors import NoCredentialsError
from stead.model.audit_record import AuditEvent
from stead.model.delegation_policy import (
    DelegationPolicy,
    NetworkTarget,
    PasswordOrigin,
    PasswordWay,
)
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject

_HAND_IN: Final = "hand in credentials for that machine (`client.explicit_credentials`)"


def judge_password(
    policy: DelegationPolicy,
    target: NetworkTarget,
    shown: ShownPassword,
    origin: PasswordOrigin,
) -> NoCredentialsError | None:
    """Return why a machine is not shown a password; None if it may be."""
    why = policy.why_no_password(target, shown.way, origin, is_clear=shown.is_clear)
    if not why:
        return None
    return not_taken(
        target,
        f"the password of `{shown.account}` does not go there: {why}",
        _advice(policy, target, shown, origin),
    )


def _advice(
    policy: DelegationPolicy,
    target: NetworkTarget,
    shown: ShownPassword,
    origin: PasswordOrigin,
) -> str:
    """Return what would have that password go there; nothing that would not."""
    more = (
        ": what is not named is refused then, so name all"
        if policy.targets is None
        else ""
    )
    name_it = (
        f"name `{target.by(shown.way)}` in `delegation=`, which is by now {policy}"
        f"{more}"
    )
    if shown.is_clear:
        speak = "have the database speak TLS, and leave `sslmode` out"
        return f"{name_it}. Or {speak}" if target.is_loopback else speak
    ways = [name_it]
    if shown.way is PasswordWay.NTLM and origin is PasswordOrigin.THIS_SERVER:
        ways = [f"{_HAND_IN}, and {name_it}"]
    elif shown.way is PasswordWay.SCRAM and origin is not PasswordOrigin.THAT_MACHINE:
        ways.append(_HAND_IN)
    return ". Or ".join([*ways, "take credentials of a realm, `alice@EXAMPLE.COM`"])


def record_password(
    guard: Guard, subject: Subject, target: NetworkTarget, shown: ShownPassword
) -> None:
    """Record durably that a machine is about to be shown a password (event 4648).

    Raises:
        LedgerUnavailableError: then it is not.
    """
    guard.recorder.record(
        AuditEvent.EXPLICIT_CREDENTIALS,
        subject,
        object_type="Account",
        object_name=shown.account[:80],
        detail={
            "target server": f"{target.host}:{target.port}",
            "mechanism": shown.way.mechanism,
        },
    )
