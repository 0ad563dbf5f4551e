"""Tickets of Active Directory: from the bytes of a PAC to a token.

The PAC is one that Samba's domain controller wrote (tests/vectors/pac); the store is on
disk, as a server's is, and says that nobody there is the client. impacket, where it is
installed, reads the same PAC, and makes no token of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import Bench

from stead.adapters.store import Store
from stead.authority.asserted import identify_asserted
from stead.authority.issuers import Issuer, Issuers
from stead.authority.packages import Authenticated
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
    bench.compare_new("new PAC read", partial(_others, binary), readers)
    with Store.open(folder / "tickets.db", create=True) as store:
        issuer = Issuer(_REALM, domains=(domain,))
        issuers = Issuers([issuer], store.accounts.domain())
        token = partial(_token, store, issuers)
        bench.compare("PAC shown again, to token", partial(token, binary))
        acts: dict[str, tuple[Act, Act]] = {"Stead": (bytes, token)}
        bench.compare_new(
            "new PAC of a known client, to token", partial(_others, binary), acts
        )
        bench.compare(
            "PAC of a client not seen before, to token",
            partial(_forgetting, token, issuers, binary),
        )


def _others(binary: bytes) -> list[bytes]:
    """Return PACs that say the same, with signatures of their own."""
    return [binary[:-_SIGNATURE] + os.urandom(_SIGNATURE) for _ in range(_NEW_AT_ONCE)]


def _forgetting(token: Act, issuers: Issuers, binary: bytes) -> AccessToken:
    """Do it as if nobody had come before."""
    issuers.remembered.at(-1)
    made: AccessToken = token(_others(binary)[0])
    return made


def _token(store: Store, issuers: Issuers, binary: bytes) -> AccessToken:
    pac = read_pac(binary)
    client = Authenticated(
        package="kerberos",
        issuer=_REALM,
        name=pac.logon.account_name,
        sids=asserted_by(pac),
        is_verified_by_service=is_verified_by_service(pac),
    )
    identity = identify_asserted(
        store.accounts, client, issuers, host=lambda _uid: None
    )
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
