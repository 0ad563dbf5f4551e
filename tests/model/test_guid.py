"""GUIDs as values."""

import copy
import pickle

import pytest

from stead.errors import InvalidGuidError, SteadError
from stead.model.guid import GUID_SIZE, Guid

TEXT = "bf967aba-0de6-11d0-a285-00aa003049e2"
BINARY = bytes.fromhex("ba7a96bfe60dd011a28500aa003049e2")


def test_a_guid_s_first_three_fields_are_little_endian():
    assert BINARY == Guid.from_string(TEXT).to_bytes()
    assert TEXT == str(Guid(BINARY))


def test_a_guid_is_read_in_any_case_and_printed_in_small_letters():
    assert TEXT == str(Guid.from_string(TEXT.upper()))


def test_a_guid_is_its_bytes_and_prints_as_itself():
    guid = Guid(BINARY)
    assert BINARY == guid
    assert GUID_SIZE == len(guid)
    assert f"Guid('{TEXT}')" == repr(guid)
    assert hash(BINARY) == hash(guid)
    assert {BINARY: 1}[guid]


def test_plain_bytes_come_out_of_a_guid():
    assert bytes is type(Guid(BINARY).to_bytes())


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda guid: pickle.loads(pickle.dumps(guid))],  # noqa: S301
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_of_a_guid_is_a_guid(again):
    made = again(Guid(BINARY))
    assert Guid is type(made)
    assert BINARY == made


@pytest.mark.parametrize("wrong", [b"", BINARY[:15], BINARY + b"\0", TEXT, None, 16])
def test_what_is_not_sixteen_bytes_is_no_guid(wrong):
    with pytest.raises(InvalidGuidError, match="16 bytes"):
        Guid(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "0",
        TEXT + "\n",
        "{" + TEXT + "}",
        TEXT.replace("-", ""),
        TEXT.replace("b", "g"),
        "\u0661" + TEXT[1:],
        TEXT.replace("-", "_"),
    ],
)
def test_text_of_another_form_is_no_guid(text):
    with pytest.raises(InvalidGuidError, match="is not a guid") as caught:
        Guid.from_string(text)
    assert isinstance(caught.value, SteadError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).isascii()


def test_an_error_shows_the_beginning_of_a_long_text():
    with pytest.raises(InvalidGuidError) as caught:
        Guid.from_string("x" * 100_000)
    assert len(str(caught.value)) < 120
