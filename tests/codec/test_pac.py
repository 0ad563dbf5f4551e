"""PACs: what is read, what contradicts itself, and what hostile bytes cost."""

import struct
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.codec.forgetting import forget
from tests.codec.pac_builder import (
    ASSERTED,
    DOMAIN,
    ELSEWHERE,
    NEVER,
    STRING,
    claims_set,
    client_info,
    compressed_metadata,
    count_calls,
    delegation_info,
    device_info,
    logon_info,
    metadata,
    pac,
    signature,
    upn_info,
)

from stead.codec.delegation_info import read_delegation_info
from stead.codec.logon_name import read_account_name
from stead.codec.pac import read_pac
from stead.errors import InvalidPacError
from stead.model.claim import Claim, ClaimType
from stead.model.delegation_info import DelegationInfo
from stead.model.guid import Guid
from stead.model.pac import (
    ClientInfo,
    DeviceInfo,
    LogonInfo,
    PacAttributes,
    PacBuffer,
    PacBufferType,
    PacSignature,
    UpnInfo,
    UserFlags,
)
from stead.model.sid import Sid
from stead.model.token import GroupAttributes, TokenGroup

LOGON, CREDENTIALS, SERVER, KDC = 1, 2, 6, 7
CLIENT, DELEGATION, UPN, CLAIMS, DEVICE, DEVICE_CLAIMS = 10, 11, 12, 13, 14, 15
TICKET, ATTRIBUTES, REQUESTOR, EXTENDED, REQUESTOR_GUID = 16, 17, 18, 19, 20
ALICE = DOMAIN.with_rid(1104)
MACHINE = DOMAIN.with_rid(1300)


def group(sid, attributes=7):
    return TokenGroup(sid, GroupAttributes(attributes))


def logon(**parts):
    return read_pac(pac((LOGON, logon_info(**parts)))).logon


def device(**parts):
    return read_pac(pac((LOGON, logon_info()), (DEVICE, device_info(**parts)))).device


def with_buffer(kind, data):
    return read_pac(pac((LOGON, logon_info()), (kind, data)))


def refuse(kind, data):
    with pytest.raises(InvalidPacError):
        with_buffer(kind, data)


# --- the table ----------------------------------------------------------------------


def test_the_least_pac_says_who_somebody_is():
    read = read_pac(pac((LOGON, logon_info())))
    assert ALICE == read.user_sid
    assert (None, None, None) == (read.upn, read.sam_name, read.dns_domain)


def test_buffers_may_stand_in_any_order_with_gaps():
    data, client = logon_info(), client_info("alice")
    at = 8 + 32 + 16
    binary = struct.pack("<IIIIQIIQ", 2, 0, CLIENT, len(client), at + 800, LOGON,
                         len(data), at)  # fmt: skip
    binary += bytes(16) + data.ljust(800, b"?") + client + b"trailing"
    assert (ALICE, "alice") == (read_pac(binary).user_sid, read_pac(binary).client.name)


@pytest.mark.parametrize("size", range(8))
def test_bytes_without_a_header_are_refused(size):
    with pytest.raises(InvalidPacError):
        read_pac(bytes(size))


def test_an_unknown_version_is_refused():
    with pytest.raises(InvalidPacError, match="version `1`"):
        read_pac(pac((LOGON, logon_info()), version=1))


@pytest.mark.parametrize("count", [100, 0xFFFF_FFFF])
def test_more_buffers_than_fit_are_refused(count):
    binary = pac((LOGON, logon_info()))
    with pytest.raises(InvalidPacError):
        read_pac(struct.pack("<I", count) + binary[4:])


def test_a_pac_without_logon_information_is_refused():
    for binary in (pac(), pac((CLIENT, client_info("alice")))):
        with pytest.raises(InvalidPacError, match="names nobody"):
            read_pac(binary)


@pytest.mark.parametrize("offset", [0, 8, 28, 1 << 40, (1 << 64) - 8])
def test_a_buffer_begins_aligned_and_inside(offset):
    binary = bytearray(pac((LOGON, logon_info())))
    binary[16:24] = offset.to_bytes(8, "little")
    with pytest.raises(InvalidPacError):
        read_pac(bytes(binary))


