"""What the codec reads by a short way it reads like everything else."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies_full

from stead.codec import ace_binary, binary, sddl, sddl_entries, sid_text
from stead.codec.keeping import Kept
from stead.errors import InvalidSddlError, SteadError
from stead.model.sid import Sid

DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
KINDS = ("A", "D", "AU", "OA", "a", "ML", "XA", "B", "")
FLAGS = ("", "", "OI", "CIOI", "SAFA", "oi", " CI", "OIX", "OIOI", "SA")
MASKS = ("GA", "FR", "CCDC", "0x1f01ff", "0X1", "017", "12", "-1", "ga", " FR", "", "Q")
SIDS = (
    "BA", "WD", "ba", "DA", "ZZ", " SY", "S-1-5-18", "S-1-5-21-1-2-3-4294967295",
    "S-1-5-21-4294967296", "S-1-5-0x20", "S-1-5-032-544", "s-1-1-0", "S-01-1-0",
    "S-1-9999999999-1", "S-1-99999999999-1", "S-1-5", "S-1-5-1-", "S-1-1-0x20D",
    "S-1-5-21-00000000001", "S-1-5" + 15 * "-7", "S-1-5" + 16 * "-7", "S-0x1-5-18",
)  # fmt: skip


@contextmanager
def the_long_way():
    """Read with no short way, and nothing kept."""
    never = re.compile(r"(?!)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sddl_entries, "_ENTRY", never)
        patch.setattr(sid_text, "_DECIMAL_SID", never)
        patch.setattr(sddl, "_known_texts", Kept(0))
        patch.setattr(ace_binary, "_kinds_of_simple", lambda *_: None)
        patch.setattr(ace_binary, "_known_aces", Kept(0))
        patch.setattr(binary, "_known_descriptors", Kept(0))
        yield


def entries():
    fields = st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from(FLAGS),
        st.sampled_from(MASKS),
        st.sampled_from(SIDS),
        st.sampled_from(("", "", "", " ")),
    )
    return fields.map(lambda one: "({};{};{};;;{}){}".format(*one))


def lists():
    usual = st.sampled_from(("(A;;FR;;;BA)", "(D;CIOI;GA;;;S-1-5-21-7-8-9-10)"))
    some = st.lists(st.one_of(usual, usual, usual, entries()), max_size=5)
    return some.map("".join)


def texts():
    return st.builds(
        lambda owner, dacl, sacl: f"O:{owner}G:{owner}D:{dacl}S:{sacl}",
        st.sampled_from(SIDS),
        lists(),
        lists(),
    )


def answered(read, *given, **named):
    """Return what is read, all of it looked at, or what is said against it."""
    try:
        found = read(*given, **named)
        return found, [getattr(one, "aces", one) for one in (found.dacl, found.sacl)]
    except InvalidSddlError as error:
        return error.position, error.reason
    except SteadError as error:
        return type(error), str(error)


@settings(max_examples=500)
@given(texts())
def test_sddl_is_read_alike_by_the_short_way(text):
    with the_long_way():
        expected = answered(sddl.read_sddl, text, domain=DOMAIN)
    sddl._known_texts.clear()
    for _ in range(2):  # words of flags and masks are known at the second time
        assert expected == answered(sddl.read_sddl, text, domain=DOMAIN)
        sddl._known_texts.clear()


@settings(max_examples=300)
@given(
    strategies_full.descriptors(),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=3),
)
def test_bytes_are_read_alike_by_the_short_way(descriptor, changes):
    whole = bytearray(descriptor.to_bytes())
    for at, byte in changes:
        whole[at % len(whole)] = byte
    with the_long_way():
        expected = answered(binary.read_security_descriptor, whole)
    binary._known_descriptors.clear()
    ace_binary._known_aces.clear()
    assert expected == answered(binary.read_security_descriptor, whole)
