"""`stead name`: who a name, a SID, a uid or a gid is."""

from __future__ import annotations

import pwd


def test_names_are_told_with_who_says_so_and_for_how_long(stead, store):
    daemon = pwd.getpwuid(1).pw_name
    assert 0 == stead("account", "add", "demon", "--uid", "1", "--store", store).status
    ran = stead("name", "alice", "uid 1", "Everyone", "--store", store)
    alice, uid, everyone = ran.lines
    assert alice.startswith("alice  S-1-5-21-")
    assert "user, uid 70101 (by store, for 1 s)" in alice
    assert uid.startswith(f"Unix User\\{daemon}  S-1-22-1-1  user, uid 1, account S-1-")
    assert "(by host, for 60 s)" in uid
    assert "(by well-known, for ever)" in everyone


def test_names_are_told_to_programs(stead, store):
    (row,) = stead("name", "staff", "--store", store, "--json").json
    assert ("staff", "group", None, "store", 1.0) == (
        row["name"], row["kind"], row["unix_id"], row["source"], row["seconds"],
    )  # fmt: skip


def test_nobody_is_a_refusal(stead, store):
    ran = stead("name", "CORP\\carl", "--store", store)
    assert 1 == ran.status
    assert "nobody is known as `CORP\\carl`" in ran.err
