"""The messages of DDE, as values and as JSON.

Each is a JSON object whose `type` says which; unknown fields, wrong types and trailing
bytes are mistakes. Conversations are numbered by the client, transactions likewise,
within their conversation; an advise is named by its item.

    >>> write_message(Request(conversation=1, transaction=1, item="acme"))
    b'{"type":"request","conversation":1,"transaction":1,"item":"acme"}'
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from stead.errors import InvalidMessageError, InvalidRequestError, RemoteProtocolError
from stead.gates.dde.ports import DdeData
from stead.gates.dde.values import plain_copy
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    Correlation,
    LevelName,
    TrackingName,
    level_name,
)
from stead.gates.pipe.messages import read_message as read_bounded
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

VERSION: Final = 1

# JSON readers of other languages keep integers exactly up to 2**53.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]
Status: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Command: TypeAlias = Annotated[str, msgspec.Meta(max_length=1 << 14)]
Sentence: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]
Format: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")
]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
KindName: TypeAlias = Literal["hot", "warm"]
AckName: TypeAlias = Literal["ack", "busy", "nack"]


class _Part(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What all parts of messages share."""


class _Message(_Part, frozen=True, tag_field="type"):
    """What all messages share."""


class Value(_Part, frozen=True, kw_only=True):
    """An item's value: what JSON holds, or content of bytes."""

    format: Format = "text"
    plain: Any = None
    content: bytes | None = None


# --- the connection -----------------------------------------------------------------


class Hello(_Message, tag="hello", frozen=True, kw_only=True):
    """The client's first word."""

    version: Number
    correlation: Correlation | None = None


class Welcome(_Message, tag="welcome", frozen=True, kw_only=True):
    """The server's answer: who it is and what it bears."""

    version: Number
    server: Name
    conversations: Count
    advises: Count
    transactions: Count


class Qos(_Message, tag="qos", frozen=True, kw_only=True):
    """The quality of service of all conversations that are begun from now on."""

    level: LevelName = "impersonation"
    tracking: TrackingName = "static"
    effective_only: bool = True


class QosWas(_Message, tag="qos_was", frozen=True, kw_only=True):
    """The one that was set before."""

    level: LevelName = "impersonation"
    tracking: TrackingName = "static"
    effective_only: bool = True


class Goodbye(_Message, tag="goodbye", frozen=True, kw_only=True):
    """The sender's last word; every conversation ends with it."""

    reason: Sentence = ""


# --- conversations ------------------------------------------------------------------


class Connect(_Message, tag="connect", frozen=True, kw_only=True):
    """Begin a conversation about a topic of a service."""

    conversation: Number
    service: Name
    topic: Name


class Connected(_Message, tag="connected", frozen=True, kw_only=True):
    """The conversation stands, at this quality of service."""

    conversation: Number
    level: LevelName = "impersonation"
    tracking: TrackingName = "static"
    effective_only: bool = True


class Refused(_Message, tag="refused", frozen=True, kw_only=True):
    """No conversation is established."""

    conversation: Number
    status: Status
    message: Sentence
    record: Number | None = None


class Terminate(_Message, tag="terminate", frozen=True, kw_only=True):
    """The client leaves the conversation, or takes note that the server did."""

    conversation: Number


class Terminated(_Message, tag="terminated", frozen=True, kw_only=True):
    """The server leaves the conversation, or takes note that the client did."""

    conversation: Number
    reason: Sentence = ""


# --- transactions -------------------------------------------------------------------


class Request(_Message, tag="request", frozen=True, kw_only=True):
    """Ask for an item's value."""

    conversation: Number
    transaction: Number
    item: Name


class Poke(_Message, tag="poke", frozen=True, kw_only=True):
    """Give an item a value."""

    conversation: Number
    transaction: Number
    item: Name
    value: Value


class Execute(_Message, tag="execute", frozen=True, kw_only=True):
    """Have a command run."""

    conversation: Number
    transaction: Number
    command: Command


class Advise(_Message, tag="advise", frozen=True, kw_only=True):
    """Ask to be told of an item's new values."""

    conversation: Number
    transaction: Number
    item: Name
    kind: KindName = "hot"
    acknowledged: bool = False


class Unadvise(_Message, tag="unadvise", frozen=True, kw_only=True):
    """Ask to be told no more, or take note that the server has ended it."""

    conversation: Number
    transaction: Number
    item: Name


class Data(_Message, tag="data", frozen=True, kw_only=True):
    """The value that was requested."""

    conversation: Number
    transaction: Number
    value: Value


class Done(_Message, tag="done", frozen=True, kw_only=True):
    """What was asked for is done."""

    conversation: Number
    transaction: Number


