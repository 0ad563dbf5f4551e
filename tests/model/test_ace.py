"""Entries of every kind."""

import copy
import pickle

import pytest

from stead.errors import InvalidAccessMaskError, InvalidAclError
from stead.model.ace import (
    CONDITION_SIGNATURE,
    INHERITANCE,
    MAXIMUM_ACE_SIZE,
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    AccessDeniedObjectAce,
    Ace,
    AceFlags,
    AceType,
    ObjectAce,
    OpaqueAce,
    Place,
    checked_ace,
)
from stead.model.ace_kinds import (
    ACE_CLASSES,
    ALLOW_KINDS,
    AUDIT_KINDS,
    CALLBACK_KINDS,
    DACL_KINDS,
    DENY_KINDS,
    SACL_KINDS,
)
from stead.model.guid import Guid
from stead.model.sid import Sid
from stead.model.well_known import EVERYONE, NULL_SID, USERS

USER_CLASS = Guid.from_string("bf967aba-0de6-11d0-a285-00aa003049e2")
OTHER_CLASS = Guid.from_string("bf967a86-0de6-11d0-a285-00aa003049e2")
KINDS = [pytest.param(kind, id=kind.__name__) for kind in ACE_CLASSES.values()]
LONGEST = Sid.from_parts(5, tuple(range(15)))
HEADER = 8


def test_every_type_has_a_class_that_says_so():
    assert set(AceType) == set(ACE_CLASSES)
    for kind, made in ACE_CLASSES.items():
        assert kind is made(EVERYONE, 1).type


def test_entries_of_two_kinds_are_never_equal():
    assert AccessAllowedAce(EVERYONE, 1) != AccessDeniedAce(EVERYONE, 1)
    assert AccessAllowedAce(EVERYONE, 1) == AccessAllowedAce(EVERYONE, 1)


def test_an_entry_without_a_kind_is_refused():
    with pytest.raises(InvalidAclError, match="of one kind"):
        Ace(EVERYONE, 1)


def test_a_trustee_that_is_no_sid_is_refused():
    with pytest.raises(InvalidAclError):
        AccessAllowedAce("S-1-1-0", 1)
    with pytest.raises(InvalidAclError):
        AccessAllowedAce(bytes(EVERYONE), 1)


@pytest.mark.parametrize("mask", [-1, 1 << 32, 1.0, "1"])
def test_a_mask_that_is_not_32_bits_is_refused(mask):
    with pytest.raises(InvalidAccessMaskError):
        AccessAllowedAce(EVERYONE, mask)


@pytest.mark.parametrize("flags", [-1, 0x100])
def test_flags_that_are_not_a_byte_are_refused(flags):
    with pytest.raises(InvalidAclError):
        AccessAllowedAce(EVERYONE, 1, flags)


def test_plain_numbers_become_flags_and_a_plain_mask():
    ace = AccessAllowedAce(EVERYONE, AceFlags.INHERITED, 8)
    assert AceFlags.INHERIT_ONLY is ace.flags
    assert int is type(ace.mask)


@pytest.mark.parametrize(
    ("flags", "expected"), [(AceFlags.NONE, False), (AceFlags.INHERIT_ONLY, True)]
)
def test_inherit_only_is_a_flag(flags, expected):
    assert expected is AccessAllowedAce(EVERYONE, 1, flags).is_inherit_only


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_says_its_number_and_its_size(kind):
    ace = kind(EVERYONE, 1)
    assert kind.type == ace.number
    assert HEADER + len(EVERYONE) + 4 * isinstance(ace, ObjectAce) == ace.size


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_is_copied_and_pickled_to_its_equal(kind):
    ace = kind(USERS, 3, AceFlags.INHERITED, b"data")
    assert ace == copy.deepcopy(ace)
    assert ace == pickle.loads(pickle.dumps(ace))  # noqa: S301 - our own bytes
    assert hash(ace) == hash(copy.copy(ace))


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_cannot_be_changed(kind):
    with pytest.raises(AttributeError):
        kind(EVERYONE, 1).mask = 2


