"""Messages: strict to read, and nothing is written that would read differently."""

import json
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidMessageError, InvalidRequestError, RemoteProtocolError
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    ClientMessage,
    Goodbye,
    Hello,
    Refusal,
    Request,
    Result,
    Welcome,
    is_small,
    level_name,
    level_of,
    plain,
    read_message,
    result,
    write_message,
)
from stead.model.token import ImpersonationLevel

LIMITS = PipeLimits()
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "message",
    [
        Hello(version=1),
        Hello(version=1, level="delegation", correlation="job-17/3"),
        Request(id=1, operation="read", arguments={"name": "a", "n": [1, None]}),
        Goodbye(),
    ],
)
def test_what_a_client_writes_is_read_back(message):
    body = write_message(message, LIMITS)
    assert message == read_message(body, CLIENT_MESSAGES, LIMITS)


@pytest.mark.parametrize(
    "message",
    [
        Welcome(version=1, server="s", account="a", level="anonymous"),
        Result(id=1, value={"a": [True, 1.5]}),
        Result(id=1, content=b"\x00\xff"),
        Refusal(id=0, status=1326, message="logon failure", record=9),
        Goodbye(reason="bye"),
    ],
)
def test_what_a_server_writes_is_read_back(message):
    body = write_message(message, LIMITS)
    assert message == read_message(body, SERVER_MESSAGES, LIMITS)


@given(value=JSON)
def test_any_value_that_is_written_is_read_back_equal(value):
    body = write_message(Result(id=1, value=value), LIMITS)
    assert value == read_message(body, SERVER_MESSAGES, LIMITS).value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"type":"hello"}',
        b'{"type":"hello","version":"1"}',
        b'{"type":"hello","version":1,"level":"god"}',
        b'{"type":"hello","version":1,"uid":0}',
        b'{"type":"hello","version":1,"correlation":"a\\nb"}',
        b'{"type":"hello","version":1,"correlation":"a\\n"}',
        b'{"type":"hello","version":1,"correlation":""}',
        b'{"type":"hello","version":1} ' + b"x",
        b'{"type":"request","id":0,"operation":"x"}',
        b'{"type":"request","id":1.0,"operation":"x"}',
        b'{"type":"request","id":9007199254740992,"operation":"x"}',
        b'{"type":"request","id":1,"operation":""}',
        b'{"type":"request","id":1,"operation":"a b"}',
        b'{"type":"request","id":1,"operation":"x","arguments":[]}',
        b'{"type":"request","id":1,"operation":"x","arguments":{"":1}}',
        b'{"type":"request","id":1,"operation":"x","arguments":{"a":NaN}}',
        b'{"type":"request","id":1,"operation":"x","arguments":{"a":1e999}}',
        b'{"type":"request","id":1,"operation":"x","arguments":{"a":"\\ud800"}}',
        b'{"type":"goodbye","reason":"' + b"x" * 1025 + b'"}',
        b'{"type":"welcome","version":1,"server":"s","account":"a","level":"anonymous"}',
        b'{"type":"request","id":1,"operation":"x","arguments":{"a":'
        + b"[" * 5_000
        + b"]" * 5_000
        + b"}}",
        b'{"type":"request","id":1,"operation":"x","arguments":{"a":'
        + b"9" * 100_000
        + b"}}",
    ],
    ids=range(27),
)
def test_a_body_that_is_no_clients_message_is_refused(body):
    with pytest.raises(RemoteProtocolError, match="not a message of this peer"):
        read_message(body, CLIENT_MESSAGES, LIMITS)


def test_a_refused_body_is_not_quoted_in_the_error():
    body = b'{"type":"goodbye","FORGED\\n2026 granted":1}'
    with pytest.raises(RemoteProtocolError) as caught:
        read_message(body, CLIENT_MESSAGES, LIMITS)
    assert "FORGED" not in str(caught.value)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded_both_ways():
    arguments = {"a": nested(LIMITS.depth - 2)}
    allowed = Request(id=1, operation="x", arguments=arguments)
    body = write_message(allowed, LIMITS)
    assert allowed == read_message(body, CLIENT_MESSAGES, LIMITS)
    shallow = PipeLimits(depth=LIMITS.depth - 1)
    with pytest.raises(RemoteProtocolError, match="nested too deep"):
        read_message(body, CLIENT_MESSAGES, shallow)
    with pytest.raises(InvalidMessageError, match="nested too deep"):
        write_message(allowed, shallow)


def test_a_million_small_values_are_refused():
    body = json.dumps(
        {
            "type": "request",
            "id": 1,
            "operation": "x",
            "arguments": {"a": [[]] * (LIMITS.items + 1)},
        }
    ).encode()
    with pytest.raises(RemoteProtocolError, match="too many values"):
        read_message(body, CLIENT_MESSAGES, LIMITS)


