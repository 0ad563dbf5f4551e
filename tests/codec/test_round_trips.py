"""Properties: what is written reads back, and garbage raises our errors alone."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies_condition import claims, grammatical

from stead.codec.ace_binary import read_ace, write_ace
from stead.codec.ace_types import CONDITIONAL, KINDS
from stead.codec.binary import (
    read_acl,
    read_security_descriptor,
    write_acl,
    write_security_descriptor,
)
from stead.codec.claim_binary import write_claim
from stead.codec.condition_binary import write_condition
from stead.codec.sddl import read_sddl, write_sddl
from stead.codec.sid_text import read_sid
from stead.errors import (
    InvalidAclError,
    InvalidClaimError,
    InvalidConditionError,
    InvalidSddlError,
    InvalidSecurityDescriptorError,
    InvalidSidError,
)
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    AceFlags,
    AceType,
    MandatoryLabelAce,
    ObjectAce,
    OpaqueAce,
    Place,
    ResourceAttributeAce,
    SystemAuditAce,
)
from stead.model.ace_kinds import ACE_CLASSES, DACL_KINDS, SACL_KINDS
from stead.model.acl import Acl, NoAcl
from stead.model.guid import Guid
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid

OURS = (
    InvalidAclError,
    InvalidSddlError,
    InvalidSecurityDescriptorError,
    InvalidSidError,
)
DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
IN_SDDL = (
    ControlFlags.DACL_PROTECTED
    | ControlFlags.DACL_AUTO_INHERIT_REQ
    | ControlFlags.DACL_AUTO_INHERITED
    | ControlFlags.SACL_PROTECTED
    | ControlFlags.SACL_AUTO_INHERIT_REQ
    | ControlFlags.SACL_AUTO_INHERITED
)

number = st.integers(0, 0xFFFF_FFFF)
sids = st.one_of(
    st.builds(
        Sid.from_parts,
        st.integers(0, 0xFFFF_FFFF_FFFF),
        st.lists(number, min_size=1, max_size=15).map(tuple),
    ),
    st.integers(400, 600).map(DOMAIN.with_rid),
    st.integers(540, 585).map(Sid.from_string("S-1-5-32").with_rid),
)
flags = st.integers(0, 0xFF).map(AceFlags)


def lists(*kinds):
    aces = st.one_of(*(st.builds(kind, sids, number, flags) for kind in kinds))
    return st.one_of(
        st.sampled_from(NoAcl),
        st.builds(Acl, st.lists(aces, max_size=6).map(tuple), st.sampled_from((2, 4))),
    )


guids = st.none() | st.binary(min_size=16, max_size=16).map(Guid)
small_data = st.binary(max_size=9)
conditions = grammatical().map(write_condition)
attributes = claims().map(write_claim)
opaque = st.builds(
    OpaqueAce,
    flags=flags,
    type_number=st.integers(0, 255).filter(lambda n: n not in set(AceType)),
    body=st.binary(max_size=40).map(lambda body: body + bytes(-len(body) % 4)),
)


def entries_of(kind, data):
    """Return random entries of a kind, with such data."""
    if issubclass(kind, ObjectAce):
        return st.builds(kind, sids, number, flags, data, guids, guids)
    return st.builds(kind, sids, number, flags, data)


def any_lists(kinds):
    """Return random lists of entries of any kind, unknown ones too."""
    some = st.one_of(
        opaque, *(entries_of(kind, st.binary(max_size=9)) for kind in kinds)
    )
    return st.one_of(
        st.sampled_from(NoAcl),
        st.builds(
            Acl, st.lists(some, max_size=6).map(tuple), st.sampled_from((0, 2, 3, 4))
        ),
    )


any_descriptors = st.builds(
    SecurityDescriptor,
    dacl=any_lists(DACL_KINDS),
    owner=st.none() | sids,
    group=st.none() | sids,
    sacl=any_lists(SACL_KINDS),
    control=st.integers(0, 0xFFFF).map(ControlFlags),
    resource_manager_control=st.integers(0, 0xFF),
)


def printable_entries(letters, kind):
    """Return random entries that SDDL has words for."""
    if kind is ResourceAttributeAce:
        return entries_of(kind, attributes)
    return entries_of(kind, conditions if letters in CONDITIONAL else st.just(b""))


descriptors = st.builds(
    SecurityDescriptor,
    dacl=lists(AccessAllowedAce, AccessDeniedAce),
    owner=st.none() | sids,
    group=st.none() | sids,
    sacl=lists(SystemAuditAce, MandatoryLabelAce),
    control=st.integers(0, 0xFFFF).map(ControlFlags),
    resource_manager_control=st.integers(0, 0xFF),
)


def in_sddl(sd):
    """Return what of a descriptor SDDL has words for."""

    def plain(acl):
        return Acl(acl.aces) if isinstance(acl, Acl) else acl

    kept = sd.control & IN_SDDL
    if sd.dacl is NoAcl.ABSENT:
        kept &= IN_SDDL & 0x2A00
    if sd.sacl is NoAcl.ABSENT:
        kept &= IN_SDDL & 0x1500
    return SecurityDescriptor(
        plain(sd.dacl),
        owner=sd.owner,
        group=sd.group,
        sacl=plain(sd.sacl),
        control=kept,
    )


@given(descriptors)
def test_bytes_read_back_to_the_same_value(sd):
    assert sd == read_security_descriptor(write_security_descriptor(sd))


@given(descriptors, st.sampled_from((None, DOMAIN)))
def test_sddl_reads_back_to_the_same_value(sd, domain):
    assert in_sddl(sd) == read_sddl(write_sddl(sd, domain=domain), domain=domain)


@given(descriptors)
def test_sddl_is_printed_the_same_a_second_time(sd):
    printed = write_sddl(sd)
    assert printed == write_sddl(read_sddl(printed))


@pytest.mark.parametrize("read", [read_security_descriptor, read_acl, read_ace])
@given(garbage=st.binary(max_size=120))
def test_garbage_bytes_raise_our_errors_alone(read, garbage):
    with suppress(*OURS):
        read(garbage)


@given(descriptors, st.data())
def test_damaged_bytes_raise_our_errors_alone(sd, data):
    damaged = bytearray(write_security_descriptor(sd))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=3)):
        damaged[at] = data.draw(st.integers(0, 0xFF))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        read = read_security_descriptor(bytes(damaged))
    except OURS:
        return
    assert read == read_security_descriptor(write_security_descriptor(read))


@given(st.text(alphabet="OGDSAPIR:();-019xX \tNWBé", max_size=60))
def test_garbage_text_raises_our_errors_alone(garbage):
    for read in (read_sddl, read_sid):
        position = 0
        try:
            read(garbage, domain=DOMAIN)
        except InvalidSddlError as error:
            position = error.position
        assert 0 <= position <= len(garbage)


@given(descriptors, st.data())
def test_damaged_text_raises_our_errors_alone(sd, data):
    damaged = list(write_sddl(sd))
    if damaged:
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.characters())
    try:
        read = read_sddl("".join(damaged))
    except InvalidSddlError:
        return
    assert in_sddl(read) == read_sddl(write_sddl(read))


@pytest.mark.parametrize("kind", ACE_CLASSES.values())
@settings(max_examples=25)
@given(data=st.data())
def test_entries_of_every_kind_read_back_to_the_same_value(kind, data):
    ace = data.draw(entries_of(kind, st.binary(max_size=40)))
    written = write_ace(ace)
    assert ace == read_ace(written)
    assert (ace,) == read_acl(write_acl(Acl((ace,)))).aces
    assert len(written) == ace.size


@given(any_descriptors)
def test_descriptors_with_entries_of_any_kind_read_back_to_the_same_value(sd):
    written = write_security_descriptor(sd)
    assert sd == read_security_descriptor(written)
    for acl in (sd.dacl, sd.sacl):
        if isinstance(acl, Acl):
            assert acl == read_acl(write_acl(acl))


@pytest.mark.parametrize(("letters", "kind"), KINDS.items())
@settings(max_examples=25)
@given(data=st.data())
def test_entries_that_sddl_has_words_for_read_back_to_the_same_value(
    letters, kind, data
):
    acl = Acl((data.draw(printable_entries(letters, kind)),))
    if kind.place is Place.DACL:
        sd = SecurityDescriptor(acl)
    else:
        sd = SecurityDescriptor(NoAcl.ABSENT, sacl=acl)
    for domain in (None, DOMAIN):
        assert sd == read_sddl(write_sddl(sd, domain=domain), domain=domain)


@given(any_descriptors)
def test_what_sddl_has_no_words_for_raises_our_errors_alone(sd):
    with suppress(InvalidAclError, InvalidClaimError, InvalidConditionError):
        write_sddl(sd)