def test_every_kind_belongs_into_one_of_the_two_lists():
    assert DACL_KINDS == {k for k in ACE_CLASSES.values() if k.place is Place.DACL}
    assert SACL_KINDS == set(ACE_CLASSES.values()) - DACL_KINDS
    assert Place.EITHER is OpaqueAce.place


def test_the_sets_of_kinds_are_those_that_their_names_say():
    def named(*words):
        return {
            kind
            for kind in ACE_CLASSES.values()
            if any(word in kind.__name__ for word in words)
        }

    assert named("AccessAllowed") == ALLOW_KINDS
    assert named("AccessDenied") == DENY_KINDS
    assert named("Audit") == AUDIT_KINDS
    assert named("Callback") == CALLBACK_KINDS
    assert named("ObjectAce") == {
        kind for kind in ACE_CLASSES.values() if issubclass(kind, ObjectAce)
    }


def test_the_flags_of_inheritance_are_the_four_low_ones():
    assert 0x0F == INHERITANCE


@pytest.mark.parametrize(
    ("given", "kept"),
    [(b"", b""), (b"a", b"a\0\0\0"), (b"abcd", b"abcd"), (b"abcde", b"abcde\0\0\0")],
)
def test_data_is_padded_to_a_multiple_of_four(given, kept):
    ace = AccessAllowedCallbackAce(EVERYONE, 1, application_data=given)
    assert kept == ace.application_data
    assert HEADER + len(EVERYONE) + len(kept) == ace.size


def test_data_with_the_signature_is_a_condition():
    def is_conditional(data):
        ace = AccessAllowedCallbackAce(EVERYONE, 1, application_data=data)
        return ace.is_conditional

    assert is_conditional(CONDITION_SIGNATURE)
    assert is_conditional(CONDITION_SIGNATURE + b"\xf8")
    assert not is_conditional(b"")
    assert not is_conditional(b"artz")


def test_an_entry_holds_just_64_kib():
    room = MAXIMUM_ACE_SIZE - HEADER - len(EVERYONE)
    assert MAXIMUM_ACE_SIZE == AccessAllowedAce(EVERYONE, 1, 0, bytes(room)).size
    with pytest.raises(InvalidAclError, match="65536 bytes does not fit 64 KiB"):
        AccessAllowedAce(EVERYONE, 1, 0, bytes(room + 1))


@pytest.mark.parametrize(
    ("object_type", "inherited_object_type", "size"),
    [
        (None, None, 0),
        (USER_CLASS, None, 16),
        (None, OTHER_CLASS, 16),
        (USER_CLASS, OTHER_CLASS, 32),
    ],
)
def test_an_object_entry_is_as_long_as_what_it_names(
    object_type, inherited_object_type, size
):
    ace = AccessAllowedObjectAce(
        LONGEST,
        1,
        AceFlags.NONE,
        b"data",
        object_type=object_type,
        inherited_object_type=inherited_object_type,
    )
    assert HEADER + 4 + size + len(LONGEST) + 4 == ace.size


def test_an_object_entry_holds_just_64_kib():
    room = MAXIMUM_ACE_SIZE - HEADER - 4 - 16 - len(EVERYONE)
    full = AccessAllowedObjectAce(
        EVERYONE, 1, AceFlags.NONE, bytes(room), object_type=USER_CLASS
    )
    assert MAXIMUM_ACE_SIZE == full.size
    with pytest.raises(InvalidAclError, match="64 KiB"):
        AccessAllowedObjectAce(
            EVERYONE, 1, AceFlags.NONE, bytes(room + 4), object_type=USER_CLASS
        )


