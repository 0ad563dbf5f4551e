"""The conformance client keeps to its protocol."""

import json
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.client import OPERATIONS, reply_to

CLIENT = Path(__file__).with_name("client.py")
ANN = "S-1-5-21-1-2-3-1001"


def ask(*questions):
    sent = [json.dumps({"id": at, **asked}) for at, asked in enumerate(questions)]
    ran = subprocess.run(
        [sys.executable, str(CLIENT)],
        input="".join(f"{line}\n" for line in sent),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_answers_come_in_order_with_their_ids():
    answers = ask(
        {"op": "sid2bin", "sid": "WD"},
        {"op": "bin2sid", "hex": "010100000000000100000000"},
        {"op": "sid", "sid": "DA", "domain_sid": "S-1-5-21-1-2-3"},
        {"op": "well_known_sid", "type": 26},
        {"op": "sddl2bin", "sddl": "D:"},
        {"op": "bin2sddl", "hex": "0100048000000000000000000000000000000000"},
    )
    empty_dacl = "01000480" + "00" * 12 + "14000000" + "0200080000000000"
    assert [
        {"id": 0, "hex": "010100000000000100000000"},
        {"id": 1, "sid": "S-1-1-0"},
        {"id": 2, "sid": "S-1-5-21-1-2-3-512"},
        {"id": 3, "sid": "S-1-5-32-544"},
        {"id": 4, "hex": empty_dacl},
        {"id": 5, "sddl": "D:NO_ACCESS_CONTROL"},
    ] == answers


def test_what_the_protocol_does_not_have_is_unsupported_and_a_refusal_has_a_name():
    answers = ask(
        {"op": "sing"},
        {"op": "pac", "hex": ""},
        {"op": "sid", "sid": "DA"},
        {"op": "repack", "hex": "zz"},
        {"op": "condition_text", "text": "(a == )"},
    )
    assert [
        "UNSUPPORTED",
        "ERROR_INVALID_DATA",
        "ERROR_INVALID_SECURITY_DESCR",
        "ERROR_INVALID_PARAMETER",
        "ERROR_INVALID_SECURITY_DESCR",
    ] == [answer["error"] for answer in answers]


def test_each_line_is_answered_whatever_it_holds():
    lines = [
        b"",
        b"{",
        b"null",
        b"[" * 200_000,
        b'"\xff\xfe"',
        b'{"op": "sid", "sid": 1' + b"0" * 10_000 + b"}",
        b'{"id": 1}',
        b'{"id": 2, "op": ["sid"]}',
        b'{"id": 3, "op": "sid", "sid": ["WD"]}',
        b'{"id": 4, "op": "access", "sddl": "D:", "token": null, "desired": 1}',
        b'{"id": 5, "op": "new_object", "is_container": true, "token": {"user": 1}}',
        b'{"id": 6, "op": "token", "token": {"user": "WD"}, "do": [{"sing": 1}]}',
        b'{"id": 7, "op": "condition", "expr": "a", "token": {"groups": 1}}',
        b'{"id": 8, "op": "sid", "sid": "WD"}',
    ]
    ran = subprocess.run(
        [sys.executable, str(CLIENT)],
        input=b"\n".join(lines),
        capture_output=True,
        check=True,
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    malformed = "ERROR_INVALID_PARAMETER"
    assert [
        *[{"id": None, "error": malformed}] * 6,
        {"id": 1, "error": "UNSUPPORTED"},
        {"id": 2, "error": "UNSUPPORTED"},
        *[{"id": number, "error": malformed} for number in range(3, 8)],
        {"id": 8, "sid": "S-1-1-0"},
    ] == answers


NAMES = (
    "sddl", "sd_hex", "hex", "sid", "domain_sid", "type", "text", "expr", "token",
    "resource_attributes", "desired", "mapping", "object_types", "self_sid", "intent",
    "central_policies", "result_list", "parent", "creator", "is_container", "do",
    "object_type", "auto_inherit_flags", "user", "groups", "restricted", "privileges",
    "integrity", "mandatory_policy", "level", "owner", "default_dacl", "user_claims",
    "name", "values", "flags", "guid", "applies_to", "dacl", "restrict", "duplicate",
)  # fmt: skip
WORDS = st.sampled_from(["WD", "D:", "S-1-5-18", "(a)", "0100", "int64", "boolean"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)


def things(inner):
    members = st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    return st.lists(inner, max_size=3) | members


@given(
    st.sampled_from([*OPERATIONS, "sing"]),
    st.dictionaries(
        st.sampled_from(NAMES), st.recursive(WORDS | PLAIN, things, max_leaves=12)
    ),
)
def test_any_question_is_answered_with_its_id(operation, asked):
    line = json.dumps({"id": 1, "op": operation, **asked})
    assert 1 == json.loads(json.dumps(reply_to(line)))["id"]


def test_a_claim_that_no_token_can_hold_is_not_there():
    claim = {"name": "a", "type": "boolean", "values": [2]}
    ((answer),) = ask(
        {
            "op": "condition",
            "expr": "Exists @User.a",
            "token": {"user": ANN, "user_claims": [claim]},
        }
    )
    assert "false" == answer["value"]


def test_every_side_of_a_question_is_translated():
    restricted = {"user": ANN, "restricted": ["S-1-5-12"], "write_restricted": True}
    claims = [{"name": "Ring", "type": "int64", "values": [1], "flags": []}]
    root, leaf = (f"0000000{n}-0000-0000-0000-000000000000" for n in (1, 2))
    answers = ask(
        {
            "op": "access",
            "sddl": f"O:SYG:SYD:(A;;FR;;;{ANN})",
            "token": restricted,
            "desired": 1,
        },
        {
            "op": "access",
            "sddl": f"O:SYG:SYD:(XA;;FR;;;{ANN};(@User.Ring == 1))",
            "token": {"user": ANN, "user_claims": claims},
            "desired": 1,
        },
        {
            "op": "access",
            "sddl": f"O:SYG:SYD:(OA;;CC;{leaf};;PS)",
            "token": {"user": ANN},
            "self_sid": ANN,
            "desired": 1,
            "object_types": [{"level": 0, "guid": root}, {"level": 1, "guid": leaf}],
            "result_list": True,
        },
        {
            "op": "access",
            "sddl": f"O:SYG:SYD:(A;;FA;;;{ANN})S:(SP;;;;;S-1-17-1)",
            "token": {"user": ANN},
            "desired": 2,
            "central_policies": {"S-1-17-1": [{"dacl": f"D:(A;;FR;;;{ANN})"}]},
        },
        {
            "op": "access",
            "sddl": "O:SYG:SYD:",
            "token": {"user": ANN, "privileges": ["SeBackupPrivilege"]},
            "desired": 1,
            "intent": ["backup"],
        },
    )
    assert [True, True, True, False, True] == [a["allowed"] for a in answers]
    both = [{"allowed": True, "granted": 1}] * 2
    assert both == answers[2]["object_results"]
    assert ["SeBackupPrivilege"] == answers[4]["privileges_used"]


def test_a_token_is_restricted():
    ((answer),) = ask(
        {
            "op": "token",
            "token": {"user": ANN, "groups": ["S-1-1-0"]},
            "do": [
                {"restrict": {"deny_only": ["S-1-1-0"], "restricted": ["S-1-5-12"]}}
            ],
        }
    )
    assert ["S-1-5-12"] == answer["token"]["restricted"]
    assert answer["token"]["groups"][0]["deny_only"]


def test_a_condition_is_evaluated_and_printed():
    answers = ask(
        {"op": "condition_text", "text": "(@user.Ring==1)"},
        {"op": "condition", "expr": "@User.Ring == 1", "token": {"user": ANN}},
        {
            "op": "condition",
            "expr": "@Resource.Ring",
            "token": {"user": ANN},
            "resource_attributes": [
                {"name": "Ring", "type": "uint64", "values": [1]},
            ],
        },
    )
    assert "(@USER.Ring == 1)" == answers[0]["text"]
    assert ["unknown", "true"] == [answer["value"] for answer in answers[1:]]


def test_a_new_object_inherits():
    ((answer),) = ask(
        {
            "op": "new_object",
            "parent": f"O:SYG:SYD:(A;OICI;FR;;;{ANN})",
            "creator": None,
            "is_container": False,
            "auto_inherit_flags": 1,
            "token": {"user": ANN},
        }
    )
    assert answer["sddl"].endswith(f"D:AI(A;ID;FR;;;{ANN})")


def test_an_access_question_is_judged():
    question = {
        "op": "access",
        "sddl": f"O:SYG:SYD:(A;;FR;;;{ANN})",
        "token": {"user": ANN},
    }
    answers = ask({**question, "desired": 1}, {**question, "desired": 2})
    assert [(True, 1), (False, 0)] == [(a["allowed"], a["granted"]) for a in answers]


def test_a_token_is_changed_step_by_step():
    token = {
        "user": ANN,
        "privileges": ["SeBackupPrivilege", "SeRestorePrivilege"],
        "default_dacl": "D:(A;;GA;;;SY)",
    }
    steps = [
        {"adjust_privileges": {"SeBackupPrivilege": False}},
        {"adjust_privileges": {"SeRestorePrivilege": "removed"}},
        {"duplicate": {"level": "identification"}},
    ]
    (answer,) = ask({"op": "token", "token": token, "do": steps})
    changed = answer["token"]
    assert [{"name": "SeBackupPrivilege", "enabled": False}] == changed["privileges"]
    assert "identification" == changed["level"]
    assert "D:(A;;GA;;;SY)" == changed["default_dacl"]
