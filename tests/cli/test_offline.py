"""`stead judge`: answers about a written token, its reasons, and what is no token."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stead.cli.main import app
from stead.cli.right_names import RightsKind, mask_of_names, meaningful_rights
from stead.cli.token_json import read_policies, read_token
from stead.errors import InvalidRequestError, SteadError
from stead.model.access_mask import VALID_MASK
from stead.model.claim import ClaimFlags, ClaimType
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import (
    AccessToken,
    GroupAttributes,
    ImpersonationLevel,
    MandatoryPolicy,
    TokenType,
)

ALICE = "S-1-5-21-1-2-3-1001"
DOMAIN = "S-1-5-21-1-2-3"
USER = "bf967aba-0de6-11d0-a285-00aa003049e2"
SET = "77b5b886-944a-11d1-aebd-0000f80367c1"
HEAD = "O:SYG:SYD:"


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Give what judges a token, by default alice's, without a store."""
    monkeypatch.delenv("STEAD_STORE", raising=False)

    def run(*arguments, stdin=None, **token):
        written = tmp_path / "token.json"
        written.write_text(json.dumps({"user": ALICE, **token}), "utf-8")
        words = ["judge", *map(str, arguments)]
        words += [] if "--token" in words else ["--token", str(written)]
        return CliRunner().invoke(app, words, input=stdin)

    return run


# --- answers --------------------------------------------------------------------------


def test_the_answer_is_the_status_and_one_line(judge):
    granted = judge(f"{HEAD}(A;;FR;;;{ALICE})", "READ_DATA", "read_control")
    refused = judge(f"{HEAD}(A;;FR;;;{ALICE})", "FILE_GENERIC_WRITE")

    assert (0, "READ_DATA | READ_CONTROL: granted READ_DATA | READ_CONTROL\n") == (
        granted.exit_code, granted.stdout,
    )  # fmt: skip
    assert (1, "FILE_GENERIC_WRITE: refused\n") == (refused.exit_code, refused.stdout)


def test_reasons_are_said_with_what_else_made_it_so(judge):
    ran = judge(
        f"{HEAD}(D;;FW;;;AN)(A;;FR;;;{ALICE})",
        "WRITE_EA",
        "--explain",
        groups=["AN"],
        restricted=["RC"],
    )

    no_entry = "WRITE_EA is granted by no entry of the DACL"
    entry = "entry 1 of the DACL, (D;;FW;;;AN)"
    assert [
        "WRITE_EA: refused",
        f"  WRITE_EA is denied by {entry}, which names ANONYMOUS LOGON",
        f"    and without that, {no_entry}",
        f"    and without that, {no_entry} to the token's restricting SIDs",
    ] == ran.stdout.splitlines()


def test_json_holds_the_decision_and_its_reasons_if_asked(judge):
    short = judge(f"{HEAD}(A;;FR;;;{ALICE})", "WRITE_OWNER", "--json")
    whole = judge(
        f"{HEAD}(A;;FR;;;{ALICE})",
        "WRITE_OWNER",
        "--json",
        "--explain",
        privileges=["SeTakeOwnershipPrivilege"],
    )

    found = json.loads(whole.stdout)
    [reason] = found.pop("reasons")
    assert "reasons" not in json.loads(short.stdout)
    assert {
        "allowed": True,
        "asked": "WRITE_OWNER",
        "granted": "0x00080000",
        "rights": "WRITE_OWNER",
        "privileges_used": ["SeTakeOwnershipPrivilege"],
        "object_results": [],
        "staged": [],
    } == found
    assert ("GRANTED_BY_PRIVILEGE", "SeTakeOwnershipPrivilege") == (
        reason["rule"], reason["privilege"],
    )  # fmt: skip


def test_without_rights_the_effective_ones_are_listed(judge):
    text = f"{HEAD}(A;;FR;;;{ALICE})"

    assert "granted: FILE_GENERIC_READ\n" == judge(text).stdout
    assert {"granted": "0x00120089", "rights": "FILE_GENERIC_READ"} == (
        json.loads(judge(text, "--json").stdout)
    )


def test_of_an_open_object_only_rights_with_a_meaning_are_listed(judge):
    text = "O:SYG:SYD:NO_ACCESS_CONTROL"

    assert "granted: KEY_ALL_ACCESS | SYNCHRONIZE\n" == (
        judge(text, "--kind", "key").stdout.replace("KEY_READ | ", "")
    )


