"""Tickets of Active Directory: from the bytes of a PAC to a token.

The PAC is one that Samba's domain controller wrote (tests/vectors/pac); the store is on
disk, as a server's is. Three cases:

- shown again: the same bytes, as HTTP clients send them with each request;
- new PAC of a known client: another ticket by the same logon of somebody who came
  before: what it says is the same, its signatures are not;
- client never seen: nobody with this SID came before. After a change of the store,
  everybody is such a client.

The client is no account of the store; then it is one with a uid, about which this host
is asked each time; then one whose host's word counts for a second (`host_lasts`).

impacket, where it is installed, reads the same PAC, and makes no token of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench import Bench

from stead.adapters.host import host_identity
from stead.adapters.store import Store
from stead.authority.asserted import identify_asserted
from stead.authority.issuers import Issuer, Issuers
from stead.authority.packages import Authenticated
from stead.authority.ports import Alias
from stead.authority.ticket_clients import asserted_by, is_verified_by_service
from stead.authority.tokens import client_token
from stead.codec.pac import read_pac
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel

_ROOT = Path(__file__).resolve().parent.parent
_REALM = "AD.STEAD.TEST"
_CASE = "samba-alice"
_SIGNATURE = 8
_NEW_AT_ONCE = 50

Act = Callable[[Any], Any]


def measure(bench: Bench, folder: Path) -> None:
    """Measure reading, and all of it."""
    binary, domain = _recorded()
    readers: dict[str, tuple[Act, Act]] = {"Stead": (bytes, read_pac)}
    if importlib.util.find_spec("impacket"):
        sys.path.insert(0, str(_ROOT))
        from tests.codec import pac_oracle  # noqa: PLC0415 - only where it can be

        readers["impacket"] = (bytes, pac_oracle.read)
    else:
        bench.leave_out("impacket's reading of PACs", "it is not installed")
    bench.compare_new(
        "PAC of a client never seen, read", partial(_strangers, binary), readers
    )
    bench.compare_new(
        "new PAC of a known client, read", partial(_others, binary), readers
    )
    with Store.open(folder / "tickets.db", create=True) as store:
        token = partial(_token, store, _issuers(store, domain))
        known = {
            "PAC shown again": partial(_again, binary),
            "new PAC of a known client": partial(_others, binary),
        }
        never = {"PAC of a client never seen": partial(_strangers, binary)}
        _measure(bench, token, known | never, binary)
        uid = _add_account(store, read_pac(binary).user_sid)
        host = {"asking this host": (bytes, lambda _binary: host_identity(uid))}
        _measure(bench, token, known, binary, " with uid", host)
        lasting = partial(_token, store, _issuers(store, domain, host_lasts=1.0))
        _measure(bench, lasting, known, binary, " with uid, of the same second")


def _issuers(store: Store, domain: Sid, host_lasts: float = 0.0) -> Issuers:
    issuer = Issuer(_REALM, domains=(domain,), host_lasts=host_lasts)
    return Issuers([issuer], store.accounts.domain(), time.monotonic_ns)


def _measure(
    bench: Bench,
    token: Act,
    cases: dict[str, Callable[[], list[bytes]]],
    binary: bytes,
    whose: str = "",
    beside: Mapping[str, tuple[Act, Act]] = MappingProxyType({}),
) -> None:
    for _ in range(3):  # what is seen twice is kept
        token(binary)
    for what, make in cases.items():
        acts: dict[str, tuple[Act, Act]] = {"Stead": (bytes, token), **beside}
        bench.compare_new(what + whose, make, acts)


def _again(binary: bytes) -> list[bytes]:
    """Return the same PAC, as bytes that were read from a ticket each time."""
    return [bytes(bytearray(binary)) for _ in range(_NEW_AT_ONCE)]


def _others(binary: bytes) -> list[bytes]:
    """Return PACs that say the same, with signatures of their own."""
    return [binary[:-_SIGNATURE] + os.urandom(_SIGNATURE) for _ in range(_NEW_AT_ONCE)]


def _strangers(binary: bytes) -> list[bytes]:
    """Return PACs of clients with SIDs of their own."""
    own = read_pac(binary).user_sid.rid.to_bytes(4, "little")
    rids = (secrets.randbelow(1 << 30) + 10_000 for _ in range(_NEW_AT_ONCE))
    return [binary.replace(own, rid.to_bytes(4, "little")) for rid in rids]


def _add_account(store: Store, sid: Sid) -> int:
    """Let the client be an account of the store, and a user of this host."""
    user = pwd.getpwuid(1)
    account = store.accounts.add_account("alice", user.pw_uid, user.pw_gid)
    store.accounts.add_alias(account.sid, Alias(_REALM, str(sid)))
    staff = store.accounts.add_group("staff", None)
    store.accounts.add_member(staff.sid, account.sid)
    return user.pw_uid


def _token(store: Store, issuers: Issuers, binary: bytes) -> AccessToken:
    pac = read_pac(binary)
    client = Authenticated(
        package="kerberos",
        issuer=_REALM,
        name=pac.logon.account_name,
        sids=asserted_by(pac),
        is_verified_by_service=is_verified_by_service(pac.group_sids, pac.delegation),
    )
    identity = identify_asserted(store.accounts, client, issuers, host=host_identity)
    return client_token(
        identity,
        level=ImpersonationLevel.IMPERSONATION,
        logon_id=Luid(1001),
        token_id=Luid(1002),
    )


def _recorded() -> tuple[bytes, Sid]:
    """Return a PAC, and the domain of its client."""
    file = _ROOT / "tests" / "vectors" / "pac" / "samba.json"
    cases = {each["id"]: each for each in json.loads(file.read_text("utf-8"))}
    case = cases[_CASE]
    domain = Sid.from_string(case["expected"].rpartition("-")[0])
    return bytes.fromhex(case["input"]), domain
