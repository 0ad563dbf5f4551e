"""Stead lets a Python server act in its client's stead.

The names here are the safe doors; each is loaded when it is first used. Sharper tools
(making tokens by hand, NULL DACLs, setting a thread's token) stay in the modules that
document them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stead.decision.access_check import access_check
    from stead.decision.changes import smallest_changes
    from stead.decision.explain import explain
    from stead.decision.fast import is_granted
    from stead.decision.many import many
    from stead.decision.privilege_check import privilege_check
    from stead.errors import (
        AccessDeniedError,
        BadImpersonationLevelError,
        ImpersonationRefusedError,
        KernelRefusedError,
        LogonFailureError,
        PrivilegeNotHeldError,
        ProcessTimeoutError,
        SteadError,
    )
    from stead.model.access_mask import (
        AccessMask,
        FileRights,
        GenericMapping,
        Rights,
        TokenRights,
    )
    from stead.model.acl import Acl
    from stead.model.claim import Claim, ClaimType
    from stead.model.explicit_access import allow, audit, deny
    from stead.model.impersonation_policy import (
        Act,
        ImpersonationPolicy,
        ImpersonationRule,
    )
    from stead.model.limits import ANY_NAME, FileRoot, Host
    from stead.model.logon_record import LogonType
    from stead.model.privilege import Privilege
    from stead.model.secret import Secret
    from stead.model.security_descriptor import SecurityDescriptor
    from stead.model.sid import Sid
    from stead.model.token import (
        AccessToken,
        ImpersonationLevel,
        TokenGroup,
        TokenType,
    )
    from stead.monitor.carrying import carry
    from stead.monitor.effective import effective_token, process_token, thread_token
    from stead.monitor.impersonation import impersonate, revert_to_self
    from stead.monitor.own_token import enable_privileges, impersonate_self
    from stead.server.acting.async_process import AsyncClientProcess
    from stead.server.acting.processes import ClientProcess
    from stead.server.client_context import ClientContext, LimitedClient
    from stead.server.enforcement import Enforcement
    from stead.server.grants import OperationName, prefix
    from stead.server.logon_session import LogonSession
    from stead.server.protected_server import ProtectedServer
    from stead.server.workers.workers import WorkerLimits

__all__ = [
    "ANY_NAME",
    "AccessDeniedError",
    "AccessMask",
    "AccessToken",
    "Acl",
    "Act",
    "AsyncClientProcess",
    "BadImpersonationLevelError",
    "Claim",
    "ClaimType",
    "ClientContext",
    "ClientProcess",
    "Enforcement",
    "FileRights",
    "FileRoot",
    "GenericMapping",
    "Host",
    "ImpersonationLevel",
    "ImpersonationPolicy",
    "ImpersonationRefusedError",
    "ImpersonationRule",
    "KernelRefusedError",
    "LimitedClient",
    "LogonFailureError",
    "LogonSession",
    "LogonType",
    "OperationName",
    "Privilege",
    "PrivilegeNotHeldError",
    "ProcessTimeoutError",
    "ProtectedServer",
    "Rights",
    "Secret",
    "SecurityDescriptor",
    "Sid",
    "SteadError",
    "TokenGroup",
    "TokenRights",
    "TokenType",
    "WorkerLimits",
    "access_check",
    "allow",
    "audit",
    "carry",
    "deny",
    "effective_token",
    "enable_privileges",
    "explain",
    "impersonate",
    "impersonate_self",
    "is_granted",
    "many",
    "prefix",
    "privilege_check",
    "process_token",
    "revert_to_self",
    "smallest_changes",
    "thread_token",
]

_HOMES = {
    "decision.access_check": ("access_check",),
    "decision.changes": ("smallest_changes",),
    "decision.explain": ("explain",),
    "decision.fast": ("is_granted",),
    "decision.many": ("many",),
    "decision.privilege_check": ("privilege_check",),
    "errors": (
        "AccessDeniedError",
        "BadImpersonationLevelError",
        "ImpersonationRefusedError",
        "KernelRefusedError",
        "LogonFailureError",
        "PrivilegeNotHeldError",
        "ProcessTimeoutError",
        "SteadError",
    ),
    "model.access_mask": (
        "AccessMask",
        "FileRights",
        "GenericMapping",
        "Rights",
        "TokenRights",
    ),
    "model.explicit_access": ("allow", "audit", "deny"),
    "model.acl": ("Acl",),
    "model.claim": ("Claim", "ClaimType"),
    "model.impersonation_policy": ("Act", "ImpersonationPolicy", "ImpersonationRule"),
    "model.limits": ("ANY_NAME", "FileRoot", "Host"),
    "model.logon_record": ("LogonType",),
    "model.privilege": ("Privilege",),
    "model.secret": ("Secret",),
    "model.security_descriptor": ("SecurityDescriptor",),
    "model.sid": ("Sid",),
    "model.token": ("AccessToken", "ImpersonationLevel", "TokenGroup", "TokenType"),
    "monitor.carrying": ("carry",),
    "monitor.effective": ("effective_token", "process_token", "thread_token"),
    "monitor.impersonation": ("impersonate", "revert_to_self"),
    "monitor.own_token": ("enable_privileges", "impersonate_self"),
    "server.acting.async_process": ("AsyncClientProcess",),
    "server.client_context": ("ClientContext", "LimitedClient"),
    "server.enforcement": ("Enforcement",),
    "server.grants": ("OperationName", "prefix"),
    "server.logon_session": ("LogonSession",),
    "server.acting.processes": ("ClientProcess",),
    "server.protected_server": ("ProtectedServer",),
    "server.workers.workers": ("WorkerLimits",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
