"""The pipe: local clients, vouched for by the kernel, over a framed stream socket.

`server.PipeGate` lets clients in; `client.PipeClient` and `client.AsyncPipeClient` are
what they use. `protocol` holds the rules both follow, without a socket.
"""
