"""Record PACs as Samba's domain controller writes them: `tests/vectors/pac/samba.json`.

usage: python -m tests.codec.record_pacs > tests/vectors/pac/samba.json      (as root)

Keys, names and SIDs are those of a domain that `stead.testing.domain` made at random,
and that is gone; the tickets ended with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from tests.domain_clients import Server, found, logged_on, pac_of

from stead.testing.domain import Domain

SAID = {
    "alice": "nested groups, and a domain-local one",
    "bob": "no group but the primary one",
    "protected": "an account that is not to be delegated",
    "Administrator": "an administrator of the domain",
    "self": "alice, whom a service asked a ticket to itself for (S4U2Self)",
    "proxy": "the same, taken on to another service (S4U2Proxy)",
    "evidence": "alice's own ticket, taken on to another service",
}


def pacs(domain: Domain) -> Iterator[tuple[str, bytes]]:
    """Have clients come to services of a domain; yield each one's PAC, with a name."""
    front = f"HTTP@front.{domain.dns_name}"
    back = f"HTTP@back.{domain.dns_name}"
    first = Server(
        domain.export_keytab("front", f"HTTP/front.{domain.dns_name}"),
        f"front@{domain.name}",
    )
    second = Server(domain.export_keytab("back", f"HTTP/back.{domain.dns_name}"))
    for name in ("alice", "bob", "protected", "Administrator"):
        client = logged_on(name, domain.password_of(name))
        yield name, _required(pac_of(first.accept(client, front)))
    impersonated = first.impersonate(f"alice@{domain.name}")
    yield "self", _required(pac_of(first.accept(impersonated)))
    yield "proxy", _required(pac_of(second.accept(impersonated, back)))
    client = logged_on("alice", domain.password_of("alice"))
    kept = first.accept(client, front, keeps=True).delegated_creds
    yield "evidence", _required(pac_of(second.accept(kept, back)))


def _required(pac: bytes | None) -> bytes:
    if pac is None:
        raise LookupError("the ticket has no PAC")
    return pac


def cases(domain: Domain) -> list[dict[str, Any]]:
    """Return vectors."""
    return [
        {
            "id": f"samba-{name}",
            "comment": SAID[name],
            "source": "Samba 4.17 of Debian 12, a domain made for this",
            "input": binary.hex(),
            "expected": str(domain.sid_of("alice" if name in _ALICE else name)),
        }
        for name, binary in pacs(domain)
    ]


_ALICE = {"self", "proxy", "evidence"}

if __name__ == "__main__":
    with Domain() as made, found(made):
        json.dump(cases(made), sys.stdout, indent=1)
        print()
