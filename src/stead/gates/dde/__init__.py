"""DDE: conversations about items, over a local socket that the kernel vouches for.

`server.DdeGate` lets clients in; `client.DdeClient` and `async_client.AsyncDdeClient`
are what they use. `protocol` holds the rules both follow, without a socket, and
`conversation` the tables they are made of; docs/dde.md shows them drawn.
"""
