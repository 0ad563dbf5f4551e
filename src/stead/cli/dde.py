"""`stead dde`: request, poke, execute, advise, list: a DDE client like any other."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import islice
from typing import Annotated, Any

import typer

from stead.cli.asking import Level
from stead.cli.output import JsonFlag, errors_are_lines, show
from stead.errors import InvalidRequestError
from stead.gates.dde.client import ClientConversation, DdeClient
from stead.gates.dde.ports import AdviseKind, DdeData
from stead.model.quality_of_service import QualityOfService
from stead.model.token import ImpersonationLevel

# What only reads needs no more than to be known; what acts may have to be the client.
dde = typer.Typer(help="Ask a DDE server, and be told.", no_args_is_help=True)

_SYSTEM = "System"


class Format(Enum):
    """How a poked value is read."""

    TEXT = "text"
    JSON = "json"


Pipe = Annotated[str, typer.Argument(help="Path of the server's DDE socket.")]
Service = Annotated[str, typer.Argument(help="The service, such as `prices`.")]
Topic = Annotated[str, typer.Argument(help="The topic, such as `stocks`.")]
Item = Annotated[str, typer.Argument(help="The item, such as `acme`.")]
LevelOption = Annotated[
    Level, typer.Option("--level", help="How far that server may go with you.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", help="Seconds for each answer.", min=0.001)
]
UidOption = Annotated[
    int | None, typer.Option("--server-uid", help="The uid that server must have.")
]


@contextmanager
def _talking(
    pipe: str, service: str, topic: str, options: tuple[Level, float, int | None]
) -> Iterator[ClientConversation]:
    """Connect and begin a conversation; errors end the verb with one line."""
    level, timeout, server_uid = options
    qos = QualityOfService(level=ImpersonationLevel[level.name])
    with (
        errors_are_lines(),
        DdeClient.connect(
            pipe, qos=qos, server_uid=server_uid, timeout=timeout
        ) as client,
        client.conversation(service, topic) as conversation,
    ):
        yield conversation


@dde.command("request")
def request(
    pipe: Pipe,
    service: Service,
    topic: Topic,
    item: Item,
    *,
    level: LevelOption = Level.IDENTIFICATION,
    timeout: TimeoutOption = 30.0,
    server_uid: UidOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the value of an item."""
    with _talking(pipe, service, topic, (level, timeout, server_uid)) as conversation:
        data = conversation.request_data(item)
    _show(item, data, as_json=as_json)


@dde.command("poke")
def poke(  # noqa: PLR0913 - each option of a verb is a parameter
    pipe: Pipe,
    service: Service,
    topic: Topic,
    item: Item,
    value: Annotated[str, typer.Argument(help="Its new value.")],
    *,
    data_format: Annotated[
        Format, typer.Option("--format", help="Whether the value is text or JSON.")
    ] = Format.TEXT,
    level: LevelOption = Level.IMPERSONATION,
    timeout: TimeoutOption = 30.0,
    server_uid: UidOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Give an item a value."""
    with errors_are_lines():
        data = value if data_format is Format.TEXT else _read_json(value)
    with _talking(pipe, service, topic, (level, timeout, server_uid)) as conversation:
        conversation.poke(item, data)
    show({"item": item, "done": True}, as_json=as_json, lines=lambda: ["done"])


@dde.command("execute")
def execute(
    pipe: Pipe,
    service: Service,
    topic: Topic,
    command: Annotated[str, typer.Argument(help="What the server is to do.")],
    *,
    level: LevelOption = Level.IMPERSONATION,
    timeout: TimeoutOption = 30.0,
    server_uid: UidOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Have a command run by the topic."""
    with _talking(pipe, service, topic, (level, timeout, server_uid)) as conversation:
        conversation.execute(command)
    show({"command": command, "done": True}, as_json=as_json, lines=lambda: ["done"])


@dde.command("advise")
def advise(  # noqa: PLR0913 - each option of a verb is a parameter
    pipe: Pipe,
    service: Service,
    topic: Topic,
    item: Item,
    *,
    warm: Annotated[
        bool, typer.Option("--warm", help="Only be told that there is a new value.")
    ] = False,
    count: Annotated[int | None, typer.Option(help="End after so many.", min=1)] = None,
    level: LevelOption = Level.IDENTIFICATION,
    timeout: TimeoutOption = 30.0,
    server_uid: UidOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Print each new value of an item, a line each, until interrupted."""
    kind = AdviseKind.WARM if warm else AdviseKind.HOT
    with _talking(pipe, service, topic, (level, timeout, server_uid)) as conversation:
        try:
            with conversation.advise(item, kind=kind) as news:
                for _, value in islice(news, count):
                    _show(item, None if warm else DdeData.of(value), as_json=as_json)
        except KeyboardInterrupt:
            return  # how it is ended


@dde.command("list")
def list_names(
    pipe: Pipe,
    service: Service,
    topic: Annotated[str | None, typer.Argument(help="Its items, if given.")] = None,
    *,
    level: LevelOption = Level.IDENTIFICATION,
    timeout: TimeoutOption = 30.0,
    server_uid: UidOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the topics of a service, or the items of a topic, that you may see."""
    about, item = (_SYSTEM, "Topics") if topic is None else (topic, "TopicItemList")
    with _talking(pipe, service, about, (level, timeout, server_uid)) as conversation:
        told = str(conversation.request(item))
    names = told.split("\t") if told else []
    show(names, as_json=as_json, lines=lambda: names)


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidRequestError(f"`{text[:80]}` is no json") from error


def _show(item: str, data: DdeData | None, *, as_json: bool) -> None:
    """Print a value, or that there is one."""
    if data is None:
        told: dict[str, Any] = {"item": item, "news": True}
    else:
        told = {"item": item, "format": data.format, "value": _plain(data.value)}
    show(told, as_json=as_json, lines=lambda: [_line(item, data)])


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _line(item: str, data: DdeData | None) -> str:
    if data is None:
        return f"{item} has a new value"
    return data.value if isinstance(data.value, str) else json.dumps(_plain(data.value))
