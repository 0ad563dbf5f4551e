"""Having a realm prove itself: a ticket that it gives for us must be for our own key.

Whoever answers in the place of a KDC can say yes to every password, and give tickets
that look well (a spoofed KDC). It does not have this server's key. So no client is
authenticated by what a KDC says to us, but by a ticket for ourselves, which the library
then checks by our keytab like anybody else's; with it come the client's groups.
"""

from __future__ import annotations

from typing import Final

import gssapi
from gssapi.raw import accept_sec_context
from gssapi.raw.misc import GSSError
from gssapi.raw.named_tuples import AcceptSecContextResult

from stead.adapters.kerberos.causes import not_asked, other_clock
from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.kerberos.proof import Proof, read_proof
from stead.adapters.kerberos.service import KerberosService
from stead.errors import CredentialsExpiredError, EvidenceRefusedError

_KERBEROS: Final = gssapi.MechType.kerberos


def prove(
    service: KerberosService,
    credentials: KerberosCredentials,
    own: gssapi.Credentials | None = None,
) -> Proof:
    """Return who somebody is, by a ticket for this server got with its credentials.

    Args:
        service: this server.
        credentials: what a KDC, or somebody who answers in its place, gave for them.
        own: what checks the ticket, if not the service's usual keys.

    Raises:
        EvidenceRefusedError: the KDC does not prove that it is the realm's.
        DirectoryUnavailableError: no KDC answers, or can be asked; or its clock is
            another than ours.
    """
    keys = own or service.acceptor(negotiates=False)
    act = f"`{credentials.principal}` is verified"
    try:
        blob, accepted = _accepted(credentials, keys)
    except CredentialsExpiredError as error:
        raise other_clock(act) from error  # the ticket was given just now
    except GSSError as error:
        unasked = not_asked(error, act)
        if unasked is not None:
            raise unasked from error
        raise EvidenceRefusedError(
            f"{act}: the KDC proves no key of `{service.principal}`",
            advice="the keytab is old, or somebody answers in the KDC's place",
        ) from error
    proof = read_proof(accepted, [blob], service.rules, must_be_bound=False)
    if proof.principal != credentials.principal:
        raise EvidenceRefusedError(
            f"the KDC gives `{credentials.principal}` a ticket of `{proof.principal}`"
        )
    return proof


def _accepted(
    credentials: KerberosCredentials, keys: gssapi.Credentials
) -> tuple[bytes, AcceptSecContextResult]:
    context = gssapi.SecurityContext(
        name=keys.name, creds=credentials.gss(), mech=_KERBEROS, flags=0,
        usage="initiate",
    )  # fmt: skip
    context.__DEFER_STEP_ERRORS__ = False  # type: ignore[attr-defined]  # no stub has it
    blob = context.step() or b""
    return blob, accept_sec_context(blob, keys)