def test_generic_rights_mean_what_they_mean_on_the_kind(judge):
    text = f"{HEAD}(A;;KR;;;{ALICE})"

    ran = judge(text, "GENERIC_READ", "--kind", "key")

    assert (0, "KEY_READ: granted KEY_READ\n") == (ran.exit_code, ran.stdout)


def test_parts_of_an_object_are_judged_each(judge):
    ran = judge(
        f"{HEAD}(OA;;RP;{SET};;{ALICE})",
        "READ_PROP",
        "--kind", "ds",
        "--object-type", f"0:{USER}",
        "--object-type", f"1:{SET}",
        "--explain",
    )  # fmt: skip
    found = judge(
        f"{HEAD}(OA;;RP;{SET};;{ALICE})",
        "READ_PROP",
        "--kind", "ds",
        "--object-type", f"0:{USER}",
        "--object-type", f"1:{SET}",
        "--json",
    )  # fmt: skip

    assert f"  {USER}: " in ran.stdout
    assert f"    {SET}: granted READ_PROP" in ran.stdout.splitlines()
    assert {
        "level": 1,
        "guid": SET,
        "allowed": True,
        "granted": "0x00000010",
    } == json.loads(found.stdout)["object_results"][1]


def test_who_self_is_and_the_purpose_count(judge):
    selfish = judge(f"{HEAD}(A;;FR;;;PS)", "READ_DATA", "--self-sid", ALICE)
    backup = judge(
        HEAD, "READ_DATA", "--intent", "backup", privileges=["SeBackupPrivilege"]
    )

    assert (0, 0) == (selfish.exit_code, backup.exit_code)


def test_central_policies_count_and_staged_ones_are_told(judge, tmp_path):
    rule = {
        "dacl": f"D:(A;;FR;;;{ALICE})",
        "staged_dacl": "D:",
        "applies_to": '(@Resource.Level=="high")',
        "name": "high",
    }
    policies = tmp_path / "policies.json"
    policies.write_text(json.dumps({"S-1-17-1": [rule]}), "utf-8")
    text = f'{HEAD}(A;;FRFW;;;{ALICE})S:(RA;;;;;WD;("Level",TS,0,"high"))'
    arguments = (f"{text}(SP;;;;;S-1-17-1)", "READ_DATA", "--policies", policies)

    lines = judge(*arguments, "--explain").stdout.splitlines()
    found = json.loads(judge(*arguments, "--json").stdout)

    assert (
        "  staged in S-1-17-1 (rule `high`): would grant nothing, grants READ_DATA"
        == (lines[-1])
    )
    assert [
        {
            "policy": "S-1-17-1",
            "rule": "high",
            "effective": "0x00000001",
            "staged": "0x00000000",
        }
    ] == found["staged"]
    assert 1 == judge(arguments[0], "WRITE_DATA", *arguments[2:]).exit_code


def test_a_rule_may_be_without_a_name(judge, tmp_path):
    policies = tmp_path / "policies.json"
    rule = {"dacl": "D:", "staged_dacl": f"D:(A;;FR;;;{ALICE})"}
    policies.write_text(json.dumps({"S-1-17-1": [rule]}), "utf-8")

    ran = judge(
        f"{HEAD}(A;;FR;;;{ALICE})S:(SP;;;;;S-1-17-1)",
        "READ_DATA", "--explain", "--policies", policies,
    )  # fmt: skip

    assert (
        "  staged in S-1-17-1: would grant READ_DATA, grants nothing"
        == (ran.stdout.splitlines()[-1])
    )


def test_a_token_is_read_from_standard_input(judge):
    text = json.dumps({"user": ALICE, "groups": ["AN"]})

    ran = judge(f"{HEAD}(A;;FX;;;AN)", "--token", "-", stdin=text)

    assert "granted: FILE_GENERIC_EXECUTE\n" == ran.stdout


