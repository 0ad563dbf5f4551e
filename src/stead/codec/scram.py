"""The messages of SCRAM-SHA-256 and what is computed of them (RFC 5802, RFC 7677).

Values from bytes and back; who says what when is `stead.adapters.scram`. A message that
is not exactly what the grammar of RFC 5802 7 allows is an `RemoteProtocolError`, and no
other error is raised for any bytes.

    >>> read_client_first(b"n,,n=alice,r=abc").name
    'alice'
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from stead.codec.saslprep import prepared_secret
from stead.errors import RemoteProtocolError
from stead.model.scram_verifier import ScramVerifier

LONGEST_MESSAGE: Final = 8192
MINIMUM_ITERATIONS: Final = 4096
"""The least that RFC 7677 4 allows."""
MAXIMUM_ITERATIONS: Final = 10_000_000
"""More than that would only keep a client busy."""
_DIGEST: Final = 32
_NONCE: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
_KIND: Final = re.compile(r"[A-Za-z0-9.-]+")
_ATTRIBUTE: Final = re.compile(r"[A-Za-z]=[^\0,]+")
_ESCAPE: Final = re.compile(r"=(2C|3D)?")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """A client's first message.

    Attributes:
        header: the GS2 header as it was sent, which the final message repeats.
        flag: `p` with a binding; `y` if the client could bind and believes that the
            server cannot; `n` if it cannot.
        kind: the kind of the binding; empty without one.
        name: whom it says it is; empty where a protocol around this says so.
        nonce: the client's part.
        bare: the message without the header, as it was sent.
    """

    header: str
    flag: str
    kind: str
    name: str
    nonce: str
    bare: str


@dataclass(frozen=True, slots=True)
class ServerFirst:
    """A server's challenge.

    Attributes:
        nonce: both parts.
        salt: with which the password is hashed.
        iterations: how often.
        text: the message as it was sent.
    """

    nonce: str
    salt: bytes
    iterations: int
    text: str


@dataclass(frozen=True, slots=True)
class ClientFinal:
    """A client's answer.

    Attributes:
        binding: the header and the channel's binding, as the client has them.
        nonce: both parts.
        proof: that it knows the password.
        bare: the message without the proof, as it was sent.
    """

    binding: bytes = field(repr=False)
    nonce: str
    proof: bytes = field(repr=False)
    bare: str = field(repr=False)


# --- messages -------------------------------------------------------------------------


def read_client_first(message: bytes) -> ClientFirst:
    """Read a client's first message; raises `RemoteProtocolError`."""
    flag, authorized, bare = _parts(_text(message), 3)
    kind = ""
    if flag.startswith("p="):
        flag, kind = "p", flag[2:]
        _require(_KIND.fullmatch(kind), "a binding's kind is none")
    else:
        _require(flag in {"y", "n"}, "the header's flag is none")
    # To authorize somebody else than is authenticated is nothing that we offer.
    _require(not authorized, "the client asks to be somebody else")
    name, nonce, *more = _parts(bare, 2, or_more=True)
    _require(name.startswith("n="), "the name is not where it belongs")
    _require_extensions(more)
    return ClientFirst(
        header=f"{'p=' + kind if kind else flag},,",
        flag=flag,
        kind=kind,
        name=_unescaped(name[2:]),
        nonce=_nonce(nonce),
        bare=bare,
    )


def write_client_first(name: str, nonce: str, flag: str) -> ClientFirst:
    """Return a client's first message.

    Args:
        name: whom it says it is.
        nonce: printable, without a comma.
        flag: `p=<kind>`, `y` or `n`.
    """
    spelled = name.replace("=", "=3D").replace(",", "=2C")
    return read_client_first(f"{flag},,n={spelled},r={nonce}".encode())


def read_server_first(message: bytes) -> ServerFirst:
    """Read a server's challenge; raises `RemoteProtocolError`."""
    text = _text(message)
    nonce, salt, number, *more = _parts(text, 3, or_more=True)
    _require_extensions(more)
    _require(
        salt.startswith("s=") and number.startswith("i="),
        "salt or count is missing",
    )
    _require(_NUMBER.fullmatch(number[2:]), "the count is no number")
    iterations = int(number[2:])
    _require(
        MINIMUM_ITERATIONS <= iterations <= MAXIMUM_ITERATIONS,
        f"{iterations} iterations are too few or too many",
    )
    return ServerFirst(_nonce(nonce), _bytes(salt[2:]), iterations, text)


def write_server_first(nonce: str, salt: bytes, iterations: int) -> ServerFirst:
    """Return a server's challenge."""
    text = f"r={nonce},s={_letters(salt)},i={iterations}"
    return ServerFirst(nonce, salt, iterations, text)