def test_a_buffer_ends_inside():
    binary = bytearray(pac((LOGON, logon_info())))
    binary[12:16] = struct.pack("<I", len(binary))
    with pytest.raises(InvalidPacError):
        read_pac(bytes(binary))


def test_buffers_that_share_bytes_are_refused():
    binary = bytearray(pac((LOGON, logon_info()), (99, bytes(16))))
    binary[32:40] = binary[16:24]
    with pytest.raises(InvalidPacError, match="inside another"):
        read_pac(bytes(binary))


@pytest.mark.parametrize("kind", [LOGON, CREDENTIALS, SERVER, CLAIMS])
def test_a_known_buffer_stands_once(kind):
    data = logon_info() if kind == LOGON else b""
    with pytest.raises(InvalidPacError, match="stands twice"):
        read_pac(pac((LOGON, logon_info()), (kind, data), (kind, data)))


def test_credentials_and_unknown_buffers_are_kept_as_they_are():
    kept = ((CREDENTIALS, b"encrypted"), (99, b""), (99, b"new"))
    read = read_pac(pac((LOGON, logon_info()), *kept))
    assert tuple(PacBuffer(*each) for each in kept) == read.other_buffers


# --- logon information --------------------------------------------------------------


def test_logon_information_is_read_whole():
    expected = LogonInfo(
        user_sid=ALICE,
        groups=(
            group(DOMAIN.with_rid(513)),
            group(DOMAIN.with_rid(1200)),
            group(ASSERTED),
        ),
        resource_groups=(group(ELSEWHERE.with_rid(7000), 0x2000_0007),),
        domain_sid=DOMAIN,
        primary_group=DOMAIN.with_rid(513),
        account_name="alice",
        full_name="Alice",
        domain_name="EXAMPLE",
        logon_server="DC",
        user_flags=UserFlags.EXTRA_SIDS | UserFlags.RESOURCE_GROUPS,
        account_control=0x210,
        logon_time=5,
        logoff_time=NEVER,
        kick_off_time=NEVER,
    )
    assert expected == logon(
        extra=[(ASSERTED, 7)],
        resource_domain=ELSEWHERE,
        resource_rids=[(7000, 0x2000_0007)],
    )


def test_the_primary_group_is_a_group_even_where_it_is_not_listed():
    expected = (group(DOMAIN.with_rid(513)), group(DOMAIN.with_rid(1200), 1))
    assert expected == logon(rids=[(1200, 1)]).groups
    assert expected[:1] == logon(rids=None).groups


def test_no_primary_group_is_none():
    found = logon(primary_rid=0, rids=[])
    assert (None, ()) == (found.primary_group, found.groups)


def test_bits_that_a_ticket_has_no_say_in_are_ignored():
    groups = logon(rids=[(513, 0xFFFF_FFFF), (1200, 0x10)]).groups
    assert [0x2000_001F, 0x10] == [each.attributes for each in groups]


def test_an_account_of_no_domain_is_the_first_extra_sid():
    extra = [(ASSERTED, 7), (ELSEWHERE.with_rid(9), 7)]
    found = logon(rid=0, primary_rid=0, rids=None, domain=None, extra=extra)
    assert ASSERTED == found.user_sid
    assert (group(ELSEWHERE.with_rid(9)),) == found.groups
    assert None is found.domain_sid


@pytest.mark.parametrize(
    "parts",
    [
        {"rid": 0},
        {"domain": None},
        {"domain": None, "rids": None},
        {"domain": None, "rids": None, "rid": 0},
        {"extra": [(None, 7)]},
        {"extra": [(ASSERTED, 7)], "flags": 0x200},
        {"resource_domain": ELSEWHERE, "resource_rids": [(1, 7)], "flags": 0x20},
        {"resource_rids": [(1, 7)]},
        {"domain": Sid.from_parts(5, tuple(range(15)))},
        {"names": ("nul\0", "", "", "", "", "")},
    ],
)
def test_logon_information_that_contradicts_itself_is_refused(parts):
    with pytest.raises(InvalidPacError):
        logon(**parts)


