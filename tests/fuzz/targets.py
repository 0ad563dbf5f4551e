"""The readers of the codec room, as targets of both fuzzers.

A target takes bytes. Whatever they are, nothing may escape but an error of Stead's own;
and what is accepted holds the target's laws: what was read is written and read again to
the same value, and what was printed once is printed the same a second time.

`run.py` changes the seeds at random; `coverage_guided.py` lets coverage choose. What
the latter found worth keeping lies in `corpus/<name>`, for the ordinary test run.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.codec import pac_builder as build
from tests.codec.forgetting import forget, forget_wholes

from stead.codec import scram
from stead.codec.ace_binary import read_ace, write_ace
from stead.codec.binary import read_acl
from stead.codec.claim_binary import read_claim, write_claim
from stead.codec.claim_text import claim_to_sddl, read_claim_here
from stead.codec.claims_set import read_claims
from stead.codec.condition_binary import read_condition, write_condition
from stead.codec.condition_text import condition_to_sddl, read_condition_text
from stead.codec.cursor import Cursor
from stead.codec.pac import read_pac
from stead.codec.sddl import ace_to_sddl, read_sddl, write_sddl
from stead.codec.sid_aliases import sid_to_sddl
from stead.codec.sid_text import read_sid
from stead.codec.xpress_huffman import decompress
from stead.errors import InvalidAclError, InvalidPacError, SteadError
from stead.model.acl import MAXIMUM_ACL_SIZE, Acl
from stead.model.claim import Claim
from stead.model.guid import Guid
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid

CORPUS = Path(__file__).with_name("corpus")
PACS = Path(__file__).parents[1] / "vectors" / "pac" / "samba.json"
DOMAIN = build.DOMAIN
MOST_COMPRESSED = 4096

# Readers stumble over these; for coverage_guided.py they are the dictionary.
TOKENS = (
    b"O:", b"G:", b"D:", b"S:", b"NO_ACCESS_CONTROL", b"PAIAR", b"(A;;GA;;;WD)",
    b"(OA;;CC;bf967aba-0de6-11d0-a285-00aa003049e2;;WD)", b"(OU;", b"(XA;", b"(ZA;",
    b"(XU;", b"(FL;", b"(TL;", b"(SP;", b"(ML;", b'(RA;;;;;WD;("a",TX,0x0,#ff))',
    b";OICINPIOIDCRSAFA;", b";;;;;", b"S-1-", b"0x", b"SID(BA)", b"@USER.", b"@DEVICE.",
    b"@RESOURCE.", b" Contains ", b" Any_of ", b"Member_of {SID(BA)}", b"Exists ",
    b"Not_Exists ", b" && ", b" || ", b"!(", b'{1, 2, "x"}', b'"%0020"', b"%ffff",
    b"TI,", b"TU,", b"TS,", b"TD,", b"TB,", b"TX,", b"artx", b"\x04\x00", b"\x05\x00",
    b"\x11\x00", b"\x12\x00", b"\x15\x00", b"\xf8\x02\x00\x00\x00", b"\x50\x00\x00",
    b"\x10\x00\x00", b"\x18\x00\x00", b"\x51\x00\x00", b"\x01\x10\x08\x00\xcc\xcc\xcc",
)  # fmt: skip


# The messages of RFC 7677 3, and with a binding, an escape and extensions.
SCRAM = (
    b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", b"p=tls-exporter,,n=a=2C=3Db,r=abc,x=1",
    b"r=rOprNGfwEbeRWgbNEkqO%hvYD,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,x=1",
    b"c=biws,r=rOprNGfwEbeRW,x=1,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", b"e=invalid-proof",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: what it reads.
        seeds: input that is valid, or nearly.
        read: reads it; returns if the law held, raises whatever it raises.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes], None]


def text_of(data: bytes) -> str:
    """Return bytes as text; what is no UTF-8 becomes lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def read_twice(read: Callable[[], SecurityDescriptor]) -> SecurityDescriptor:
    """Read as the first reader, then again: what is known makes it quick, nothing else.

    What was read lately is kept, and its parts are; neither may change what is read.
    """
    forget()
    try:
        found = read()
    except SteadError as error:
        forget_wholes()
        require_same_refusal(read, str(error))
        raise
    forget_wholes()
    assert found == read()
    return found


def require_same_refusal(read: Callable[[], object], message: str) -> None:
    """Assert that reading is refused with these words."""
    heard = "no refusal"
    try:
        read()
    except SteadError as error:
        heard = str(error)
    assert message == heard


