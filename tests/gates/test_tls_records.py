"""Where records of TLS end, in whatever pieces they come."""

from hypothesis import given
from hypothesis import strategies as st

from stead.gates.pipe.tls_records import Records


def record(size):
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


@given(
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(0, 44),
    st.lists(st.integers(1, 30), max_size=20),
    st.integers(1, 4),
)
def test_records_are_counted_alike_in_whatever_pieces(sizes, cut, pieces, most):
    stream = b"".join(map(record, sizes))
    rest = record(40)[:cut]  # of one that is not whole
    data, records, at = stream + rest, Records(), 0
    ends, end = [], 0
    for size in sizes:
        end += 5 + size
        ends.append(end)
    while at < len(data):
        piece = memoryview(data)[at : at + (pieces.pop() if pieces else len(data))]
        before = records.ended
        span = records.span(piece, most)
        at += span
        assert span > 0
        assert sum(end <= at for end in ends) == records.ended
        assert records.ended - before == most or span == len(piece)
        assert records.ended - before <= most
    assert len(sizes) == records.ended


def test_nothing_is_no_record():
    assert 0 == Records().span(memoryview(b""), 16)