def test_flags_may_promise_what_is_not_there():
    found = logon(flags=0x220, resource_domain=ELSEWHERE)
    assert () == found.resource_groups


@pytest.mark.parametrize("kind", [LOGON, DEVICE, DELEGATION])
def test_a_buffer_that_points_at_nothing_is_refused(kind):
    nothing = logon_info()[:8] + struct.pack("<IIII", 8, 0, 0, 0)
    with pytest.raises(InvalidPacError):
        read_pac(pac((LOGON, nothing)) if kind == LOGON else
                 pac((LOGON, logon_info()), (kind, nothing)))  # fmt: skip


# --- device, delegation and claims --------------------------------------------------


def test_a_device_has_groups_of_its_domain_and_of_others():
    expected = DeviceInfo(
        MACHINE,
        (
            group(DOMAIN.with_rid(515)),
            group(ASSERTED),
            group(ELSEWHERE.with_rid(1), 3),
            group(DOMAIN.with_rid(2)),
        ),
    )
    found = device(
        extra=[(ASSERTED, 7)],
        elsewhere=[(ELSEWHERE, [(1, 3)]), (DOMAIN, [(2, 7)]), (None, [])],
    )
    assert expected == found


@pytest.mark.parametrize(
    "parts",
    [{"rid": 0}, {"domain": None}, {"elsewhere": [(None, [(1, 7)])]}],
)
def test_a_device_that_contradicts_itself_is_refused(parts):
    with pytest.raises(InvalidPacError):
        device(**parts)


@pytest.mark.parametrize("services", [(), ("http/a", "cifs/b")])
def test_delegation_names_its_services(services):
    found = with_buffer(DELEGATION, delegation_info("cifs/x", services)).delegation
    assert DelegationInfo("cifs/x", services) == found


def test_delegation_reads_by_itself():
    """MIT's KDC names nobody, and a verifier reads nothing else."""
    said = delegation_info("cifs/x", ("http/a",))
    assert DelegationInfo("cifs/x", ("http/a",)) == read_delegation_info(said)
    for hostile in (b"", said[:-4], said[:30]):
        with pytest.raises(InvalidPacError):
            read_delegation_info(hostile)


@pytest.mark.parametrize("name", ["alice", "Ärzte", "FILES$", "", None])
def test_the_accounts_name_reads_by_itself(name):
    """Whoever reads nothing else reads the same."""
    said = logon_info(names=(name, "Alice", "", "", None, None))
    whole = read_pac(pac((LOGON, said))).logon.account_name
    assert (name or "") == whole == read_account_name(said)
    for length in (0, 30, 200):
        with pytest.raises(InvalidPacError):
            read_account_name(said[:length])


def test_claims_are_the_users_or_the_devices():
    rows = [("department", STRING, ["sales"])]
    claims = (Claim("department", ClaimType.STRING, ("sales",)),)
    of_user = with_buffer(CLAIMS, metadata(claims_set((1, rows))))
    assert (claims, ()) == (of_user.user_claims, of_user.device_claims)
    of_device = with_buffer(DEVICE_CLAIMS, compressed_metadata(claims_set((1, rows))))
    assert ((), claims) == (of_device.user_claims, of_device.device_claims)


# --- the buffers that are not NDR ---------------------------------------------------


def test_the_tickets_client_has_a_name_and_a_time():
    expected = ClientInfo("alice", 9)
    assert expected == with_buffer(CLIENT, client_info("alice")).client
    assert expected == with_buffer(CLIENT, client_info("alice") + bytes(7)).client


@pytest.mark.parametrize(
    "data",
    [
        bytes(9),
        client_info("alice") + bytes(8),
        client_info("alice")[:-1],
        client_info("a\0"),
        struct.pack("<QH", 1, 1) + b"a",
    ],
)
def test_a_client_that_is_none_is_refused(data):
    refuse(CLIENT, data)


