"""Whether a password's proof may go to a machine, and the record before it does.

The machine may be a false one, and try passwords against the proof: so somebody has to
have named it for this password, whoever handed that in or the operator.
"""

from __future__ import annotations

from stead.adapters.outbound.passage import not_taken
from stead.adapters.outbound.passwords import ShownPassword
from stead.errors import NoCredentialsError
from stead.model.audit_record import AuditEvent
from stead.model.delegation_policy import (
    DelegationPolicy,
    NetworkTarget,
    PasswordOrigin,
)
from stead.monitor.guard import Guard
from stead.monitor.ports import Subject


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
        f"name `{target.by(shown.way)}` in `delegation=`, which is by now {policy}. "
        "Or hand in credentials for that machine (`client.explicit_credentials`), or "
        "of a realm, `alice@EXAMPLE.COM`",
    )


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
