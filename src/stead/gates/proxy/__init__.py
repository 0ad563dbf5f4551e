"""Certificates that a proxy saw, by a header that only a proxy of ours may send.

    proxy = NamedProxy("edge", HeaderFormat.CLIENT_CERT, PeerUid({33}))
    client_for = by_certificate(server.admit_shown, certificates, proxies=[proxy])
    app = SteadMiddleware(app, client_for=client_for)

The header says who a client is, so whoever can send it can be anybody. It counts from a
proxy that is named and has proved to be that; from anybody else it is an error, which
the trail has. What the proxy believes does not count: the chain is verified here.
"""

from __future__ import annotations

from stead.gates.proxy.forwarded import NamedProxy, by_certificate
from stead.gates.proxy.headers import HeaderFormat
from stead.gates.proxy.proofs import PeerUid, ProxyCertificate, SharedSecret

__all__ = [
    "HeaderFormat",
    "NamedProxy",
    "PeerUid",
    "ProxyCertificate",
    "SharedSecret",
    "by_certificate",
]
