"""Properties: what is written reads back, and garbage raises our errors alone."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.codec.binary import (
    read_ace,
    read_acl,
    read_security_descriptor,
    write_security_descriptor,
)
from stead.codec.sddl import read_sddl, write_sddl
from stead.codec.sid_text import read_sid
from stead.errors import (
    InvalidAclError,
    InvalidSddlError,
    InvalidSecurityDescriptorError,
    InvalidSidError,
)
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    AceFlags,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.acl import Acl, NoAcl
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
