"""gRPC: the client of each call, passed on explicitly.

    client_for = by_evidence(server.admit_shown, certificates=certificates)
    server = grpc.server(threads, interceptors=[SteadInterceptor(client_for)])

    def Read(self, request, context):
        client = client_of(context)

gRPC has no way to hand a caller's identity to a handler, and what an interceptor puts
into a context variable a pool's thread may keep. Here the client rides on the call's
own context and nowhere else. `AioSteadInterceptor` is the same for `grpc.aio`. Needs
the extra `grpc`.
"""

from __future__ import annotations

from stead.adapters.extras import require_extra

require_extra("grpc", "grpc")

from stead.gates.grpc.admitting import by_evidence  # noqa: E402 - not before its library is asked for
from stead.gates.grpc.aio import AioSteadInterceptor  # noqa: E402 - not before its library is asked for
from stead.gates.grpc.blocking import SteadInterceptor  # noqa: E402 - not before its library is asked for
from stead.gates.grpc.calls import GrpcCall  # noqa: E402 - not before its library is asked for
from stead.gates.grpc.shown import client_of  # noqa: E402 - not before its library is asked for

__all__ = [
    "AioSteadInterceptor",
    "GrpcCall",
    "SteadInterceptor",
    "by_evidence",
    "client_of",
]
