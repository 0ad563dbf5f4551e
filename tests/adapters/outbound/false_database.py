"""A database that is none: it speaks PostgreSQL's first words, and asks for anything.

It has a certificate that everybody believes, as whoever owns a name gets one. What it
is told it keeps.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import struct
import threading
from contextlib import suppress

OFFERS = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
READY = (
    b"S" + struct.pack("!I", 4 + 20) + b"server_version\0" + b"15.0\0"
    + b"Z" + struct.pack("!Ic", 5, b"I")
)  # fmt: skip


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def asking(code, more=b""):
    return message(b"R", struct.pack("!I", code) + more)


def error(state, text):
    return message(b"E", b"SFATAL\0C" + state + b"\0M" + text + b"\0\0")


class FalseDatabase:
    """Listens at `localhost`, and does with each who comes what it was made for.

    Attributes:
        said: what clients sent after saying whom they ask to be, one after another.
        users: whom they asked to be.
        password: the account's, where it knows it.
    """

    def __init__(self, acts, certificate=None, folder=None):
        """Take what it says, step by step.

        Args:
            acts: its words; `first` and `final` in their place are those of SCRAM, as
                somebody says them who knows the account.
            certificate: what it shows under TLS; without one there is none.
            folder: where that is put.
        """
        self.acts, self.password = acts, "alice-pw"
        self.said, self.users = [], []
        self.context = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.write(folder / "false.pem"))
            self.binding = hashlib.sha256(certificate.der).digest()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.thread.join(60)
        self.listening.close()

    def serve(self):
        with suppress(OSError):
            while True:
                taken = self.listening.accept()[0]
                taken.settimeout(60)
                with suppress(OSError, EOFError), self.greeted(taken) as channel:
                    self.speak(channel)

    def greeted(self, taken):
        """Return the channel, with TLS if there is any."""
        if self.context is None:
            return taken
        with taken:  # where that fails
            receive(taken)
            taken.sendall(b"S")
            return self.context.wrap_socket(taken, server_side=True)

    def speak(self, taken):
        said = receive(taken)
        self.users.append(said[8:].split(b"\0")[1].decode())
        for act in self.acts:
            taken.sendall(act if isinstance(act, bytes) else act(self))
            self.said.append(taken.recv(8192))

    def first(self):
        """Challenge, as the account's own server does."""
        _kind, rest = self.said[-1][5:].split(b"\0", 1)
        self.bare = rest[4:].split(b",,", 1)[1]
        nonce = dict(part.split(b"=", 1) for part in self.bare.split(b","))[b"r"]
        self.challenge = b"r=" + nonce + b"more,s=c2FsdA==,i=4096"
        return asking(11, self.challenge)

    def final(self):
        """Show that it knows the account."""
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), b"salt", 4096)
        key = hmac.digest(salted, b"Server Key", "sha256")
        bare = self.said[-1][5:].rsplit(b",p=", 1)[0]
        all_said = b",".join([self.bare, self.challenge, bare])
        proof = base64.b64encode(hmac.digest(key, all_said, "sha256"))
        return asking(12, b"v=" + proof)


def receive(taken):
    head = taken.recv(4)
    if len(head) < 4:
        raise EOFError
    (size,) = struct.unpack("!I", head)
    return head + taken.recv(size - 4)
