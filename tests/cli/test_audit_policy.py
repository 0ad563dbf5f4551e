"""`stead audit policy`, `global-sacl` and `sacl`: what is recorded, from a terminal."""

from __future__ import annotations

import pytest
from typer.main import get_command

from stead.cli.main import app


@pytest.fixture
def auditor(stead):
    """Whoever runs this may change SACLs."""
    stead("privilege", "grant", "Administrators", "SeSecurityPrivilege")


def setting(stead, name):
    rows = stead("audit", "policy", "show", "--json").json["subcategories"]
    return next(row["recorded"] for row in rows if row["subcategory"] == name)


def test_a_setting_is_shown_changed_and_recorded(stead):
    assert "success and failure" == setting(stead, "Handle Manipulation")
    args = ("audit", "policy", "set", "handle manipulation", "--no-success")
    assert stead(*args, "--dry-run").out.startswith("would: Handle Manipulation")
    assert "success and failure" == setting(stead, "Handle Manipulation")
    assert "Handle Manipulation: failure of everybody\n" == stead(*args).out
    assert "failure" == setting(stead, "Handle Manipulation")
    shown = stead("audit", "policy", "show").lines
    assert "Object Access" in shown
    assert shown[-1].endswith("cannot be written: nothing")
    (line,) = stead("audit", "list", "--event", "audit_policy_changed").lines
    assert 'new="failure"' in line or "new=failure" in line


def test_what_the_law_demands_is_not_switched_off(stead):
    ran = stead("audit", "policy", "set", "logon", "--no-success")
    assert "always recorded" in ran.err
    ran = stead("audit", "policy", "set", "nonsense", "--success")
    assert "is no subcategory" in ran.err
    assert 1 == stead("audit", "policy", "may-lose", "logon").status


def test_an_account_is_included_or_excluded(stead):
    args = ("audit", "policy", "set", "HANDLE_MANIPULATION", "--account", "alice")
    stead(*args, "--no-success")
    shown = stead("audit", "policy", "show").out
    assert "alice: Handle Manipulation: include nothing, exclude success" in shown
    stead(*args)
    assert "alice" not in stead("audit", "policy", "show").out


def test_events_may_be_lost_where_somebody_says_so(stead):
    stead("audit", "policy", "may-lose", "handle_closed", "4663")
    found = stead("audit", "policy", "show", "--json").json["may be lost"]
    assert ["handle_closed", "object_access"] == found
    assert "nothing" in stead("audit", "policy", "may-lose").out


def test_sacls_of_an_object_and_of_a_kind_are_set(stead, auditor):
    sacl = "S:(AU;SAFA;CC;;;WD)"
    assert (
        "1 audit entries for plan\n" == stead("audit", "sacl", "set", "plan", sacl).out
    )
    assert "Doc  none\n" == stead("audit", "global-sacl", "show", "plan").out
    stead("audit", "global-sacl", "set", "plan", sacl)
    assert sacl in stead("audit", "global-sacl", "show", "plan").out
    assert f"every Doc: {sacl}" in stead("audit", "policy", "show").out
    stead("audit", "global-sacl", "set", "plan", "")
    assert "none" in stead("audit", "global-sacl", "show", "plan").out
    ran = stead("audit", "sacl", "set", "plan", "D:(A;;CC;;;WD)")
    assert "only a SACL" in ran.err


def test_what_would_be_set_is_said_to_whoever_may_and_nothing_is_set(stead, auditor):
    for verb in ("sacl", "global-sacl"):
        args = ("audit", verb, "set", "plan", "S:(AU;SAFA;CC;;;WD)", "--dry-run")
        assert stead(*args).out.startswith("would: 1 audit entries for ")
    assert "Doc  none\n" == stead("audit", "global-sacl", "show", "plan").out
    assert [] == stead("audit", "list", "--event", "object_sacl_changed").lines
    stead("privilege", "revoke", "Administrators", "SeSecurityPrivilege")
    assert [1, 1] == [
        stead("audit", verb, "set", "plan", "", "--dry-run").status
        for verb in ("sacl", "global-sacl")
    ]


MADE_ELSEWHERE = {"dde poke", "dde execute"}  # by another server, as it likes
OWN = {"account change-password"}  # with the old one
BUILT_ANEW = {"audit reindex", "witness key"}  # which change nothing that counts


def test_administrators_can_try_every_change_first():
    changing = {"set", "add", "delete", "end", "archive", "key", "reindex", "poke"}
    changing |= {"grant", "revoke", "rename", "map", "alias", "password", "execute"}
    changing |= {"disable", "enable", "unlock", "expires", "hours", "may-lose"}
    without = [
        " ".join(path)
        for path, verb in verbs(get_command(app))
        if (path[-1] in changing or "-" in path[-1]) and "dry_run" not in verb
    ]
    asking = {"who-can", "what-can", "audit who-touched", "audit would-refuse"}
    asking |= {"audit check-proof", "audit check-archive"}
    assert MADE_ELSEWHERE | OWN | BUILT_ANEW | asking == set(without)


def verbs(command, path=()):
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from verbs(inner, (*path, name))
    else:
        yield path, {parameter.name for parameter in command.params}