def read_client_final(message: bytes) -> ClientFinal:
    """Read a client's answer; raises `RemoteProtocolError`."""
    text = _text(message)
    binding, nonce, *more, proof = _parts(text, 3, or_more=True)
    _require_extensions(more)
    _require(
        binding.startswith("c=") and proof.startswith("p="),
        "something is missing",
    )
    made = _bytes(proof[2:])
    _require(len(made) == _DIGEST, "the proof has another length")
    bare = text[: -len(proof) - 1]
    return ClientFinal(_bytes(binding[2:]), _nonce(nonce), made, bare)


def write_client_final_bare(header: str, binding: bytes, nonce: str) -> str:
    """Return a client's answer before its proof."""
    return f"c={_letters(header.encode() + binding)},r={nonce}"


def write_client_final(bare: str, proof: bytes) -> bytes:
    """Return a client's answer."""
    return f"{bare},p={_letters(proof)}".encode()


def read_server_final(message: bytes) -> bytes:
    """Read a server's own proof; raises `RemoteProtocolError` if it refuses, too."""
    first, *more = _parts(_text(message), 1, or_more=True)
    _require(first.startswith("v="), "the server proves nothing")
    _require_extensions(more)
    return _bytes(first[2:])


def write_server_final(signature: bytes) -> bytes:
    """Return a server's own proof."""
    return f"v={_letters(signature)}".encode()


# --- what is computed -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What follows from a password, a salt and a count (RFC 5802 3).

    Attributes:
        client: proves the client.
        stored: its digest.
        server: proves the server.
    """

    client: bytes = field(repr=False)
    stored: bytes = field(repr=False)
    server: bytes = field(repr=False)


def keys_of(secret: bytes | memoryview, salt: bytes, iterations: int) -> ScramKeys:
    """Return the keys of a password; as slow as the count says."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared_secret(secret), salt, iterations)
    client = _mac(salted, b"Client Key")
    return ScramKeys(client, _digest(client), _mac(salted, b"Server Key"))


def make_verifier(secret: bytes, salt: bytes, iterations: int) -> ScramVerifier:
    """Return what is kept of a password."""
    keys = keys_of(secret, salt, iterations)
    return ScramVerifier(salt, iterations, keys.stored, keys.server)


def conversation(first: ClientFirst, challenge: ServerFirst, final_bare: str) -> bytes:
    """Return what both sides prove to have said and heard ("AuthMessage")."""
    return f"{first.bare},{challenge.text},{final_bare}".encode()


def proof_of(keys: ScramKeys, said: bytes) -> bytes:
    """Return a client's proof."""
    return _xor(keys.client, _mac(keys.stored, said))


def is_proof(verifier: ScramVerifier, said: bytes, proof: bytes) -> bool:
    """Tell whether a proof is one of the verifier's password."""
    client = _xor(proof, _mac(verifier.stored_key, said))
    return hmac.compare_digest(_digest(client), verifier.stored_key)


def signature_of(server_key: bytes, said: bytes) -> bytes:
    """Return a server's own proof."""
    return _mac(server_key, said)


# --- the grammar ----------------------------------------------------------------------


def _text(message: bytes) -> str:
    _require(len(message) <= LONGEST_MESSAGE, "the message is too long")
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError("the message is no text") from None
    _require("\0" not in text, "the message holds a NUL")
    return text


def _parts(text: str, number: int, *, or_more: bool = False) -> list[str]:
    """Split at commas; the last part has all others, unless there may be more."""
    parts = text.split(",") if or_more else text.split(",", number - 1)
    _require(len(parts) >= number, "something is missing")
    return parts


def _require_extensions(more: list[str]) -> None:
    """Accept extensions, which nobody has to understand; never `m`, which one must."""
    for each in more:
        is_one = _ATTRIBUTE.fullmatch(each) and not each.startswith("m=")
        _require(is_one, "an extension is none, or is not known here")


def _unescaped(name: str) -> str:
    escapes = [found.group(1) for found in _ESCAPE.finditer(name)]
    _require(None not in escapes, "the name is not escaped as it should be")
    return name.replace("=2C", ",").replace("=3D", "=")


def _nonce(part: str) -> str:
    is_nonce = part.startswith("r=") and _NONCE.fullmatch(part[2:])
    _require(is_nonce, "the nonce is none")
    return part[2:]


def _bytes(letters: str) -> bytes:
    """Read base64, of which each value has one spelling."""
    try:
        made = base64.b64decode(letters.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise RemoteProtocolError("what should be base64 is none") from None
    _require(made and _letters(made) == letters, "what should be base64 is none")
    return made


def _letters(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _require(condition: object, words: str) -> None:
    if not condition:
        raise RemoteProtocolError(f"no message of SCRAM: {words}")


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
