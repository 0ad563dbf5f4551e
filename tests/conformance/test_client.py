"""The conformance client keeps to its protocol."""

import json
import subprocess
import sys
from pathlib import Path

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


def test_what_stead_does_not_do_is_unsupported_and_what_it_refuses_has_a_name():
    token = {"user": ANN, "restricted": ["S-1-5-12"]}
    answers = ask(
        {"op": "pac", "hex": ""},
        {"op": "access", "sddl": "O:SYG:SYD:", "token": token, "desired": 1},
        {"op": "token", "token": {"user": ANN}, "do": [{"restrict": {}}]},
        {"op": "sid", "sid": "DA"},
        {"op": "repack", "hex": "zz"},
    )
    assert [
        "UNSUPPORTED",
        "UNSUPPORTED",
        "UNSUPPORTED",
        "ERROR_INVALID_SECURITY_DESCR",
        "ERROR_INVALID_PARAMETER",
    ] == [answer["error"] for answer in answers]


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