class Nack(_Message, tag="nack", frozen=True, kw_only=True):
    """What was asked for is refused."""

    conversation: Number
    transaction: Number
    status: Status
    message: Sentence
    record: Number | None = None


class Busy(_Message, tag="busy", frozen=True, kw_only=True):
    """What was asked for is not done now; ask again later."""

    conversation: Number
    transaction: Number


# --- advises ------------------------------------------------------------------------


class AdviseData(_Message, tag="advise_data", frozen=True, kw_only=True):
    """An item's new value, or, warm, that there is one."""

    conversation: Number
    item: Name
    serial: Number
    value: Value | None = None


class Ack(_Message, tag="ack", frozen=True, kw_only=True):
    """The client's acknowledgement of advised data."""

    conversation: Number
    item: Name
    serial: Number
    status: AckName = "ack"


class AdviseEnded(_Message, tag="advise_ended", frozen=True, kw_only=True):
    """The server ends an advise."""

    conversation: Number
    item: Name
    status: Status
    message: Sentence
    record: Number | None = None


Asking: TypeAlias = Request | Poke | Execute | Advise | Unadvise
Answer: TypeAlias = Data | Done | Nack | Busy
Told: TypeAlias = AdviseData | Ack | AdviseEnded
ClientMessage: TypeAlias = Hello | Qos | Goodbye | Connect | Terminate | Asking | Ack
ServerMessage: TypeAlias = (
    Welcome
    | QosWas
    | Goodbye
    | Connected
    | Refused
    | Terminated
    | Answer
    | AdviseData
    | AdviseEnded
)
Spoken: TypeAlias = (
    Connect
    | Terminate
    | Asking
    | Ack
    | Connected
    | Refused
    | Terminated
    | Answer
    | AdviseData
    | AdviseEnded
)
"""What is said within a conversation."""
Message: TypeAlias = Hello | Welcome | Qos | QosWas | Goodbye | Spoken

CLIENT_MESSAGES: Final = msgspec.json.Decoder(ClientMessage)
SERVER_MESSAGES: Final = msgspec.json.Decoder(ServerMessage)
_MESSAGES: Final = msgspec.json.Decoder(Message)


def qos_fields(qos: QualityOfService) -> dict[str, Any]:
    """Return a quality of service as the fields of a message."""
    return {
        "level": level_name(qos.level),
        "tracking": qos.tracking.value,
        "effective_only": qos.effective_only,
    }


def qos_of(message: Qos | QosWas | Connected) -> QualityOfService:
    """Return the quality of service that a message names."""
    return QualityOfService(
        level=ImpersonationLevel[message.level.upper()],
        tracking=Tracking(message.tracking),
        effective_only=message.effective_only,
    )


def value_of(data: DdeData) -> Value:
    """Return an item's value as a part of a message.

    Raises:
        InvalidMessageError: it is none that an item can have.
    """
    try:
        plain = plain_copy(data.value)
        msgspec.convert(data.format, Format)
    except msgspec.ValidationError as error:
        raise InvalidMessageError("the value's format has no valid name") from error
    except InvalidRequestError as error:
        raise InvalidMessageError(str(error)) from error
    if isinstance(plain, bytes):
        return Value(format=data.format, content=plain)
    return Value(format=data.format, plain=plain)


def data_of(value: Value) -> DdeData:
    """Return what a part of a message holds."""
    content = value.plain if value.content is None else value.content
    return DdeData(content, value.format)


def write_message(message: Message) -> bytes:
    """Return a message as JSON; its value, if it has one, is of `value_of`.

    Raises:
        InvalidMessageError: it would not be read back as what it is.
    """
    try:
        body = msgspec.json.encode(message)
        # The encoder checks no field: only who reads it back knows that it is valid.
        _MESSAGES.decode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessageError("a field of the message is not valid") from error
    return body


def read_message(
    body: bytes, decoder: msgspec.json.Decoder[Any], limits: PipeLimits
) -> Message:
    """Return the message that a body holds.

    Args:
        body: the JSON.
        decoder: `CLIENT_MESSAGES` or `SERVER_MESSAGES`, by who sent it.
        limits: bounds the number of values before they are read.

    Raises:
        RemoteProtocolError: it is not a message of that peer, or too costly.
    """
    # The pipe's reader counts values and says what is wrong; the decoder says what
    # messages there are.
    read: Any = read_bounded(body, decoder, limits)
    message: Message = read
    value = message.value if isinstance(message, (Poke, Data, AdviseData)) else None
    if value is not None:
        if value.content is not None and value.plain is not None:
            raise RemoteProtocolError("the message holds two values")
        try:
            plain_copy(data_of(value).value)
        except InvalidRequestError as error:
            raise RemoteProtocolError(f"of the message: {error}") from error
    return message
