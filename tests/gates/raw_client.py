"""A client of a gate that follows no rules: it sends and hears frames by hand."""

import asyncio
import socket

from stead.gates.pipe.frames import FrameReader
from stead.gates.pipe.messages import SERVER_MESSAGES


class RawClient:
    """A connection that reads only when it is told to."""

    messages = SERVER_MESSAGES
    largest = 1 << 24

    def __init__(self, gate):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(0.0)
        self.socket.connect(str(gate.path))
        self._frames = FrameReader()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def hear(self):
        """Return the next message, or None at the end."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            while (body := self._frames.take(self.largest)) is None:
                try:
                    data = await loop.sock_recv(self.socket, 1 << 16)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                self._frames.feed(data)
        return self.messages.decode(body)

    async def hear_all(self):
        """Return all messages to the end."""
        messages = []
        while (message := await self.hear()) is not None:
            messages.append(message)
        return messages
