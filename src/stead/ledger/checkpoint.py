"""Checkpoints of a tree, and signed notes, as text (C2SP tlog-checkpoint, signed-note).

A checkpoint says whose tree it is, how many leaves it has, and its root::

    stead/S-1-5-21-1-2-3
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

A note is that text, an empty line, and a line for each signature: a dash (U+2014), the
name of the key, and in base64 four bytes of the key's hash and then the signature.
Other programs for transparency logs read and verify the same text.

Keys are named as the tools of signed notes name them: ``NAME+HASH+BASE64``. Nothing
here signs or verifies; `NoteSigner` and `NoteVerifier` are what does.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol, Self

from stead.errors import InvalidCheckpointError, InvalidSidError
from stead.ledger.tree import HASH_SIZE, LARGEST
from stead.model.sid import Sid

LONGEST_NOTE: Final = 16_384
"""Characters of a note: what is longer is none."""

MOST_SIGNATURES: Final = 16

_DASH: Final = "\N{EM DASH}"
_ED25519: Final = b"\1"
_HASH_BYTES: Final = 4
_SIGNATURE_BYTES: Final = 64
_KEY_BYTES: Final = 32
_DIGITS: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")
# Lone surrogates are no text: UTF-8, of which hashes and signatures are made, has none.
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_PRIVATE: Final = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a tree was at one size.

    Attributes:
        origin: whose tree.
        size: how many leaves.
        root: the root hash.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse an origin that is none; raises `InvalidCheckpointError`.

        One with line ends would have something else be signed than is meant.
        """
        if not is_origin(self.origin):
            raise InvalidCheckpointError(
                f"{self.origin[:80]!a} is not whose tree a checkpoint could be of"
            )

    def __str__(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read what `str` gives; raises `InvalidCheckpointError`."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:  # noqa: PLR2004
            raise InvalidCheckpointError("the text is no checkpoint")
        origin, size, root = lines[:3]
        if not _DIGITS.fullmatch(size) or int(size) > LARGEST:
            raise InvalidCheckpointError(f"`{size[:80]}` is no size of a tree")
        # Lines after these are an extension. We write none, and sign none.
        if len(lines) > 4:  # noqa: PLR2004
            raise InvalidCheckpointError("the checkpoint has lines of an extension")
        return cls(origin, int(size), _unbase64(root, HASH_SIZE))


@dataclass(frozen=True, slots=True)
class Signature:
    """One line of signature.

    Attributes:
        name: the name of the key.
        key_hash: four bytes by which the key is told from others of that name.
        signature: what was made with it.
    """

    name: str
    key_hash: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {_base64(self.key_hash + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """Text and who signed it.

    Attributes:
        text: what is signed; its lines end with a newline.
        signatures: at least one.
    """

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def from_string(cls, note: str) -> Self:
        """Read a note; raises `InvalidCheckpointError` unless it is one exactly."""
        text, mark, lines = note.rpartition("\n\n")
        bad = "the text is no signed note"
        if len(note) > LONGEST_NOTE or not mark or not lines.endswith("\n"):
            raise InvalidCheckpointError(bad)
        if _CONTROLS.search(note):
            raise InvalidCheckpointError(bad)
        signatures = tuple(map(_signature, lines[:-1].split("\n")))
        if len(signatures) > MOST_SIGNATURES:
            raise InvalidCheckpointError("the note has too many signatures")
        return cls(text + "\n", signatures)


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key, with its name.

    Attributes:
        name: what signatures call it.
        public: 32 bytes, of Ed25519.
    """

    name: str
    public: bytes

    @property
    def key_hash(self) -> bytes:
        """Four bytes by which signatures name it (C2SP signed-note)."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return sha256(named).digest()[:_HASH_BYTES]

    def __str__(self) -> str:
        """Return the text that is handed around."""
        known = self.key_hash.hex()
        return f"{self.name}+{known}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read what `str` gives; raises `InvalidCheckpointError`."""
        name, key_hash, binary = _key_parts(text)
        key = cls(name, binary)
        if key.key_hash.hex() != key_hash:
            raise InvalidCheckpointError("the text is no public key of a witness")
        return key


class NoteSigner(Protocol):
    """Whoever holds the private half of a key."""

    @property
    def key(self) -> VerifierKey:
        """The public half."""
        ...  # a body that is a docstring alone returns None to pyright

    def sign(self, text: str) -> Signature:
        """Sign a note's text."""
        ...


class NoteVerifier(Protocol):
    """Whoever can tell what one key has signed."""

    @property
    def key(self) -> VerifierKey:
        """The key."""
        ...

    def is_signed(self, note: Note) -> bool:
        """Tell whether the key has signed this note's text."""
        ...


def signed_checkpoint(
    note: str, verifier: NoteVerifier | None, origin: str
) -> Checkpoint:
    """Read a note that holds a checkpoint, and verify that it is this trail's.

    Args:
        note: the text.
        verifier: of the key that must have signed; None to believe anybody.
        origin: whose tree it must be.

    Raises:
        InvalidCheckpointError: it is none, another's, or not signed with that key.
    """
    read = Note.from_string(note)
    checkpoint = Checkpoint.from_string(read.text)
    if checkpoint.origin != origin:
        raise InvalidCheckpointError(
            f"the checkpoint is of `{checkpoint.origin[:80]}`, not of `{origin}`"
        )
    if verifier is not None and not verifier.is_signed(read):
        raise InvalidCheckpointError(
            f"the checkpoint at {checkpoint.size} is not signed by {verifier.key}"
        )
    return checkpoint


def origin_of(domain: str) -> str:
    """Return the origin of the trail of a store with this SID."""
    return f"stead/{domain}"


def is_origin(text: str) -> bool:
    """Tell whether this is what `origin_of` returns for some store."""
    try:
        return text == origin_of(str(Sid.from_string(text.removeprefix("stead/"))))
    except InvalidSidError:
        return False


def require_key_name(name: str) -> str:
    """Return what can be the name of a key; raises `InvalidCheckpointError`."""
    if not _NAME.fullmatch(name):
        raise InvalidCheckpointError(
            f"`{name[:80]}` is no name of a key",
            advice="1 to 200 characters without spaces and +",
        )
    return name


def write_private_key(key: VerifierKey, seed: bytes) -> str:
    """Return the line that holds the private half of a key."""
    return f"{_PRIVATE}{key.name}+{key.key_hash.hex()}+{_base64(_ED25519 + seed)}"


def read_private_key(line: str) -> tuple[str, str, bytes]:
    """Return name, hash and seed of a private key; raises `InvalidCheckpointError`."""
    if not line.startswith(_PRIVATE):
        raise InvalidCheckpointError("the text is no private key")
    return _key_parts(line.removeprefix(_PRIVATE))


def notes_in(text: str) -> list[str]:
    """Return the notes that stand one after another, as a witness appends them.

    A note that was not finished, at the end, is left out: it was not handed out.
    """
    return list(each_note(_LINES.findall(text)))


def each_note(text: Iterable[str]) -> Iterator[str]:
    """Yield the notes as `notes_in` does, given their lines."""
    lines: list[str] = []
    is_signed = False
    for line in text:
        if is_signed and not line.startswith(_DASH):
            yield "".join(lines)
            lines, is_signed = [], False
        lines.append(line)
        is_signed = line.startswith(_DASH) and line.endswith("\n")
    if is_signed:
        yield "".join(lines)


def thinned_out(notes: Iterable[str], most: int) -> list[str]:
    """Return so many notes of very many, evenly, and the last one always."""
    kept: list[str] = []
    step, note = 1, ""
    for number, note in enumerate(notes):
        if number % step == 0:
            kept.append(note)
        if len(kept) > most:
            kept, step = kept[::2], 2 * step
    return [*kept, note] if kept and kept[-1] != note else kept


def _key_parts(text: str) -> tuple[str, str, bytes]:
    # The base64 may hold a plus sign, a name may not.
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):  # noqa: PLR2004 - the three
        raise InvalidCheckpointError(
            "the text is no key of a witness",
            advice="give what `stead witness key` printed, or a file that holds it",
        )
    binary = _unbase64(parts[2], 1 + _KEY_BYTES)
    if binary[:1] != _ED25519:
        raise InvalidCheckpointError("the key is not one of Ed25519")
    return parts[0], parts[1], binary[1:]


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not _NAME.fullmatch(parts[1]):  # noqa: PLR2004
        raise InvalidCheckpointError("the note has a line that is no signature")
    binary = _unbase64(parts[2], None)
    if len(binary) < _HASH_BYTES + _SIGNATURE_BYTES:
        raise InvalidCheckpointError("a signature is too short")
    return Signature(parts[1], binary[:_HASH_BYTES], binary[_HASH_BYTES:])


def _base64(binary: bytes) -> str:
    return base64.b64encode(binary).decode()


def _unbase64(text: str, size: int | None) -> bytes:
    try:
        binary = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidCheckpointError("the text is no base64") from error
    # One text for each value: stray bits at the end are refused.
    if _base64(binary) != text or (size is not None and len(binary) != size):
        raise InvalidCheckpointError("the text is no base64 of the right length")
    return binary