# --- mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((f"{HEAD}(A;;FQ;;;WD)", "READ_DATA"), "sddl is wrong at position 14"),
        ((HEAD, "FLY"), "`FLY` is no right of this kind of object"),
        ((HEAD, "0x1FFFFFFFF"), "`0x1FFFFFFFF` is no right"),
        ((HEAD, "READ_DATA", "--object-type", "x"), "`x` is no object type"),
        ((HEAD, "READ_DATA", "--object-type", f"10:{USER}"), "is no object type"),
        ((HEAD, "READ_DATA", "--object-type", "0:x"), "`x` is not a guid"),
        ((HEAD, "--object-type", f"0:{USER}"), "name the rights"),
        ((HEAD, "--intent", "backup"), "name the rights"),
        (("D:", "READ_DATA"), "names an owner and a group"),
        ((HEAD, "READ_DATA", "--self-sid", "S-1-x"), "sddl is wrong"),
        ((HEAD, "READ_DATA", "--policies", "/nonexistent"), "/nonexistent"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_clear_line_and_status_1(judge, arguments, said):
    ran = judge(*arguments)

    assert (1, "") == (ran.exit_code, ran.stdout)
    assert ran.stderr.startswith("stead: ")
    assert said in ran.stderr.splitlines()[0]


def test_a_file_that_is_no_text_is_refused(judge, tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")

    assert "is no text in UTF-8" in judge(HEAD, "--policies", binary).stderr
    missing = judge(HEAD, "--policies", str(tmp_path / "missing")).stderr
    assert "cannot be read: No such file" in missing
    assert "Errno" not in missing


# --- tokens ---------------------------------------------------------------------------


def token(**parts):
    return read_token(json.dumps({"user": ALICE, **parts}), Sid.from_string(DOMAIN))


def test_every_part_of_a_token_is_read():
    read = token(
        user_deny_only=True,
        groups=[
            "DA",
            {"sid": "BA", "deny_only": True, "owner": True},
            {"sid": "BU", "enabled": False, "mandatory": False},
        ],
        privileges=["SeBackupPrivilege", {"name": "SeTcbPrivilege", "enabled": False}],
        type="primary",
        level="delegation",
        owner="BA",
        primary_group="BU",
        default_dacl="D:(A;;GA;;;SY)",
        integrity="HI",
        mandatory_policy=["NO_WRITE_UP", "NEW_PROCESS_MIN"],
        restricted=["RC"],
        write_restricted=True,
        device_groups=["DC"],
        user_claims=[
            {"name": "a", "type": "int64", "values": [-1], "flags": ["deny_only"]},
            {"name": "b", "type": "octets", "values": ["00ff"]},
            {"name": "c", "type": "sid", "values": ["BA"]},
            {"name": "d", "type": "boolean", "values": [True]},
        ],
        device_claims=[{"name": "e", "type": "string", "values": []}],
        local_claims=[{"name": "f", "type": "uint64", "values": [1]}],
        package="S-1-15-2-1-2-3",
        capabilities=["S-1-15-3-1"],
        trust="S-1-19-512-4096",
    )

    first, second, third = read.groups
    assert Sid.from_string(f"{DOMAIN}-512") == first.sid
    assert (True, False, True) == (
        first.is_enabled, second.is_enabled, second.is_deny_only,
    )  # fmt: skip
    assert GroupAttributes.OWNER in second.attributes
    assert GroupAttributes.NONE == third.attributes
    assert frozenset({Privilege.BACKUP}) == read.enabled_privileges
    assert (TokenType.PRIMARY, ImpersonationLevel.DELEGATION) == (read.type, read.level)
    assert MandatoryPolicy.NO_WRITE_UP | MandatoryPolicy.NEW_PROCESS_MIN == (
        read.mandatory_policy
    )
    assert (1, True, True) == (
        len(read.restricting_sids), read.is_write_restricted, read.user_is_deny_only,
    )  # fmt: skip
    a, b, c, d = read.user_claims
    assert (ClaimType.INT64, ClaimFlags.USE_FOR_DENY_ONLY) == (a.type, a.flags)
    assert (b"\x00\xff", "S-1-5-32-544", True) == (
        b.values[0], str(c.values[0]), d.values[0],
    )  # fmt: skip
    assert ((), (1,)) == (read.device_claims[0].values, read.local_claims[0].values)
    assert ("S-1-15-2-1-2-3", "S-1-15-3-1") == (
        str(read.package), str(read.capabilities[0].sid),
    )  # fmt: skip
    assert "D:(A;;GA;;;SY)" == SecurityDescriptor(read.default_dacl).to_sddl()


def test_a_part_that_is_null_is_as_if_it_were_not_there():
    assert token() == token(owner=None, default_dacl=None)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"user": None}, "lacks `user`"),
        ({"user": "alice"}, "`user` is no sid"),
        ({"grups": []}, "has no part `grups`"),
        ({"groups": "BA"}, "`groups` is no list"),
        ({"groups": [7]}, "`groups[0]` is no json object"),
        (
            {"groups": ["BA", {"sid": "BU", "deny-only": True}]},
            "has no part `deny-only`",
        ),
        ({"groups": [{"enabled": True}]}, "`groups[0]` lacks `sid`"),
        ({"groups": [{"sid": "BA", "owner": 1}]}, "neither true nor false"),
        ({"user_deny_only": "no"}, "`user_deny_only` is neither true nor false"),
        ({"privileges": ["SeFlyPrivilege"]}, "cannot be `SeFlyPrivilege`"),
        ({"level": "high"}, "`level` cannot be `high`"),
        ({"level": 2}, "`level` is no text"),
        ({"mandatory_policy": ["NO"]}, "cannot be `NO`"),
        ({"user_claims": [{"name": "a", "type": "x", "values": []}]}, "cannot be `x`"),
        (
            {"user_claims": [{"name": "a", "type": "octets", "values": ["x"]}]},
            "`user_claims[0].values[0]` is no hexadecimal",
        ),
        (
            {"user_claims": [{"name": "a", "type": "int64", "values": [1.5]}]},
            "is no value of a claim",
        ),
        (
            {
                "user_claims": [
                    {"name": "a", "type": "int64", "values": [], "flags": ["x"]}
                ]
            },
            "cannot be `x`",
        ),
    ],
)
def test_what_is_no_token_is_refused_and_the_part_named(parts, said):
    with pytest.raises(InvalidRequestError) as refused:
        token(**parts)

    assert said in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"user": "BA"} x'])
