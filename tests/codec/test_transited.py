"""The realms that a ticket's client came through (RFC 4120 3.3.3.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.codec.transited import read_transited
from stead.errors import EvidenceRefusedError


@pytest.mark.parametrize(
    ("contents", "realms"),
    [
        (b"", ()),
        (b"\0", ()),
        (b"TEST", ("TEST",)),
        # Those of the RFC's own text.
        (b"EDU,MIT.,ATHENA.,WASHINGTON.EDU,CS.", (
            "EDU", "MIT.EDU", "ATHENA.MIT.EDU", "WASHINGTON.EDU", "CS.WASHINGTON.EDU",
        )),
        (b"/COM/HP,/APOLLO, /COM/DEC", ("/COM/HP", "/COM/HP/APOLLO", "/COM/DEC")),
    ],
)  # fmt: skip
def test_names_are_shortened_by_what_they_have_in_common(contents, realms):
    assert realms == read_transited(contents)


@pytest.mark.parametrize(
    "contents",
    [b",", b",EDU", b"EDU,", b"EDU,,COM", b"MIT.", b"A\\,B", b"\xff", b"A\nB",
     b"A," * 2049],
    ids=str,
)  # fmt: skip
def test_what_leaves_realms_out_or_quotes_is_refused(contents):
    with pytest.raises(EvidenceRefusedError):
        read_transited(contents)


NAME = st.lists(st.text("ABC", min_size=1), min_size=1, max_size=3).map(".".join)


@given(st.lists(NAME, max_size=6))
def test_names_that_are_written_whole_are_read_as_they_are(names):
    assert tuple(names) == read_transited(",".join(names).encode())


@given(st.binary(max_size=60))
def test_nothing_else_comes_of_any_octets(contents):
    try:
        realms = read_transited(contents)
    except EvidenceRefusedError:
        return
    assert all(realm.isprintable() for realm in realms)
