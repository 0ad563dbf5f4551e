"""JSON from strangers is read one way, or not at all."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.adapters.oidc.strict_json import MOST_DEPTH, read_object
from stead.errors import EvidenceRefusedError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def read(text, largest=100_000):
    data = text if isinstance(text, bytes) else text.encode()
    return read_object(data, largest=largest, what="it")


@settings(max_examples=40)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_can_be_written_plainly_is_read(value):
    assert value == read(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        '{"sub": "alice", "sub": "root"}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5_000 + "}",
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        "[1]",
        '"text"',
        "",
        '{"a": 1} {"b": 2}',
        '{"a": 1',
        "\ufeff{}",
        b'{"a": "\xff"}',
        b'{"a": "\xc0\xaf"}',
        "[" * 200_000,
        '{"a":' * 100_000,
        '{"a": ' + "[" * MOST_DEPTH + "]" * MOST_DEPTH + "}",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text):
    with pytest.raises(EvidenceRefusedError) as refused:
        read(text, largest=10_000_000)
    assert "root" not in str(refused.value)


def test_a_plain_reader_takes_the_second_of_two_names():
    text = '{"sub": "alice", "sub": "root"}'
    assert {"sub": "root"} == json.loads(text)
    with pytest.raises(EvidenceRefusedError, match="stands twice"):
        read(text)


def test_brackets_within_texts_do_not_count_as_depth():
    value = {"a": "[" * 100, "b": '"' + "{" * 100 + "\\"}
    assert value == read(json.dumps(value))


def test_what_is_longer_than_it_may_be_is_not_looked_at():
    with pytest.raises(EvidenceRefusedError, match="over 4 bytes"):
        read('{"a": 1}', largest=4)


def seconds(act):
    began = time.thread_time()  # others have the processor now and then
    act()
    return time.thread_time() - began


def test_a_text_without_an_end_costs_no_more_than_its_length():
    # Looked for from each of its quotes anew, it costs the square: whoever sends one,
    # before any signature is looked at, keeps a thread busy for a second.
    text = '{"a":"' + '\\"' * 3_000
    naive = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)

    def ours():
        with pytest.raises(EvidenceRefusedError):
            read(text)

    ours()
    slowly = seconds(lambda: list(naive.finditer(text)))
    assert min(seconds(ours) for _ in range(5)) * 10 < slowly


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data):
    try:
        found = read(data)
    except EvidenceRefusedError:
        return
    assert isinstance(found, dict)