def test_what_is_no_json_is_refused(text):
    for read in (read_token, read_policies):
        with pytest.raises(InvalidRequestError):
            read(text)


@pytest.mark.parametrize(
    "parts",
    [
        {"integrity": "BA"},
        {"capabilities": ["S-1-15-3-1"]},
        {"write_restricted": True},
        {"user_claims": [{"name": "", "type": "int64", "values": []}]},
        {"user_claims": [{"name": "a", "type": "int64", "values": ["1"]}]},
        {"default_dacl": "D:(A;;"},
    ],
)
def test_parts_that_do_not_fit_one_another_are_refused(parts):
    with pytest.raises(SteadError):
        token(**parts)


@pytest.mark.parametrize(
    "text", ['{"BA": {}}', '{"BA": [{"dacl": 1}]}', '{"BA": [{}]}', '{"x": []}']
)
def test_what_is_no_policy_is_refused(text):
    with pytest.raises(SteadError):
        read_policies(text)


_KEYS = st.sampled_from(
    ["user", "groups", "sid", "user_claims", "name", "type", "values", "privileges"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(["BA", ALICE, "int64", "SeTcbPrivilege"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=12,
)  # fmt: skip


@given(_JSON | st.dictionaries(_KEYS, _JSON).map({"user": ALICE}.__or__))
def test_whatever_is_written_gives_a_token_or_an_error_of_ours(value):
    with suppress(SteadError):
        assert isinstance(read_token(json.dumps(value)), AccessToken)


# --- names of rights ------------------------------------------------------------------


def test_rights_are_named_or_numbered():
    assert 0x3 == mask_of_names(["0x1", "WRITE_DATA"], RightsKind.FILE)
    assert 0 == mask_of_names([], RightsKind.NONE)
    with pytest.raises(InvalidRequestError):
        mask_of_names(["READ_DATA"], RightsKind.NONE)


def test_of_an_unknown_kind_every_bit_may_mean_something():
    assert VALID_MASK == meaningful_rights(RightsKind.NONE)
    assert 0x011F_01FF == meaningful_rights(RightsKind.DS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"user": "BA", "user": "BU"}', "`user` stands twice in one object"),
        ('{"user": "S-1-5-21-99999999999"}', "`user` is no sid"),
        ('{"user": "ba"}', "`user` is no sid"),
        ('{"user": "Everyone"}', "`user` is no sid"),
    ],
)
def test_a_token_that_could_be_meant_otherwise_is_refused(text, said):
    with pytest.raises(InvalidRequestError, match=said):
        read_token(text)


def test_reasons_take_rights_to_be_about(judge):
    assert 2 == judge("O:SYG:SYD:", "--explain").exit_code
