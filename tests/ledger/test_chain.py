"""The chain, and what breaks it."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidRequestError, LedgerCorruptError
from stead.ledger import chain
from stead.ledger.chain import Verification, pure_digests, seal, verify
from stead.ledger.ports import Entry
from stead.ledger.twins import load

GENESIS = bytes.fromhex("010400000000000515000000010000000200000003000000")
BODIES = [b"one", b"two", b"three", b"four", b"five"]
TRAIL = seal(None, BODIES, GENESIS)


def _corrupt(entries, **witness):
    with pytest.raises(LedgerCorruptError) as caught:
        verify(entries, GENESIS, **witness)
    return caught.value


def test_a_sealed_trail_verifies_and_gives_its_head():
    assert Verification(5, TRAIL[-1].digest) == verify(TRAIL, GENESIS)


def test_the_digest_is_what_the_documentation_says():
    start = sha256(b"stead ledger genesis 1\0" + GENESIS).digest()
    first = sha256(b"stead ledger record 1\0" + (1).to_bytes(8, "big") + start + b"one")
    assert first.digest() == TRAIL[0].digest


def test_an_empty_trail_has_the_genesis_as_its_head():
    start = sha256(b"stead ledger genesis 1\0" + GENESIS).digest()
    assert Verification(0, start) == verify([], GENESIS)
    assert f"0:{start.hex()}" == str(verify([], GENESIS))


@given(st.integers(0, 5))
def test_sealing_in_batches_gives_the_same_chain(cut):
    first = seal(None, BODIES[:cut], GENESIS)
    last = first[-1] if first else None
    assert [*first, *seal(last, BODIES[cut:], GENESIS)] == TRAIL


@given(
    st.integers(0, (1 << 63) - 20),
    st.binary(min_size=32, max_size=32),
    st.lists(st.binary(max_size=200) | st.integers(0, 300).map(bytes), max_size=9),
)
def test_digests_are_the_same_with_the_twin_and_without(sequence, digest, bodies):
    sealed = seal(Entry(sequence, b"", digest), bodies, GENESIS)
    assert pure_digests(sequence, digest, bodies) == [one.digest for one in sealed]
    assert [sequence + 1 + n for n in range(len(bodies))] == [
        e.sequence for e in sealed
    ]


def test_without_the_twin_python_seals(monkeypatch):
    assert load("stead.ledger._nothing") is None
    monkeypatch.setattr(chain, "_digests", pure_digests)
    assert TRAIL == seal(None, BODIES, GENESIS)


BROKEN_LIBRARY = """
#include <string.h>
void *EVP_MD_fetch(void *l, const char *a, const char *p) { return (void *)1; }
void *EVP_MD_CTX_new(void) { return (void *)1; }
int EVP_DigestInit_ex2(void *c, void *k, void *p) { return 1; }
int EVP_DigestUpdate(void *c, const void *d, size_t n) { return 1; }
int EVP_DigestFinal_ex(void *c, unsigned char *h, unsigned *n)
{ memset(h, 7, *n = 32); return 1; }
"""
SEALS = """
from stead.ledger.chain import seal, verify
verify(seal(None, [b"one", b"two"], b"genesis"), b"genesis")
print("verified")
"""


def test_a_library_that_hashes_wrongly_seals_nothing(tmp_path):
    """What it made would stand in the trail for good, and verify as nothing."""
    source, library = tmp_path / "broken.c", tmp_path / "libcrypto.so.3"
    source.write_text(BROKEN_LIBRARY)
    build = ["cc", "-shared", "-fPIC", "-w", "-o", str(library), str(source)]
    subprocess.run(build, check=True)
    environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
    for folder in ("", str(tmp_path)):
        environment["LD_LIBRARY_PATH"] = folder
        said = subprocess.run(
            [sys.executable, "-c", SEALS],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "verified\n" == said.stdout, said.stderr


def test_a_trail_of_another_store_does_not_verify():
    with pytest.raises(LedgerCorruptError):
        verify(TRAIL, GENESIS[:-1] + b"\x04")


@given(st.integers(0, 4), st.binary())
def test_a_changed_body_is_named(index, body):
    if body == TRAIL[index].body:
        return
    changed = list(TRAIL)
    changed[index] = changed[index]._replace(body=body)
    assert index + 1 == _corrupt(changed).sequence


@given(st.integers(0, 4), st.binary())
def test_a_changed_digest_is_named(index, digest):
    if digest == TRAIL[index].digest:
        return
    changed = list(TRAIL)
    changed[index] = changed[index]._replace(digest=digest)
    assert index + 1 == _corrupt(changed).sequence


def test_a_record_changed_with_a_new_digest_breaks_the_next_one():
    changed = list(TRAIL)
    changed[2] = seal(TRAIL[1], [b"forged"], GENESIS)[0]
    assert 4 == _corrupt(changed).sequence


@pytest.mark.parametrize("index", [0, 1, 3])
def test_a_missing_record_is_named(index):
    error = _corrupt(TRAIL[:index] + TRAIL[index + 1 :])
    assert index + 1 == error.sequence
    assert f"record {index + 1} is missing" == str(error)


def test_a_missing_record_is_named_though_the_rest_is_renumbered():
    renumbered = [entry._replace(sequence=entry.sequence - 1) for entry in TRAIL[2:]]
    assert 2 == _corrupt([TRAIL[0], *renumbered]).sequence


def test_swapped_records_are_named():
    swapped = [TRAIL[0], TRAIL[2], TRAIL[1], *TRAIL[3:]]
    assert 2 == _corrupt(swapped).sequence


def test_records_that_swapped_their_numbers_are_named():
    second, third = TRAIL[1], TRAIL[2]
    swapped = [third._replace(sequence=2), second._replace(sequence=3)]
    assert 2 == _corrupt([TRAIL[0], *swapped, *TRAIL[3:]]).sequence


def test_a_doubled_record_is_named():
    error = _corrupt([*TRAIL[:2], TRAIL[1], *TRAIL[2:]])
    assert 2 == error.sequence
    assert "record 2 is doubled or out of order" == str(error)


def test_an_inserted_record_is_named():
    inserted = seal(TRAIL[1], [b"inserted"], GENESIS)[0]
    later = [entry._replace(sequence=entry.sequence + 1) for entry in TRAIL[2:]]
    assert 4 == _corrupt([*TRAIL[:2], inserted, *later]).sequence


def test_a_cut_tail_verifies_without_a_witness_and_not_with_one():
    witness = verify(TRAIL, GENESIS)
    assert 3 == verify(TRAIL[:3], GENESIS).count
    assert 4 == _corrupt(TRAIL[:3], witness=witness).sequence


def test_a_trail_made_anew_is_found_with_a_witness():
    witness = verify(TRAIL, GENESIS)
    forged = seal(None, [b"all", b"is", b"well", b"here", b"now", b"too"], GENESIS)
    assert 6 == verify(forged, GENESIS).count
    assert 5 == _corrupt(forged, witness=witness).sequence


def test_a_witness_is_read_back_from_its_text():
    witness = verify(TRAIL, GENESIS)
    assert witness == Verification.from_string(str(witness))


@pytest.mark.parametrize("text", ["", "5", "5:", f"-1:{'0' * 64}", f"5:{'0' * 63}"])
def test_text_that_is_no_witness_is_refused(text):
    with pytest.raises(InvalidRequestError):
        Verification.from_string(text)


def test_a_trail_that_has_grown_agrees_with_its_witness():
    witness = verify(TRAIL[:2], GENESIS)
    assert 5 == verify(TRAIL, GENESIS, witness=witness).count
    assert 5 == verify(TRAIL, GENESIS, witness=verify([], GENESIS)).count
    assert 5 == _corrupt(TRAIL, witness=Verification(5, b"")).sequence
