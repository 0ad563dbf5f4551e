"""The messages of the pipe, as values and as JSON.

Each is a JSON object whose `type` says which; unknown fields, wrong types and trailing
bytes are mistakes. A result that is bytes as a whole (a file's content) arrives as
bytes; inside dicts and lists, and in arguments, bytes travel as base64 text.

    >>> write_message(Request(id=1, operation="whoami"), PipeLimits())
    b'{"type":"request","id":1,"operation":"whoami"}'
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from stead.errors import InvalidMessageError, RemoteProtocolError
from stead.gates.pipe.limits import PipeLimits
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

VERSION: Final = 1

# JSON readers of other languages keep integers exactly up to 2**53.
Id: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]
AnswerId: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
Status: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Sentence: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]
# These are copied into logs and the trail: visible ASCII cannot forge a line there.
Correlation: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[!-~]+\Z")
]
Operation: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[!-~]+\Z")
]
ArgumentName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
# The name of a way to authenticate, as SASL spells such names (RFC 4422 3.1).
PackageName: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=32, pattern=r"^[a-z0-9_-]+\Z")
]
# A ticket with a thousand groups has some 64 KiB.
Blob: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=96_000)]
LevelName: TypeAlias = Literal[
    "anonymous", "identification", "impersonation", "delegation"
]

TrackingName: TypeAlias = Literal["static", "dynamic"]


class _Message(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
):
    """What all messages share."""


class Hello(_Message, tag="hello", frozen=True, kw_only=True):
    """The client's first word: the protocol's version, and what it lets be done."""

    version: Id
    level: LevelName = "impersonation"
    tracking: TrackingName = "static"
    effective_only: bool = False
    correlation: Correlation | None = None
    package: PackageName | None = None


class Request(_Message, tag="request", frozen=True, kw_only=True):
    """One operation, under a number that the client has not in use."""

    id: Id
    operation: Operation
    arguments: Annotated[dict[ArgumentName, Any], msgspec.Meta(max_length=64)] = (
        msgspec.field(default_factory=dict)
    )


class Challenge(_Message, tag="challenge", frozen=True, kw_only=True):
    """What the server says while it authenticates the client; at first, nothing."""

    blob: Blob = b""


class Response(_Message, tag="response", frozen=True, kw_only=True):
    """What the client says in it."""

    blob: Blob


class Welcome(_Message, tag="welcome", frozen=True, kw_only=True):
    """The server admits the client; `blob` is its last word of an exchange."""

    version: Id
    server: Name
    account: Name
    level: LevelName
    tracking: TrackingName = "static"
    effective_only: bool = False
    blob: Blob = b""


class Result(_Message, tag="result", frozen=True, kw_only=True):
    """An operation's answer: a plain value, or content of bytes."""

    id: Id
    value: Any = None
    content: bytes | None = None


class Refusal(_Message, tag="refusal", frozen=True, kw_only=True):
    """A refused request; number 0 refuses the client itself."""

    id: AnswerId
    status: Status
    message: Sentence
    record: Id | None = None


class Goodbye(_Message, tag="goodbye", frozen=True, kw_only=True):
    """The sender's last word."""

    reason: Sentence = ""


ClientMessage: TypeAlias = Hello | Response | Request | Goodbye
ServerMessage: TypeAlias = Challenge | Welcome | Result | Refusal | Goodbye
Message: TypeAlias = (
    Hello | Challenge | Response | Request | Welcome | Result | Refusal | Goodbye
)

CLIENT_MESSAGES: Final = msgspec.json.Decoder(ClientMessage)
SERVER_MESSAGES: Final = msgspec.json.Decoder(ServerMessage)
_MESSAGES: Final = msgspec.json.Decoder(Message)

_PLAIN: Final = (int, float, NoneType)  # a bool is an int
_JSON: Final = (*_PLAIN, str, list, tuple, dict)
_ITEM_SIZE: Final = 64  # about what an empty value takes in memory
# More than the fields of any message have of each, beside its value.
_QUOTES_BESIDE: Final = 64
_VALUES_BESIDE: Final = 16


def level_name(level: ImpersonationLevel) -> LevelName:
    """Return a level as the pipe spells it."""
    names: Mapping[ImpersonationLevel, LevelName] = {
        ImpersonationLevel.ANONYMOUS: "anonymous",
        ImpersonationLevel.IDENTIFICATION: "identification",
        ImpersonationLevel.IMPERSONATION: "impersonation",
        ImpersonationLevel.DELEGATION: "delegation",
    }
    return names[level]


def level_of(message: Hello | Welcome) -> ImpersonationLevel:
    """Return the level that a message names."""
    return ImpersonationLevel[message.level.upper()]


def quality_of(message: Hello | Welcome) -> QualityOfService:
    """Return what a message lets be done with the client's identity."""
    return QualityOfService(
        level_of(message), Tracking(message.tracking), message.effective_only
    )