def read_binary(data: bytes) -> None:
    """Read a descriptor; what is accepted is written and read as the same."""
    found = read_twice(lambda: SecurityDescriptor.from_bytes(data))
    written = found.to_bytes()
    again = SecurityDescriptor.from_bytes(written)
    assert found == again
    assert written == again.to_bytes()
    for acl in (found.dacl, found.sacl):
        for ace in acl if isinstance(acl, Acl) else ():
            require_ace_printed_again(write_ace(ace))


def read_one_ace(data: bytes) -> None:
    """Read an entry; what is accepted is those bytes, and the same within a list."""
    try:
        found = read_ace(data)
    except InvalidAclError:
        if len(data) == int.from_bytes(data[2:4], "little"):
            require_no_list_of(data)
        raise
    assert data == write_ace(found)
    assert found.size == len(data)
    if 8 + len(data) <= MAXIMUM_ACL_SIZE:
        assert (found,) == read_acl(list_of(data)).aces
    require_ace_printed_again(data)


def list_of(ace: bytes) -> bytes:
    """Return a list that holds these bytes as its one entry."""
    return struct.pack("<BBHHH", 2, 0, (8 + len(ace)) % (1 << 16), 1, 0) + ace


def require_no_list_of(ace: bytes) -> None:
    """Assert that what is no entry is none within a list either."""
    try:
        read_acl(list_of(ace))
    except InvalidAclError:
        return
    raise AssertionError("an entry is refused alone and read within a list")


def require_ace_printed_again(data: bytes) -> None:
    """Print an entry if SDDL has words for it; they mean an entry that is printed so.

    Bytes hold conditions that the grammar has no room for, so those may not be read.
    """
    ace = read_ace(data)
    try:
        printed = ace_to_sddl(ace)
    except SteadError:
        return
    part = f"{ace.place.value[0].upper()}:"
    try:
        again = read_sddl(part + printed)
    except SteadError:
        assert ace.is_conditional
        return
    assert part + printed == write_sddl(again)


def read_descriptor_text(data: bytes) -> None:
    """Read SDDL; what is accepted is written and read as the same, both ways."""
    text = text_of(data)
    for domain in (None, DOMAIN):
        found = read_twice(partial(read_sddl, text, domain=domain))
        printed = write_sddl(found, domain=domain)
        assert found == read_sddl(printed, domain=domain)
        assert found == SecurityDescriptor.from_bytes(found.to_bytes())


def read_sid_text(data: bytes) -> None:
    """Read a SID's text; what is accepted is written and read as the same."""
    found = Sid.from_string(text_of(data))
    assert found == Sid.from_string(str(found))
    assert found == read_sid(str(found))


def read_sddl_sid(data: bytes) -> None:
    """Read a SID of SDDL; what is accepted is the same printed, and in a descriptor."""
    text = text_of(data)
    found = read_sid(text, domain=DOMAIN)
    assert found == read_sid(sid_to_sddl(found, domain=DOMAIN), domain=DOMAIN)
    assert found == Sid.from_string(str(found))
    sd = read_sddl(f"O:{text}D:(A;;CC;;;{text})(A; ;CC;;;{text})", domain=DOMAIN)
    assert found == sd.owner
    assert isinstance(sd.dacl, Acl)
    assert [found, found] == [ace.trustee for ace in sd.dacl]


def read_sid_bytes(data: bytes) -> None:
    """Read a SID's bytes; what is accepted is those bytes."""
    found = Sid(data)
    assert data == found.to_bytes()
    assert found == Sid.from_string(str(found))


def read_guid_text(data: bytes) -> None:
    """Read a GUID's text; what is accepted is written and read as the same."""
    found = Guid.from_string(text_of(data))
    assert text_of(data).lower() == str(found)
    assert found == Guid(found.to_bytes())


def read_condition_bytes(data: bytes) -> None:
    """Read a condition; what is accepted is written and read as the same."""
    found = read_condition(data)
    written = write_condition(found)
    assert found == read_condition(written)
    assert written == write_condition(read_condition(written))
    condition_to_sddl(found)


def read_condition_sddl(data: bytes) -> None:
    """Read a condition's text; what is accepted is the same in text and in bytes."""
    found = read_condition_text(text_of(data), domain=DOMAIN)
    printed = condition_to_sddl(found, domain=DOMAIN)
    assert found == read_condition_text(printed, domain=DOMAIN)
    assert found == read_condition(write_condition(found))


