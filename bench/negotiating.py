"""Clients' tickets and a realm's passwords looked at, beside bare gssapi.

Each message is new: the same one does not count twice.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import gssapi
from bench import Bench
from gssapi.raw import acquire_cred_with_password
from gssapi.raw.oids import OID

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.password import KerberosPasswords
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.model.secret import Secret
from stead.testing.realm import Realm

_HTTP, _PASSWORD = "HTTP/localhost", "tiger"
_KERBEROS = gssapi.MechType.kerberos
_SPNEGO = OID.from_int_seq("1.3.6.1.5.5.2")
_MUTUAL = gssapi.RequirementFlag.mutual_authentication
_AT_ONCE, _LOGONS = 60, 10


def measure(bench: Bench) -> None:
    """Measure in a realm of its own."""
    with Realm() as realm:
        realm.add_principal("alice", _PASSWORD)
        keytab = realm.add_service(_HTTP)
        before = dict(os.environ)
        os.environ.update(realm.environment())
        try:
            _measure(bench, realm.name, keytab, realm.folder / "replays")
        finally:
            os.environ.clear()
            os.environ.update(before)


def _measure(bench: Bench, realm: str, keytab: Path, replays: Path) -> None:
    believed = [TrustedRealm(name=realm, requires_pac=False)]
    service = KerberosService(keytab, _HTTP, realms=believed, replay_cache=replays)
    client = _logged_on(realm, _KERBEROS, _SPNEGO)
    keys: Any = {"keytab": f"FILE:{keytab}", "rcache": f"file2:{replays}-bare"}
    own = gssapi.Credentials(
        name=gssapi.Name(f"{_HTTP}@{realm}", gssapi.NameType.kerberos_principal),
        usage="accept", mechs=[_KERBEROS, _SPNEGO], store=keys,
    )  # fmt: skip
    package = KerberosPackage(service)

    def ours(blob: bytes) -> object:
        return package.begin(None).step(blob).client

    def bare(blob: bytes) -> object:
        context = gssapi.SecurityContext(creds=own, usage="accept")
        context.step(blob)
        return str(context.initiator_name), context.actual_flags

    for mechanism, name in ((_SPNEGO, "Negotiate"), (_KERBEROS, "Kerberos")):
        bench.compare_new(
            f"a {name} message accepted",
            partial(_messages, client, realm, mechanism),
            {"Stead": (bytes, ours), "gssapi": (bytes, bare)},
        )
    authority = KerberosPasswords(service, realm)
    bench.compare_new(
        "a realm's password, the KDC verified",
        lambda: range(_LOGONS),
        {
            "Stead": (
                lambda _: Secret(_PASSWORD),
                lambda secret: authority.log_on("alice", realm, secret, keep=False),
            ),
            "gssapi, the KDC believed": (int, lambda _: _logged_on(realm, _KERBEROS)),
        },
    )


def _logged_on(realm: str, *mechanisms: OID) -> gssapi.Credentials:
    name = gssapi.Name(f"alice@{realm}", gssapi.NameType.kerberos_principal)
    made = acquire_cred_with_password(
        name, _PASSWORD.encode(), mechs=mechanisms, usage="initiate"
    )
    return gssapi.Credentials(made.creds)


def _messages(client: gssapi.Credentials, realm: str, mechanism: OID) -> list[bytes]:
    name = gssapi.Name(f"{_HTTP}@{realm}", gssapi.NameType.kerberos_principal)
    made = [
        gssapi.SecurityContext(
            name=name, creds=client, mech=mechanism, flags=_MUTUAL, usage="initiate"
        )
        for _ in range(_AT_ONCE)
    ]
    return [context.step() or b"" for context in made]
