"""The tree: published vectors, a naive specification, and proofs that prove nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spec import naive_log

from stead.errors import InvalidProofError
from stead.ledger.tree import (
    EMPTY_ROOT,
    CompactRange,
    Node,
    consistency_ranges,
    grown,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    nodes_of,
    pure_grown,
    require_consistency,
    require_inclusion,
    root_of_inclusion,
    roots_of,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "merkle" / "rfc6962.json").read_text()
)
LEAVES = [bytes.fromhex(text) for text in VECTORS["leaves"]]
BODIES = st.lists(st.binary(max_size=3), min_size=1, max_size=40)


def _tree(bodies):
    return CompactRange().extend(map(leaf_hash, bodies))


def _nodes(bodies):
    return [Node(at, 0, leaf_hash(body)) for at, body in enumerate(bodies)]


def _other(digest):
    return bytes([digest[0] ^ 1, *digest[1:]])


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_roots_are_those_that_were_published(size):
    assert VECTORS["roots"][size] == _tree(LEAVES[:size]).root().hex()


@given(st.integers(0, (1 << 63) - 20), st.lists(st.binary(max_size=200), max_size=9))
def test_an_edge_is_gone_on_with_as_the_tree_is_with_the_twin_and_without(size, bodies):
    tree = CompactRange(size, tuple(map(leaf_hash, [b"peak"] * size.bit_count())))
    expected = tree.extend(map(leaf_hash, bodies)).to_bytes()
    assert expected == grown(tree.to_bytes(), bodies)
    assert expected == pure_grown(tree.to_bytes(), bodies)


@pytest.mark.parametrize("edge", [b"", bytes(7), bytes(9), b"\xff" * 8, bytes(40)])
def test_what_is_no_edge_is_not_gone_on_with(edge):
    for go_on in (grown, pure_grown):
        with pytest.raises(ValueError, match="tree"):
            go_on(edge, [b"body"])


@pytest.mark.parametrize("vector", VECTORS["inclusion"])
def test_inclusion_proofs_are_those_that_were_published(vector):
    index, size = vector["index"], vector["size"]
    found = roots_of(inclusion_ranges(index, size), _nodes(LEAVES))
    assert vector["proof"] == [digest.hex() for digest in found]


@pytest.mark.parametrize("vector", VECTORS["consistency"])
def test_consistency_proofs_are_those_that_were_published(vector):
    old, new = vector["old"], vector["new"]
    found = roots_of(consistency_ranges(old, new), _nodes(LEAVES))
    assert vector["proof"] == [digest.hex() for digest in found]


@given(BODIES)
def test_the_root_is_that_of_the_naive_specification(bodies):
    assert naive_log.mth(bodies) == _tree(bodies).root()


@given(BODIES, st.data())
def test_inclusion_is_proved_as_the_naive_specification_does(bodies, data):
    index = data.draw(st.integers(0, len(bodies) - 1))
    size = len(bodies)
    found = roots_of(inclusion_ranges(index, size), _nodes(bodies))
    assert naive_log.path(index, bodies) == list(found)
    leaf, root = leaf_hash(bodies[index]), naive_log.mth(bodies)
    assert root == root_of_inclusion(leaf, index, size, found)
    for at in range(len(found)):
        bent = [*found[:at], _other(found[at]), *found[at + 1 :]]
        with pytest.raises(InvalidProofError):
            require_inclusion(leaf, index, size, bent, root)
    with pytest.raises(InvalidProofError):
        require_inclusion(_other(leaf), index, size, found, root)


@given(BODIES, st.data())
def test_consistency_is_proved_as_the_naive_specification_does(bodies, data):
    old, new = data.draw(st.integers(1, len(bodies))), len(bodies)
    found = roots_of(consistency_ranges(old, new), _nodes(bodies))
    assert naive_log.proof(old, bodies) == list(found)
    roots = naive_log.mth(bodies[:old]), naive_log.mth(bodies)
    require_consistency(old, roots[0], new, roots[1], found)
    for bent in (
        *(
            [*found[:at], _other(found[at]), *found[at + 1 :]]
            for at in range(len(found))
        ),
        [*found, roots[0]],
        found[:-1] if found else [roots[0]],
    ):
        with pytest.raises(InvalidProofError):
            require_consistency(old, roots[0], new, roots[1], bent)
    for wrong in ((_other(roots[0]), roots[1]), (roots[0], _other(roots[1]))):
        with pytest.raises(InvalidProofError):
            require_consistency(old, wrong[0], new, wrong[1], found)


@given(BODIES, st.data())
def test_what_a_right_edge_stands_for_need_not_be_there(bodies, data):
    gone = data.draw(st.integers(0, len(bodies) - 1))
    index = data.draw(st.integers(gone, len(bodies) - 1))
    nodes = [*nodes_of(_tree(bodies[:gone])), *_nodes(bodies)[gone:]]
    found = roots_of(inclusion_ranges(index, len(bodies)), nodes)
    assert naive_log.path(index, bodies) == list(found)


@given(BODIES, st.integers(0, 40))
def test_a_tree_can_be_gone_on_with_from_its_bytes(bodies, cut):
    first = _tree(bodies[:cut])
    again = CompactRange.from_bytes(first.to_bytes())
    assert first == again
    assert _tree(bodies) == again.extend(map(leaf_hash, bodies[cut:]))


def test_proofs_of_what_is_not_there_are_refused():
    for index, size in ((0, 0), (3, 3), (-1, 3), (0, 1 << 63)):
        with pytest.raises(InvalidProofError):
            inclusion_ranges(index, size)
    for old, new in ((0, 3), (4, 3), (1, 1 << 63)):
        with pytest.raises(InvalidProofError):
            consistency_ranges(old, new)


def test_a_proof_over_records_that_are_gone_is_not_made_up():
    bodies = [b"%d" % at for at in range(8)]
    nodes = [*nodes_of(_tree(bodies[:4])), *_nodes(bodies)[4:]]
    for ranges in (inclusion_ranges(2, 8), inclusion_ranges(2, 3), ((5, 9),)):
        with pytest.raises(InvalidProofError, match="not there any more"):
            roots_of(ranges, nodes)


def test_every_tree_begins_with_the_empty_one():
    root = _tree([b"a"]).root()
    require_consistency(0, EMPTY_ROOT, 1, root, ())
    for old_root, proof in ((root, ()), (EMPTY_ROOT, (root,))):
        with pytest.raises(InvalidProofError):
            require_consistency(0, old_root, 1, root, proof)


def test_a_leaf_is_never_taken_for_a_node():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\0" * 9,
        (1).to_bytes(8, "big"),
        (2).to_bytes(8, "big") + bytes(64),
        (1 << 63).to_bytes(8, "big") + bytes(32),
    ],
)
def test_bytes_that_are_no_right_edge_are_refused(data):
    with pytest.raises(InvalidProofError):
        CompactRange.from_bytes(data)


@pytest.mark.parametrize("peaks", [(b"short",), (bytes(33),), (bytes(32), bytes(32))])
def test_hashes_of_a_wrong_length_or_number_are_refused(peaks):
    with pytest.raises(InvalidProofError):
        CompactRange(1, peaks)
    with pytest.raises(InvalidProofError):
        root_of_inclusion(bytes(32), 0, 2, (*peaks, b""))