def read_claim_bytes(data: bytes) -> None:
    """Read a claim; what is accepted is the same in bytes and, if printed, in text."""
    found = read_claim(data)
    assert found == read_claim(write_claim(found))
    try:
        printed = claim_to_sddl(found)
    except SteadError:
        return
    assert found == whole_claim(printed)


def read_claim_sddl(data: bytes) -> None:
    """Read a claim's text; what is accepted is the same in text and in bytes."""
    found = whole_claim(text_of(data))
    assert found == whole_claim(claim_to_sddl(found, domain=DOMAIN))
    assert found == read_claim(write_claim(found))


def whole_claim(text: str) -> Claim:
    """Read a claim that is a whole text."""
    cursor = Cursor(text)
    found = read_claim_here(cursor, DOMAIN)
    if not cursor.at_end:
        raise cursor.error("a claim ends here")
    return found


def read_pac_bytes(data: bytes) -> None:
    """Read a PAC; only its own error escapes, and what it gives a token is sound."""
    try:
        found = read_pac(data)
        parts = found.token_parts(local_domain=build.ELSEWHERE)
    except InvalidPacError:
        raise
    except SteadError as error:
        raise AssertionError("a pac's mistake is `InvalidPacError`") from error
    assert found == read_pac(data)
    for claim in parts.user_claims + parts.device_claims:
        assert claim.name


def read_claims_set(data: bytes) -> None:
    """Read a claims set, compressed or not; only its own error escapes."""
    try:
        found = read_claims(data)
    except InvalidPacError:
        raise
    except SteadError as error:
        raise AssertionError("a claims set's mistake is `InvalidPacError`") from error
    assert found == read_claims(data)


def read_compressed(data: bytes) -> None:
    """Decompress; the first two bytes are the size that is announced."""
    size = int.from_bytes(data[:2], "little") % MOST_COMPRESSED
    assert size == len(decompress(data[2:], size))


SDDL = (
    "O:BAG:SYD:(A;;GA;;;BA)(D;OICI;0x1f01ff;;;S-1-5-21-1-2-3-1001)",
    "O:S-1-22-1-1000G:S-1-22-2-1000D:PAI(A;CI;FR;;;WD)(A;;CCDC;;;AU)S:(AU;SAFA;GA;;;WD)",
    "D:NO_ACCESS_CONTROL",
    "D: AI (A;;GA;;;WD) (A;;GA;;;WD)  (D;OI;GA;;;S-1-5-18) S:(AU;SA;GA;;;WD) ",
    "S:(ML;;NW;;;HI)",
    "D:(OA;;CC;bf967aba-0de6-11d0-a285-00aa003049e2;;WD)(OD;;CR;;;WD)",
    "D:(OD;;CR;;bf967aba-0de6-11d0-a285-00aa003049e2;WD)",
    'D:(XA;;FX;;;WD;(@User.Title=="PM" && (Member_of {SID(BA), SID(BO)})))',
    "D:(XD;;FR;;;WD;(!(Level Any_of {1, 0x2, -07})))(ZA;;CC;;;WD;(a))",
    'S:(RA;;;;;WD;("Secrecy",TU,0x0,3))(SP;;;;;S-1-17-1)(TL;;0x1;;;S-1-19-512-4096)',
    "S:(FL;;FR;;;WD;(Exists a))(XU;SA;GA;;;WD;(b == #ff))(OU;FA;GA;;;WD)(AL;;GA;;;WD)",
)
SIDS = ("S-1-5-32-544", "S-1-0x123456789abc-1", "S-1-5-21-1-2-3-4294967295")
SDDL_SIDS = (*SIDS, "BA", "da", "s-0x1-f-20", "S-1-0x5-0x20-0x220")
GUIDS = ("bf967aba-0de6-11d0-a285-00aa003049e2",)
CONDITIONS = (
    '(@User.Title == "PM" && (@Device.Bits != 0x40 || Level <= -07))',
    "((Member_of_any {SID(BA), SID(S-1-5-32-545)}) || (Not_Exists %0020b))",
    '(!(a Contains {1, #ff00, "c"} || x > @Resource.c))',
    "(a)",
)
CLAIMS = (
    '("Secrecy",TU,0x0,3)',
    '("Depth%0022x",TI,0x2,-1,0x7f,007)',
    '("Project",TS,0x10001,"a","b c")',
    '("Who",TD,0x0,BA,SID(S-1-5-18))',
    '("Yes",TB,0x0,1,0)',
    '("Raw",TX,0x0,00ff,#12)',
)
ROWS = (
    ("department", build.STRING, ["sales", "", "ünïcode"]),
    ("level", build.INT64, [-(1 << 63), 5]),
    ("clearance", build.UINT64, [(1 << 64) - 1]),
    ("managed", build.BOOLEAN, [1, 0]),
)