@pytest.mark.parametrize("field", ["object_type", "inherited_object_type"])
@pytest.mark.parametrize("wrong", [bytes(USER_CLASS), str(USER_CLASS), 0])
def test_what_an_object_entry_is_about_is_a_guid(field, wrong):
    with pytest.raises(InvalidAclError, match="types are `Guid`s"):
        AccessDeniedObjectAce(EVERYONE, 1, **{field: wrong})


def test_an_object_entry_is_judged_like_the_others_before_it_is_made():
    with pytest.raises(InvalidAclError, match="trustee"):
        AccessDeniedObjectAce(bytes(EVERYONE), 1, object_type=USER_CLASS)
    with pytest.raises(InvalidAccessMaskError):
        AccessDeniedObjectAce(EVERYONE, 1 << 32)
    with pytest.raises(InvalidAclError, match="of one kind"):
        ObjectAce(EVERYONE, 1)


def test_entries_about_two_types_are_not_equal():
    first = AccessAllowedObjectAce(EVERYONE, 1, object_type=USER_CLASS)
    assert first != AccessAllowedObjectAce(EVERYONE, 1, object_type=OTHER_CLASS)
    assert first != AccessAllowedObjectAce(EVERYONE, 1)
    assert first != AccessDeniedObjectAce(EVERYONE, 1, object_type=USER_CLASS)


def test_an_opaque_entry_keeps_its_body_and_is_about_nobody():
    ace = OpaqueAce(flags=AceFlags.CRITICAL, type_number=0x42, body=b"whatever")
    assert 0x42 == ace.number
    assert 12 == ace.size
    assert NULL_SID is ace.trustee
    assert 0 == ace.mask
    assert AceFlags.CRITICAL is ace.flags
    assert ace == copy.deepcopy(ace)
    assert ace == pickle.loads(pickle.dumps(ace))  # noqa: S301 - our own bytes
    assert ace != OpaqueAce(flags=AceFlags.CRITICAL, type_number=0x43, body=b"whatever")


@pytest.mark.parametrize("number", [*AceType, -1, 0x100])
def test_a_known_type_is_not_opaque(number):
    with pytest.raises(InvalidAclError, match="no unknown type of ace"):
        OpaqueAce(type_number=number)


@pytest.mark.parametrize(
    "named", [{"trustee": USERS}, {"mask": 1}, {"application_data": b"data"}]
)
def test_an_opaque_entry_names_nobody(named):
    with pytest.raises(InvalidAclError, match="nobody that has a name"):
        OpaqueAce(type_number=0x42, **named)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_an_opaque_entry_s_size_is_a_multiple_of_four(length):
    with pytest.raises(InvalidAclError, match="multiple of four"):
        OpaqueAce(type_number=0x42, body=bytes(length))


def test_an_opaque_entry_holds_just_64_kib():
    full = OpaqueAce(body=bytes(MAXIMUM_ACE_SIZE - 4))
    assert MAXIMUM_ACE_SIZE == full.size
    with pytest.raises(InvalidAclError, match="64 KiB"):
        OpaqueAce(body=bytes(MAXIMUM_ACE_SIZE))


@pytest.mark.parametrize(
    "kind",
    [k for k in ACE_CLASSES.values() if not issubclass(k, ObjectAce)],
)
def test_an_entry_of_checked_parts_is_the_one_that_checks_them(kind):
    made = checked_ace(kind, USERS, 0xFFFF_FFFF, 0xFF, b"data")
    assert kind(USERS, 0xFFFF_FFFF, AceFlags(0xFF), b"data") == made
    assert kind is type(made)
    assert AceFlags is type(made.flags)
    assert kind(USERS, 1) == checked_ace(kind, USERS, 1, 0)


@pytest.mark.parametrize("data", [bytearray(b"artx"), memoryview(b"artx"), "artx"])
def test_what_could_change_later_is_no_data(data):
    with pytest.raises(InvalidAclError, match="is bytes"):
        AccessAllowedAce(EVERYONE, 1, application_data=data)