def test_names_are_read_in_the_short_form():
    read = with_buffer(UPN, upn_info("alice@example", "EXAMPLE", flags=1))
    assert UpnInfo("alice@example", "EXAMPLE", is_constructed=True) == read.names
    assert ("alice@example", "EXAMPLE") == (read.upn, read.dns_domain)


def test_names_are_read_in_the_extended_form():
    data = upn_info("alice@example", "EXAMPLE", flags=2, sam="alice", sid=ALICE)
    read = with_buffer(UPN, data)
    assert UpnInfo("alice@example", "EXAMPLE", False, "alice", ALICE) == read.names
    assert "alice" == read.sam_name


def test_a_name_may_be_empty_wherever_it_lies():
    data = struct.pack("<HHHHI", 0, 0, 0, 0xFFFF, 0)
    assert UpnInfo("", "") == with_buffer(UPN, data).names


@pytest.mark.parametrize(
    "data",
    [
        bytes(11),
        struct.pack("<HHHHI", 2, 10, 0, 0, 0) + b"a\0",
        struct.pack("<HHHHI", 4, 12, 0, 0, 0) + b"a\0",
        struct.pack("<HHHHI", 3, 12, 0, 0, 0) + b"a\0b",
        struct.pack("<HHHHI", 0, 0, 4, 0xFFFF, 0) + b"a\0",
        struct.pack("<HHHHI", 0, 0, 0, 0, 2),
        upn_info("a", "b", flags=2, sam="a", sid=b""),
        upn_info("a", "b", flags=2, sam="a", sid=ALICE[:-1]),
        upn_info("a", "b", flags=2, sam="a", sid=MACHINE),
    ],
)
def test_names_that_contradict_themselves_or_the_logon_are_refused(data):
    refuse(UPN, data)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((2, 1), PacAttributes.WAS_REQUESTED),
        ((2, 0xFFFF_FFFE), PacAttributes.WAS_GIVEN_IMPLICITLY),
        ((0,), PacAttributes.NONE),
        ((33, 3, 1), PacAttributes(3)),
    ],
)
def test_attributes_are_the_announced_bits(words, expected):
    data = struct.pack(f"<{len(words)}I", *words)
    assert expected == with_buffer(ATTRIBUTES, data).attributes


@pytest.mark.parametrize(
    "words", [(), (2,), (2, 1, 1), (33, 1), (0, 1), (0xFFFF_FFFF, 1)]
)
def test_attributes_that_do_not_fill_their_buffer_are_refused(words):
    refuse(ATTRIBUTES, struct.pack(f"<{len(words)}I", *words))


def test_the_requestor_is_a_sid_and_a_guid():
    assert MACHINE == with_buffer(REQUESTOR, bytes(MACHINE)).requestor_sid
    guid = bytes(range(16))
    assert Guid(guid) == with_buffer(REQUESTOR_GUID, guid).requestor_guid
    refuse(REQUESTOR, bytes(MACHINE) + bytes(4))
    refuse(REQUESTOR_GUID, bytes(15))


@pytest.mark.parametrize("kind", [SERVER, KDC, TICKET, EXTENDED])
@pytest.mark.parametrize(("type_", "size"), [(-138, 16), (15, 12), (16, 12), (20, 24)])
def test_signatures_are_kept_and_not_verified(kind, type_, size):
    expected = PacSignature(PacBufferType(kind), type_, bytes(range(size)))
    read = with_buffer(kind, signature(type_, size))
    assert ((expected,), ()) == (read.signatures, read.other_buffers)


def test_a_signature_may_name_a_read_only_controller():
    found = with_buffer(KDC, signature(16, 14)).signatures[0]
    assert (bytes(range(12)), 0x0D0C) == (found.checksum, found.rodc_identifier)


@pytest.mark.parametrize("data", [b"", bytes(3), signature(16, 13), signature(16, 16)])
def test_a_signature_of_the_wrong_size_is_refused(data):
    refuse(SERVER, data)