class Reader:
    """A decoder that counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def decode(self, body):
        self.asked += 1
        return msgspec.json.decode(body, type=ClientMessage)


@pytest.mark.parametrize(
    "values",
    [
        [[]] * 40_000,
        [{str(number): 0} for number in range(20_000)],
        ["a,\\"] * 20_000,
        [['"', ","] for _ in range(20_000)],
    ],
    ids=range(4),
)
def test_far_too_many_values_are_refused_before_they_are_read(values):
    reader = Reader()
    body = msgspec.json.encode(Request(id=1, operation="x", arguments={"a": values}))
    with pytest.raises(RemoteProtocolError, match="too many values"):
        read_message(body, reader, LIMITS)
    assert 0 == reader.asked


@pytest.mark.parametrize(
    "text", [",[{" * 50_000, '",' * 50_000, "\\" * 50_001, '\\",[' * 30_000]
)
def test_what_stands_in_a_text_is_not_counted_as_values(text):
    message = Request(id=1, operation="x", arguments={"a": text, "b": [text, "\\"]})
    body = write_message(message, LIMITS)
    assert message == read_message(body, CLIENT_MESSAGES, LIMITS)


def test_as_many_values_as_allowed_are_written_and_read_back():
    # The arguments and their two lists are values too.
    left = LIMITS.items - 3 - 2_000
    arguments = {"a": [[]] * left, "b": ["x,\\"] * 2_000}
    message = Request(id=1, operation="x", arguments=arguments)
    body = write_message(message, LIMITS)
    assert message == read_message(body, CLIENT_MESSAGES, LIMITS)
    arguments["a"].append([])
    with pytest.raises(InvalidMessageError, match="too many values"):
        write_message(message, LIMITS)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("x" * (LIMITS.frame + 1), "too much text"),
        (["x" * 1000] * 2000, "too much text"),
        ({1, 2}, "what json does not know"),
        ([msgspec.Raw(b"[1,]")], "what json does not know"),
    ],
    ids=range(4),
)
def test_a_value_that_cannot_be_sent_is_refused_before_it_is_written(value, fault):
    with pytest.raises(InvalidMessageError, match=fault):
        write_message(Result(id=1, value=value), LIMITS)


def test_content_that_cannot_fit_is_refused_before_it_is_written():
    with pytest.raises(InvalidMessageError, match="too much content"):
        write_message(Result(id=1, content=bytes(LIMITS.frame + 1)), LIMITS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, True),
        ({"a": [1, "é", None, True, 1.5]}, True),
        (b"x" * 900, True),
        (b"x" * 1000, False),
        (["x"] * 8, True),
        (["x"] * 20, False),
        ({"k" * 1000: 1}, False),
        ({"a": ["x" * 500, "y" * 500]}, False),
        (object(), False),
        (memoryview(b"x"), False),
    ],
)
def test_a_value_is_small_only_if_that_is_plain_at_a_glance(value, expected):
    assert expected is is_small(value, 1000)


def test_a_value_that_holds_itself_is_not_small():
    value: list[object] = []
    value.append(value)
    assert not is_small(value, 1000)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1: 2}, [{"a": float("-inf")}]]
)
def test_what_json_would_change_in_silence_is_not_written(value):
    with pytest.raises(InvalidMessageError):
        write_message(Result(id=1, value=value), LIMITS)


@pytest.mark.parametrize("value", [object(), "\ud800", {"a": {1j}}])
def test_what_json_cannot_hold_is_not_written(value):
    with pytest.raises(InvalidMessageError):
        write_message(Result(id=1, value=value), LIMITS)


def test_a_value_that_holds_itself_is_not_written():
    value: list[object] = []
    value.append(value)
    with pytest.raises(InvalidMessageError):
        plain(value)


@pytest.mark.parametrize(
    "message",
    [
        Hello(version=1, level="god"),  # type: ignore[arg-type] # the mistake itself
        Request(id=0, operation="x"),
        Request(id=1, operation="two words"),
        Goodbye(reason="x" * 1025),
        Welcome(version=1, server="", account="a", level="anonymous"),
    ],
)
def test_our_own_mistakes_are_found_before_they_are_sent(message):
    with pytest.raises(InvalidMessageError, match="field"):
        write_message(message, LIMITS)


@dataclass
class Page:
    title: str
    body: bytes


def test_a_result_of_bytes_is_content_and_bytes_inside_are_base64():
    assert Result(id=3, content=b"\xff") == result(3, b"\xff")
    assert Result(id=3, content=b"\xff") == result(3, bytearray(b"\xff"))
    assert Result(id=3, value={"title": "a", "body": "/w=="}) == result(
        3, Page("a", b"\xff")
    )


@pytest.mark.parametrize("level", list(ImpersonationLevel))
def test_every_level_has_a_name_that_leads_back(level):
    assert level == level_of(Hello(version=1, level=level_name(level)))


@pytest.mark.parametrize("bound", [0, -1, float("nan")])
def test_a_limit_of_nothing_is_refused(bound):
    with pytest.raises(InvalidRequestError, match="`frame`"):
        PipeLimits(frame=bound)
