"""The pipe: operations over a framed stream socket.

`server.PipeGate` lets local clients in, for whom the kernel vouches; `tls_gate.TlsGate`
those of other machines, who show who they are. `client.PipeClient` and
`async_client.AsyncPipeClient` are what they use. `protocol` holds the rules both
follow, without a socket.
"""

from __future__ import annotations

from stead.adapters.extras import require_extra

require_extra("server", "msgspec")