def result(number: int, value: object) -> Result:
    """Return an operation's answer as a message.

    Args:
        number: the request's.
        value: bytes, or whatever JSON can hold; dataclasses become objects.

    Raises:
        InvalidMessageError: JSON cannot hold the value.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Result(id=number, content=bytes(value))
    return Result(id=number, value=plain(value))


def plain(value: object) -> Any:
    """Return a value made of nothing but dicts, lists, text, numbers and None.

    Raises:
        InvalidMessageError: JSON cannot hold the value.
    """
    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessageError("the value cannot be written as json") from error


def write_message(message: Message, limits: PipeLimits) -> bytes:
    """Return a message as JSON.

    Raises:
        InvalidMessageError: it would not be read back as what it is.
    """
    # The encoder checks no fields and writes what is not finite as null. So the value
    # is judged as it was given, down to its last part, and all but the value is read
    # back: to read back the whole would cost as much again and find nothing more.
    fault = _fault_of(_content_of(message), limits) or _fault_of_size(message, limits)
    if fault:
        raise InvalidMessageError(f"the message holds {fault}")
    try:
        body = msgspec.json.encode(message)
        shell = msgspec.json.encode(_shell_of(message))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessageError("the message cannot be written as json") from error
    try:
        _MESSAGES.decode(shell)
    except (ValueError, RecursionError) as error:
        raise InvalidMessageError("a field of the message is not valid") from error
    return body


def is_small(value: object, size: int) -> bool:
    """Whether a value surely takes less than `size` bytes, and as little time.

    What is not plain at a glance (a dataclass, a date) does not count as small.
    """
    pending = [value]
    while pending and size > 0:
        item = pending.pop()
        size -= _ITEM_SIZE
        if isinstance(item, (str, bytes, bytearray)):
            size -= len(item)
        elif isinstance(item, (dict, list, tuple)):
            if len(item) * _ITEM_SIZE > size:
                return False
            pending.extend(item)
            if isinstance(item, dict):
                pending.extend(item.values())
        elif not isinstance(item, _PLAIN):
            return False
    return size > 0


def read_message(
    body: bytes, decoder: msgspec.json.Decoder[Any], limits: PipeLimits
) -> Message:
    """Return the message that a body holds.

    Args:
        body: the JSON.
        decoder: `CLIENT_MESSAGES` or `SERVER_MESSAGES`, by who sent it.
        limits: depth and items are judged.

    Raises:
        RemoteProtocolError: it is not a message of that peer, or too costly.
    """
    # Judged before it is read: half a million values take the reader a while, and the
    # interpreter lets nobody else run meanwhile.
    if _has_too_many_values(body, limits):
        raise RemoteProtocolError("the message holds too many values")
    # Of all that may be wrong the reason stays in the chained error: it quotes the
    # peer. A RecursionError is how the reader says that nesting is too deep.
    try:
        message: Message = decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("the body is not a message of this peer") from error
    fault = _fault_of(_content_of(message), limits)
    if fault:
        raise RemoteProtocolError(f"the message holds {fault}")
    return message


def _content_of(message: Message) -> object:
    """Return the one part of a message whose shape is the sender's own."""
    if isinstance(message, Request):
        return message.arguments
    return message.value if isinstance(message, Result) else None


def _shell_of(message: Message) -> Message:
    """Return a message without its value, and all else that was given to it."""
    if isinstance(message, Request):
        names = dict.fromkeys(message.arguments)
        return msgspec.structs.replace(message, arguments=names)
    if isinstance(message, Result):
        return msgspec.structs.replace(message, value=None, content=None)
    return message


def _has_too_many_values(body: bytes, limits: PipeLimits) -> bool:
    """Whether a body holds more values than allowed by far, if it is JSON at all.

    Every value but a container's first follows a comma or a bracket, every text and
    every key stands in two quotes. What is inside texts does not count.
    """
    quotes = 4 * limits.items + _QUOTES_BESIDE
    values = 2 * limits.items + _VALUES_BESIDE
    if body.count(b'"') <= quotes and _structure(body) <= values:
        return False
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if bare.count(b'"') > quotes:
        return True
    return sum(map(_structure, bare.split(b'"')[::2])) > values


def _structure(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _fault_of_size(message: Message, limits: PipeLimits) -> str:
    """Say if content could not fit a frame, before anybody writes it."""
    if isinstance(message, Result) and message.content is not None:
        return "too much content" if len(message.content) > limits.frame else ""
    return ""


def _fault_of(value: object, limits: PipeLimits) -> str:
    """Say what is wrong with a value, level by level; nothing if all is well."""
    level: list[object] = [value]
    count = 1
    for _ in range(limits.depth):
        nested = [item for item in level if isinstance(item, (dict, list, tuple))]
        count += sum(map(len, nested))
        # Before they are looked into, lest that be what costs too much.
        if count > limits.items:
            return "too many values"
        if sum(len(item) for item in level if isinstance(item, str)) > limits.frame:
            return "too much text"
        for item in level:
            if fault := _fault_of_item(item):
                return fault
        if not nested:
            return ""
        level = [
            part
            for item in nested
            for part in (item.values() if isinstance(item, dict) else item)
        ]
    return "values nested too deep"


def _fault_of_item(item: object) -> str:
    if isinstance(item, dict):
        is_readable = all(isinstance(key, str) for key in item)
        return "" if is_readable else "a key that is not text"
    if isinstance(item, float):
        return "" if isfinite(item) else "a number that is not finite"
    return "" if isinstance(item, _JSON) else "what json does not know"