def read_scram(data: bytes) -> None:
    """Read a message of SCRAM of each kind; what is accepted is spelled one way."""
    with suppress(SteadError):
        first = scram.read_client_first(data)
        assert data == f"{first.header}{first.bare}".encode()
        flag = first.header[:-2]
        again = scram.write_client_first(first.name, first.nonce, flag)
        assert (again.name, again.nonce) == (first.name, first.nonce)
    with suppress(SteadError):
        asked = scram.read_server_first(data)
        made = scram.write_server_first(asked.nonce, asked.salt, asked.iterations)
        assert asked.text.startswith(made.text)
    with suppress(SteadError):
        final = scram.read_client_final(data)
        assert data == scram.write_client_final(final.bare, final.proof)
    with suppress(SteadError):
        signature = scram.read_server_final(data)
        assert data.startswith(scram.write_server_final(signature))


def seeds_of(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return texts as input."""
    return tuple(text.encode() for text in texts)


def ace_seeds() -> tuple[bytes, ...]:
    """Return one entry of each kind that the descriptors hold, and an opaque one."""
    found = [b"\x04\x03\x0c\x00opaque\x00\x00"]
    for text in SDDL:
        sd = read_sddl(text)
        for acl in (sd.dacl, sd.sacl):
            found += [write_ace(ace) for ace in acl] if isinstance(acl, Acl) else []
    return tuple(found)


def pac_seeds() -> tuple[bytes, ...]:
    """Return a PAC with a buffer of each kind, one that says little, and Samba's."""
    recorded = json.loads(PACS.read_text("utf-8"))
    alice = DOMAIN.with_rid(1104)
    logon = build.logon_info(
        extra=[(build.ASSERTED, 7)],
        resource_domain=build.ELSEWHERE,
        resource_rids=[(7, 7)],
    )
    device = build.device_info(elsewhere=[(build.ELSEWHERE, [(1, 7)])])
    return (
        build.pac((1, build.logon_info())),
        build.pac(
            (1, logon),
            (10, build.client_info("alice")),
            (12, build.upn_info("a@b", "B", flags=2, sam="alice", sid=bytes(alice))),
            (13, build.metadata(build.claims_set((1, ROWS)))),
            (14, device),
            (11, build.delegation_info("cifs/x", ["http/a"])),
            (17, struct.pack("<II", 2, 1)),
            (18, bytes(alice)),
            (6, build.signature(16, 12)),
        ),
        *(bytes.fromhex(case["input"]) for case in recorded),
    )


def codec_targets() -> list[Target]:
    """Return every reader of the codec room with its seeds."""
    conditions = seeds_of(CONDITIONS)
    claims = seeds_of(CLAIMS)
    claims_set = build.claims_set((1, ROWS))
    packed = build.compress(claims_set)
    return [
        Target(
            "binary-descriptor",
            tuple(read_sddl(text).to_bytes() for text in SDDL),
            read_binary,
        ),
        Target("ace", ace_seeds(), read_one_ace),
        Target("sddl", seeds_of(SDDL), read_descriptor_text),
        Target("sid-text", seeds_of(SIDS), read_sid_text),
        Target("sid-sddl", seeds_of(SDDL_SIDS), read_sddl_sid),
        Target(
            "sid-bytes",
            tuple(Sid.from_string(text).to_bytes() for text in SIDS),
            read_sid_bytes,
        ),
        Target("guid-text", seeds_of(GUIDS), read_guid_text),
        Target(
            "condition-bytes",
            tuple(write_condition(read_condition_text(c)) for c in CONDITIONS),
            read_condition_bytes,
        ),
        Target("condition-text", conditions, read_condition_sddl),
        Target(
            "claim-bytes",
            tuple(
                write_claim(read_claim_here(Cursor(text), DOMAIN)) for text in CLAIMS
            ),
            read_claim_bytes,
        ),
        Target("claim-text", claims, read_claim_sddl),
        Target("pac", pac_seeds(), read_pac_bytes),
        Target(
            "claims-set",
            (build.metadata(claims_set), build.compressed_metadata(claims_set)),
            read_claims_set,
        ),
        Target(
            "compressed",
            (len(claims_set).to_bytes(2, "little") + packed,),
            read_compressed,
        ),
        Target("scram", SCRAM, read_scram),
    ]