# --- hostile bytes ------------------------------------------------------------------

ROWS = [("a", STRING, ["b" * 60, "c"]), ("d", 6, [1])]
BUFFERS = [
    (
        LOGON,
        logon_info(
            extra=[(ASSERTED, 7)], resource_domain=ELSEWHERE, resource_rids=[(7, 7)]
        ),
    ),
    (CLIENT, client_info("alice")),
    (UPN, upn_info("a@b", "B", flags=2, sam="alice", sid=ALICE)),
    (CLAIMS, metadata(claims_set((1, ROWS)))),
    (DEVICE, device_info(extra=[(ASSERTED, 7)], elsewhere=[(ELSEWHERE, [(1, 7)])])),
    (DELEGATION, delegation_info("cifs/x", ["http/a"])),
    (ATTRIBUTES, struct.pack("<II", 2, 1)),
    (REQUESTOR, bytes(ALICE)),
    (SERVER, signature(16, 12)),
]
PLAIN = pac(*BUFFERS)
WHOLE = pac(*BUFFERS, (DEVICE_CLAIMS, compressed_metadata(claims_set((1, ROWS)))))


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(WHOLE) - 1),
            st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])),
        ),
        max_size=8,
    ),
    st.integers(0, len(WHOLE)),
)
@example([], len(WHOLE))
def test_a_pac_with_changed_bytes_raises_our_error_alone(changes, length):
    binary = bytearray(WHOLE)
    for at, byte in changes:
        binary[at] = byte
    for data in (bytes(binary), bytes(binary[:length])):
        with suppress(InvalidPacError):
            assert isinstance(read_pac(data).user_sid, Sid)


@given(st.integers(0, len(BUFFERS[0][1]) - 1), st.integers(0, 255))
def test_two_readers_of_a_changed_logon_never_read_two_names(at, byte):
    said = bytearray(BUFFERS[0][1])
    said[at] = byte
    with suppress(InvalidPacError):
        whole = read_pac(pac((LOGON, bytes(said)))).logon.account_name
        assert whole == read_account_name(bytes(said))


