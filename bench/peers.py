"""Other engines, asked the same question; each is left out where it is not at hand.

Every one is asked whether a user in 30 groups may read what a list of so many entries
guards, the last of which alone is about the user.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from stead import AccessToken, SecurityDescriptor, Sid

_DISTRIBUTION = Path("/usr/lib/python3/dist-packages")
"""Where Debian puts its own modules, which no index has."""

Ask = Callable[[], object]


def peers(
    token: AccessToken, descriptor: SecurityDescriptor, desired: int
) -> dict[str, Ask]:
    """Return each engine that is at hand, ready to be asked."""
    trustees = [ace.trustee for ace in descriptor.dacl]
    sids = [token.user, *(group.sid for group in token.groups)]
    found: dict[str, Ask] = {}
    for name, make in _ENGINES.items():
        try:
            found[name] = make(sids, trustees)
        except ImportError:
            continue
    if samba() is not None:
        found = {"Samba": _samba_check(sids, descriptor, desired), **found}
    return found


def absent() -> list[str]:
    """Return the names of what is not at hand."""
    names = [] if samba() else ["python3-samba, for this Python"]
    for name, module in _MODULES.items():
        try:
            importlib.import_module(module)
        except ImportError:
            names.append(name)
    return names


def samba() -> ModuleType | None:
    """Return Samba's `security` types, from Debian's package if need be."""
    sys.path.append(str(_DISTRIBUTION))
    try:
        importlib.import_module("samba.security")
        importlib.import_module("samba.ndr")
        return importlib.import_module("samba.dcerpc.security")
    except ImportError:
        return None
    finally:
        sys.path.remove(str(_DISTRIBUTION))


def samba_token(sids: Sequence[Sid]) -> Any:
    """Return Samba's token of these SIDs."""
    security: Any = samba()
    token = security.token()
    token.sids = [security.dom_sid(str(sid)) for sid in sids]
    token.num_sids = len(sids)
    return token


def samba_descriptor(text: str) -> Any:
    """Return Samba's descriptor of SDDL."""
    security: Any = samba()
    return security.descriptor.from_sddl(text, security.dom_sid("S-1-5-21-1-2-3"))


def samba_judge(sids: Sequence[Sid]) -> Callable[[int, bytes], bool]:
    """Return what lets Samba read a descriptor and judge it."""
    read, check = sys.modules["samba.ndr"], sys.modules["samba.security"].access_check
    kind, token = sys.modules["samba.dcerpc.security"].descriptor, samba_token(sids)
    refusal = sys.modules["samba"].NTSTATUSError

    def judge(desired: int, binary: bytes) -> bool:
        with suppress(refusal):
            return bool(check(read.ndr_unpack(kind, binary), token, desired))
        return False

    return judge


def _samba_check(
    sids: Sequence[Sid], descriptor: SecurityDescriptor, desired: int
) -> Ask:
    check = sys.modules["samba.security"].access_check
    same = samba_descriptor(descriptor.to_sddl())
    return partial(check, same, samba_token(sids), desired)


def _pyramid(sids: Sequence[Sid], trustees: Sequence[Sid]) -> Ask:
    security = importlib.import_module("pyramid.authorization")

    context = SimpleNamespace(
        __acl__=[(security.Allow, str(trustee), "read") for trustee in trustees],
        __parent__=None,
    )
    principals = {str(sid) for sid in sids}
    return partial(security.ACLHelper().permits, context, principals, "read")


_CASBIN = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
"""


def _casbin(sids: Sequence[Sid], trustees: Sequence[Sid]) -> Ask:
    casbin: Any = importlib.import_module("casbin")
    model = casbin.Model()
    model.load_model_from_text(_CASBIN)
    enforcer = casbin.Enforcer(model)
    for trustee in trustees:
        enforcer.add_policy(str(trustee), "plan", "read")
    for sid in sids[1:]:
        enforcer.add_grouping_policy(str(sids[0]), str(sid))
    return partial(enforcer.enforce, str(sids[0]), "plan", "read")


_CEDAR = """
permit(principal, action == Action::"read", resource)
when { principal in resource.readers };
"""


def _cedar(sids: Sequence[Sid], trustees: Sequence[Sid]) -> Ask:
    cedar: Any = importlib.import_module("cedarpy")

    def entity(sid: Sid) -> dict[str, str]:
        return {"type": "Sid", "id": str(sid)}

    user, *groups = sids
    readers = [{"__entity": entity(trustee)} for trustee in trustees]
    entities = [
        {"uid": entity(user), "attrs": {}, "parents": [entity(one) for one in groups]},
        *({"uid": entity(one), "attrs": {}, "parents": []} for one in groups),
        {
            "uid": {"type": "Doc", "id": "plan"},
            "attrs": {"readers": readers},
            "parents": [],
        },
    ]
    request = {
        "principal": f'Sid::"{user}"',
        "action": 'Action::"read"',
        "resource": 'Doc::"plan"',
        "context": {},
    }
    policies = cedar.PolicySet.from_str(_CEDAR)
    known = cedar.Entities.from_json_str(json.dumps(entities))
    return partial(cedar.is_authorized, request, policies, known)


_ENGINES = {"pyramid ACLHelper": _pyramid, "pycasbin": _casbin, "cedarpy": _cedar}
_MODULES = {
    "pyramid": "pyramid.authorization",
    "pycasbin": "casbin",
    "cedarpy": "cedarpy",
}
