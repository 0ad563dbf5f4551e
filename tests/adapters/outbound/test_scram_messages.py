"""Whatever a database says, it hears SCRAM's own words and no password."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stead.adapters.outbound.postgres_scram import show_password
from stead.authority.packages import ChannelBinding
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import (
    AccessDeniedError,
    NoCredentialsError,
    ServerUnavailableError,
    WrongIdentityError,
)
from stead.model.delegation_policy import NetworkTarget
from stead.model.secret import Secret

PASSWORD = "a password of alice's"
TO = NetworkTarget("postgres", "db.example", 5432)
BOUND = ChannelBinding("tls-server-end-point", bytes(32))
REFUSALS = (
    AccessDeniedError, NoCredentialsError, ServerUnavailableError, WrongIdentityError
)  # fmt: skip


class Words:
    """A channel from whoever says these words, and then hangs up."""

    def __init__(self, words):
        self.words, self.sent = words, b""

    def read(self, size):
        found, self.words = self.words[:size], self.words[size:]
        if len(found) < size:
            raise ServerUnavailableError("it hangs up")
        return found

    def peek(self, size):
        return self.words[:size]

    def send(self, content):
        self.sent += content

    def close(self):
        pass


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


codes = st.integers(0, 13) | st.integers(0, 2**32 - 1)
texts = st.sampled_from([
    b"", b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", b"SCRAM-SHA-256\0\0", b"salt",
    b"r=x,s=c2FsdA==,i=4096", b"v=eA==", b"e=other-error",
]) | st.binary(max_size=40)  # fmt: skip
asked = st.builds(
    lambda code, text: message(b"R", struct.pack("!I", code) + text), codes, texts
)
other = st.builds(message, st.binary(min_size=1, max_size=1), st.binary(max_size=60))
words = st.lists(asked | other | st.binary(max_size=12), max_size=6).map(b"".join)


@pytest.mark.parametrize("binding", [BOUND, None])
@given(words)
@example(message(b"E", b"\0\0"))
@example(message(b"E", b"Mno\xff\0C28\0"))
@example(message(b"R", b"abc"))
def test_whatever_is_said_is_refused_and_no_password_is_sent(binding, said):
    channel = Words(said)
    held = PasswordCredentials("alice", Secret(PASSWORD))
    with pytest.raises(REFUSALS):
        show_password(channel, binding, held, TO)
    held.close()
    assert PASSWORD.encode() not in channel.sent
    assert not channel.sent or channel.sent.startswith(b"p")
    assert channel.sent.count(b"SCRAM-SHA-256") <= 1
