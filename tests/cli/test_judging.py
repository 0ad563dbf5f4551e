"""`stead check`, `effective`, `who-can` and `what-can`: answers, JSON, refusals."""

import pytest

from stead.cli.reasons import reason_data
from stead.decision.access_check import access_check
from stead.decision.explain import explain
from stead.model.access_mask import FILE_MAPPING
from stead.model.ace import OpaqueAce
from stead.model.acl import Acl
from stead.model.audit_record import AuditEvent
from stead.model.policy import CentralAccessPolicy, CentralAccessRule
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

ALICE = Sid.from_string("S-1-5-21-1-2-3-1001")
STAFF = Sid.from_string("S-1-5-21-1-2-3-1101")
POLICY = Sid.from_string("S-1-17-7")


def test_check_prints_every_cause_as_data(stead):
    ran = stead("check", "bob", "plan", "WRITE", "--json", "--explain")

    [reason] = ran.json["reasons"]
    assert 1 == ran.status
    assert {
        "right": "0x00000002",
        "granted": False,
        "rule": "DENIED_BY_ACE",
        "whom": "TOKEN",
        "entry": 1,
        "path": ["bob", "summer", "interns"],
    }.items() <= reason.items()
    assert reason["ace"].startswith("(D;;DC;;;S-1-5-21-")
    assert reason["ace"].endswith(f"{reason['matched']})")
    assert [] == reason["also"]


def test_check_prints_what_else_made_it_so(stead):
    told = stead("check", "uid 70555", "plan", "MAXIMUM_ALLOWED", "--explain", "--json")
    granted = stead("check", "bob", "plan", "MAXIMUM_ALLOWED", "--json")

    assert "NOTHING_GRANTED" == told.json["reasons"][0]["rule"]
    assert ("MAXIMUM_ALLOWED", "READ") == (
        granted.json["asked"],
        granted.json["granted"],
    )
    assert ["bob asks plan for MAXIMUM_ALLOWED: granted READ"] == (
        stead("check", "bob", "plan", "MAXIMUM_ALLOWED").lines
    )


def test_effective_lists_every_right(stead):
    assert ["alice may, on plan: READ | WRITE"] == (
        stead("effective", "alice", "plan").lines
    )
    assert {
        "account": "bob",
        "object": "plan",
        "granted": "0x00000001",
        "rights": "READ",
    } == stead("effective", "bob", "plan", "--json").json


def test_who_can_lists_accounts_and_through_what(stead):
    assert [
        "READ on plan: 2 accounts",
        "  alice: READ | WRITE",
        "    by alice -> staff",
        "  bob: READ",
        "    by bob -> staff",
    ] == stead("who-can", "plan", "READ").lines
    found = stead("who-can", "plan", "WRITE", "--json").json
    [alice] = found["accounts"]
    assert ("plan", "WRITE", []) == (
        found["object"],
        found["asked"],
        found["not_judged"],
    )
    assert ["alice -> staff"] == alice["through"]
    assert ("alice", "0x00000003") == (alice["account"], alice["granted"])
    assert alice["sid"].startswith("S-1-5-21-")


def test_nobody_is_said_as_such(stead):
    assert (0, ["DELETE on plan: no accounts"]) == (
        (ran := stead("who-can", "plan", "DELETE")).status, ran.lines,
    )  # fmt: skip


def test_what_can_lists_objects_of_every_kind(stead):
    assert ["bob has READ to 1 object", "  plan (Doc): READ"] == (
        stead("what-can", "bob", "READ").lines
    )
    found = stead("what-can", "alice", "READ", "WRITE", "--json").json
    assert {
        "account": "alice",
        "asked": "READ | WRITE",
        "objects": [
            {
                "object": "plan",
                "type": "Doc",
                "granted": "0x00000003",
                "rights": "READ | WRITE",
            }
        ],
        "hidden": 0,
    } == found


def test_what_can_may_be_asked_about_one_object(stead):
    ran = stead("what-can", "bob", "READ", "--object", "plan", "--object", "x")

    assert [
        "bob has READ to 1 object",
        "  plan (Doc): READ",
        "  not looked at: 1 object",
    ] == ran.lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("effective", "nobody", "plan"), "is called `nobody`"),
        (("effective", "bob", "map"), "no object is called `map`"),
        (("who-can", "map", "READ"), "no object is called `map`"),
        (("who-can", "plan", "FLY"), "`FLY` is no right of `Doc`"),
        (("what-can", "bob", "FLY"), "`FLY` is no right of"),
        (("what-can", "nobody", "READ"), "is called `nobody`"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_clear_line_and_status_1(stead, arguments, said):
    ran = stead(*arguments)

    assert (1, "") == (ran.status, ran.out)
    assert said in ran.err.splitlines()[0]


def test_each_question_is_written_down(stead, events, length):
    began = length()

    stead("effective", "bob", "plan")
    stead("who-can", "plan", "READ")
    stead("what-can", "bob", "READ")

    assert 3 == events(began).count(int(AuditEvent.DECISION_EXPLAINED))


def test_who_may_not_list_accounts_is_refused(stead, store):
    with ProtectedServer("notes", store=store, enforcement=Enforcement.TOKEN) as server:
        me = server.accounts.members("Administrators")[0]
        server.accounts.remove_member("Administrators", me)

    ran = stead("who-can", "plan", "READ")

    assert 1 == ran.status
    assert ran.err.startswith("stead: access is denied")


# --- causes as data -----------------------------------------------------------------


def data(descriptor, token=None, *, desired=1, **sides):
    decision = access_check(
        token or AccessToken(ALICE),
        SecurityDescriptor.from_sddl(descriptor),
        desired,
        FILE_MAPPING,
        **sides,
    )
    return reason_data(explain(decision)[0])


def test_a_missing_privilege_is_named_in_the_data():
    said = data("O:SYG:SYD:", desired=0x0100_0000)

    assert ("DENIED_WITHOUT_PRIVILEGE", Privilege.SECURITY.value) == (
        said["rule"], said["privilege"],
    )  # fmt: skip


def test_restricting_sids_are_named_in_the_data():
    token = AccessToken(ALICE, restricting_sids=(STAFF,))

    said = data(f"O:SYG:SYD:(A;;FR;;;{ALICE})", token)

    assert ("NOT_GRANTED", "RESTRICTING") == (said["rule"], said["whom"])


def test_a_central_rule_is_named_in_the_data():
    empty = SecurityDescriptor.from_sddl("D:").dacl
    policy = CentralAccessPolicy(POLICY, (CentralAccessRule(empty, name="none"),))

    said = data(f"O:SYG:SYD:(A;;FR;;;{ALICE})S:(SP;;;;;{POLICY})", policies=[policy])

    assert ("DENIED_BY_POLICY", str(POLICY), "none") == (
        said["rule"], said["policy"], said["central_rule"],
    )  # fmt: skip


def test_an_entry_that_sddl_has_no_words_for_is_named_by_its_number():
    opaque = OpaqueAce(type_number=0x04, body=bytes(8))
    owner = Sid.from_string("S-1-5-18")
    descriptor = SecurityDescriptor(Acl((opaque,)), owner, owner)
    decision = access_check(AccessToken(ALICE), descriptor, 1, FILE_MAPPING)

    said = reason_data(explain(decision)[0])

    assert ("DENIED_BY_UNKNOWN_ACE", "type 0x04", 1) == (
        said["rule"], said["ace"], said["entry"],
    )  # fmt: skip
