"""TLS over a socket that asyncio watches, by OpenSSL's memory buffers.

The library is given the bytes that came and says which to send. What it has to compute
in a handshake is done by whoever is handed in, beside the loop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from stead.gates.pipe.channel import READ_SIZE
from stead.gates.pipe.tls_records import Records

logger = logging.getLogger(__name__)

_PIECE_SIZE: Final = 1 << 14  # a record's
_AT_ONCE: Final = 16  # records that are looked at before others have a turn
# Records that say nothing, such as of new keys, beside as many as say something. Each
# takes as much computing as thousands of bytes, and no share counts it.
_MOST_SILENT: Final = 16
_MOST_SAID: Final = 1 << 17  # bytes of a peer's in a handshake; chains are of some KB


class Work(Protocol):
    """Does a piece of work, somewhere, and returns what it returned."""

    def __call__(self, task: Callable[[], None], /) -> Awaitable[None]:
        """Do it."""
        ...


class TlsChannel:
    """A connected socket, protected by TLS. It is this channel's to close.

    Attributes:
        last_active: when a byte came or went, by the loop's clock.
    """

    def __init__(
        self,
        connected: socket.socket,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
    ) -> None:
        """Take over a socket that does not block; nothing is said yet.

        Args:
            connected: the socket.
            context: the certificates, and whom they are verified by.
            server_hostname: whom a client means to reach; None at the server's end.
        """
        self.last_active = asyncio.get_running_loop().time()
        self._socket = connected
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self._flushing = asyncio.Lock()
        self._is_agreed = False
        self._heard = memoryview(b"")  # and not handed on yet
        self._records = Records()
        self._said = 0  # in how many records

    @property
    def tls(self) -> ssl.SSLObject:
        """What was agreed, once `handshake` is done."""
        return self._tls

    async def handshake(self, work: Work) -> None:
        """Agree with the other end.

        Args:
            work: does what takes computing.

        Raises:
            ssl.SSLError: they do not agree; the other end was told why, as TLS does.
            ConnectionError: it is gone, or says too much.
        """
        # Who connects and says nothing costs a server no computing.
        taken = await self._hear() if self._tls.server_side else 0
        while True:
            try:
                await work(self._tls.do_handshake)
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError:
                await self._flush()
                raise
            else:
                self._is_agreed = True
                self._records.ended = 0
                await self._flush()
                return
            taken += await self._hear()
            if taken > _MOST_SAID:
                raise ConnectionAbortedError("no handshake of a sensible size")

    async def receive(self) -> bytes:
        """Return what comes next; nothing at the end.

        An end that the other side did not announce is an end like others: frames have
        their lengths, and a conversation its goodbye.

        Raises:
            ConnectionError: it is gone, or goes on without saying anything.
        """
        while True:
            try:
                said = self._tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                await self._flush()  # it may have to answer, say with new keys
                await self._listen()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise ConnectionAbortedError(reason_of(error)) from error
            else:
                self._said += 1
                return said

    async def send(self, frame: bytes) -> None:
        """Send a whole frame, in pieces that show that it goes on."""
        # A handshake that was given up may still be computed, on another thread.
        if not self._is_agreed:
            raise ConnectionAbortedError("nothing was agreed")
        view = memoryview(frame)
        for start in range(0, len(frame), _PIECE_SIZE):
            self._tls.write(view[start : start + _PIECE_SIZE])
            await self._flush()

    def send_now(self, frame: bytes) -> None:
        """Send a frame if that takes no time."""
        if not self._is_agreed:
            return
        try:
            self._tls.write(frame)
            self._socket.send(self._outgoing.read())
        except OSError:
            logger.debug("a last word was not heard")

    def shut(self, how: int) -> None:
        """Take or give no more."""
        try:
            self._socket.shutdown(how)
        except OSError:
            logger.debug("the other end is gone already")

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    async def _hear(self) -> int:
        """Hand on what comes next, which is no end yet; return how much it was."""
        heard = await self._fill()
        if self._incoming.eof:
            raise ConnectionAbortedError("it left in the handshake")
        return heard

    async def _listen(self) -> None:
        """Hand on what comes next, if what came before said enough."""
        silent = self._records.ended - self._said
        if silent > self._said + _MOST_SILENT:
            raise ConnectionAbortedError("it goes on, and says nothing")
        await self._fill()

    async def _fill(self) -> int:
        """Hand on what comes next, a few records; return how much it was."""
        if not self._heard:
            loop = asyncio.get_running_loop()
            self._heard = memoryview(await loop.sock_recv(self._socket, READ_SIZE))
            self.last_active = loop.time()
        size = self._records.span(self._heard, _AT_ONCE)
        if size:
            self._incoming.write(self._heard[:size])
            self._heard = self._heard[size:]
        else:
            self._incoming.write_eof()
        # While bytes are there, sock_recv does not wait: let the others have a turn.
        await asyncio.sleep(0)
        return size

    async def _flush(self) -> None:
        """Send what the library wants sent, in its order."""
        async with self._flushing:
            loop = asyncio.get_running_loop()
            try:
                while self._outgoing.pending:
                    await loop.sock_sendall(self._socket, self._outgoing.read())
                    self.last_active = loop.time()
            except BaseException:
                self.shut(socket.SHUT_RDWR)  # half a record: nothing may follow
                raise


def reason_of(error: ssl.SSLError) -> str:
    """Return why TLS failed, in a few words without paths or addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not believed: {error.verify_message}"
    return (error.reason or "tls failed").lower().replace("_", " ")