def test_every_changed_byte_raises_our_error_alone():
    for at, byte in enumerate(PLAIN):
        changed = (0, 1, 0xFF, byte ^ 0x80)[at // 4 % 4]
        with suppress(InvalidPacError):
            read_pac(PLAIN[:at] + bytes((changed,)) + PLAIN[at + 1 :])


def test_a_pac_cut_short_is_refused():
    for length in range(len(PLAIN) - 8):
        with pytest.raises(InvalidPacError):
            read_pac(PLAIN[:length])


def many(count):
    """A PAC of many groups, SIDs, services, claims and unknown buffers."""
    rows = [(f"claim{number}", STRING, ["a", "b"]) for number in range(count)]
    rids = [(number, 7) for number in range(count)]
    sids = [(DOMAIN.with_rid(number), 7) for number in range(count)]
    return pac(
        (LOGON, logon_info(rids=rids, extra=sids)),
        (DELEGATION, delegation_info("x", ["y"] * count)),
        (CLAIMS, metadata(claims_set((1, rows)))),
        *((99, b"z") for _ in range(count)),
    )


def test_work_and_memory_grow_with_the_input_and_not_faster():
    small, large = many(100), many(400)
    assert 4.4 * count_calls(lambda: read_pac(small)) > count_calls(
        lambda: read_pac(large)
    )
    peaks = []
    for binary in (small, large):
        tracemalloc.start()
        read_pac(binary)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert 6 * peaks[0] > peaks[1]


def test_a_count_without_bytes_costs_nothing():
    binary = bytearray(WHOLE)
    at = WHOLE.index(struct.pack("<III", 1104, 513, 2)) + 8
    binary[at : at + 4] = struct.pack("<I", 0x0FFF_FFFF)

    def read():
        with pytest.raises(InvalidPacError):
            read_pac(bytes(binary))

    forget()
    assert count_calls(lambda: read_pac(WHOLE)) > count_calls(read)


def test_what_was_read_twice_is_one_value_and_long_ones_are_read_again():
    forget()
    binary = pac((LOGON, logon_info()))
    assert read_pac(binary) == read_pac(binary)
    assert read_pac(bytes(binary)) is read_pac(binary)
    other = pac((LOGON, logon_info(rid=1105)))
    assert read_pac(other) != read_pac(binary)
    many = [(rid, 7) for rid in range(1000, 2000)]
    large = pac((LOGON, logon_info(rids=many)))
    assert len(large) > 4096
    assert read_pac(large) == read_pac(large) == read_pac(large)
    assert read_pac(large) is not read_pac(large)


def test_tickets_of_one_logon_share_what_they_say_and_not_their_signatures():
    forget()
    parts = ((LOGON, logon_info()), (UPN, upn_info("a@b", "B")))
    first, second, third = (
        read_pac(pac(*parts, (SERVER, signature(16, 11) + bytes((number,)))))
        for number in range(3)
    )
    assert first.logon == second.logon
    assert (second.logon, second.names) == (third.logon, third.names)
    assert second.logon is third.logon
    assert second.names is third.names
    assert 3 == len({each.signatures for each in (first, second, third)})
    large = (LOGON, logon_info(rids=[(rid, 7) for rid in range(1000, 2000)]))
    again = [read_pac(pac(large, (99, bytes((number,))))) for number in range(3)]
    assert again[1].logon == again[2].logon
    assert again[1].logon is not again[2].logon


@pytest.mark.parametrize("kind", [CLAIMS, DEVICE_CLAIMS])
@pytest.mark.parametrize(
    "rows",
    [[("department", STRING, ["\u6161" * 20_000])], [("years", 1, [0] * 4_000)]],
)
def test_claims_that_unfold_to_much_are_read_again_and_kept_nowhere(kind, rows):
    forget()
    small = compressed_metadata(claims_set((1, [("department", STRING, ["sales"])])))
    large = compressed_metadata(claims_set((1, rows)))
    assert len(large) < 4096 - len(logon_info()) - 64

    def is_kept(claims):
        wholes, parts = (
            [
                read_pac(pac((LOGON, logon_info()), (kind, claims), (99, bytes((n,)))))
                for n in numbers
            ]
            for numbers in ((1, 1, 1, 1), (2, 3, 4, 5))
        )
        name = "user_claims" if kind == CLAIMS else "device_claims"
        assert 1 == len({getattr(each, name) for each in (*wholes, *parts)})
        return wholes[2] is wholes[3], getattr(parts[2], name) is getattr(
            parts[3], name
        )

    assert (True, True) == is_kept(small)
    assert (False, False) == is_kept(large)


def test_a_group_that_is_known_is_held_as_each_ticket_says():
    forget()
    for _ in range(3):
        for bits in (7, 0x10, 1):
            found = logon(rids=[(513, bits)], extra=[(ASSERTED, bits)]).groups
            assert [bits, bits] == [int(each.attributes) for each in found]


def test_flags_that_have_no_name_are_left_out_and_kept_nowhere():
    """An enumeration keeps each number that it was ever asked for."""
    for kind in (UserFlags, PacAttributes):
        before = len(kind._value2member_map_)
        assert 0x40_0000 == kind(0x40_0000)  # naive
        assert before + 1 == len(kind._value2member_map_)
    with_all = logon(flags=0xFFFF_FFFF).user_flags
    assert (
        UserFlags.GUEST | UserFlags.EXTRA_SIDS | UserFlags.RESOURCE_GROUPS == with_all
    )
    sizes = [len(kind._value2member_map_) for kind in (UserFlags, PacAttributes)]
    for number in range(9, 25):
        assert not logon(flags=1 << number & ~0x220).user_flags
        data = struct.pack("<II", 32, 1 << number)
        assert PacAttributes.NONE == with_buffer(ATTRIBUTES, data).attributes
    assert sizes == [
        len(kind._value2member_map_) for kind in (UserFlags, PacAttributes)
    ]
