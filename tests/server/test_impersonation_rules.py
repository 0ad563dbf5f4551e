"""A server whose administrator says who may be acted as: the file, and every door."""

from __future__ import annotations

import os

import pytest

import stead
from stead.errors import ImpersonationRefusedError, InvalidRequestError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.impersonation_policy import Act
from stead.model.sid import Sid
from stead.server.impersonation_rules import parse_policy, read_policy

RULES = """
[[rule]]
name = "nobody acts as bob"
forbid = "everything"
clients = ["bob"]

[[rule]]
name = "threads for the web"
allow = ["impersonate"]
gates = ["http"]
"""


def nobody(name):
    raise InvalidRequestError(f"nobody is called `{name}`")


def write(folder, text, mode=0o644):
    path = folder / "rules.toml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


@pytest.fixture
def ruled(open_server, tmp_path):
    """Return a server with these rules, and two accounts in its store."""
    store = tmp_path / "notes.db"
    with open_server(store=store) as first:
        first.accounts.add("alice", uid=70001)
        first.accounts.add("bob", uid=70002)
    return open_server(store=store, impersonation=write(tmp_path, RULES))


def client_of(server, name, gate):
    return server.client_for(name, authenticated_by="test", gate=gate)


def test_who_may_be_acted_as_is(ruled):
    with client_of(ruled, "alice", "http").impersonate():
        assert True


@pytest.mark.parametrize(
    ("name", "gate", "said"),
    [
        ("bob", "http", "rule `nobody acts as bob` forbids this server to impersonate"),
        ("alice", "pipe", "no rule allows this server to impersonate as `alice`"),
    ],
)
def test_a_refusal_names_the_rule_and_is_recorded(ruled, name, gate, said):
    client = client_of(ruled, name, gate)
    with pytest.raises(ImpersonationRefusedError) as refused, client.impersonate():
        pytest.fail("the block ran")
    assert said in str(refused.value)
    assert refused.value.public == "access is denied"
    [record] = [
        record
        for _, record in ruled.trail.find(Query(event=AuditEvent.IMPERSONATION_REFUSED))
    ]
    assert any(said in reason for reason in record.reasons)
    assert refused.value.record is not None


def test_a_bare_token_does_not_slip_past_a_rule_about_how_it_came(open_server):
    rules = """
    otherwise = "allow"
    [[rule]]
    name = "nobody from the pipe"
    forbid = "everything"
    gates = ["pipe"]
    [[rule]]
    name = "nobody on the kernel's word"
    forbid = "everything"
    authenticated_by = ["kernel"]
    """
    server = open_server(impersonation=parse_policy(rules, nobody))
    server.accounts.add("alice")
    client = client_of(server, "alice", "pipe")
    for block in (client.impersonate(), stead.impersonate(client.token)):
        with pytest.raises(ImpersonationRefusedError, match="nobody from the pipe"):
            block.__enter__()
    with client_of(server, "alice", "http").impersonate():
        assert "alice" == client.name


def test_rules_are_asked_at_every_door(ruled):
    alice, who_may = client_of(ruled, "alice", "http"), ruled._house.guard.who_may
    for act in Act:
        if act is Act.IMPERSONATE:
            who_may.require_ready(alice.subject, act)
        else:
            with pytest.raises(ImpersonationRefusedError, match=f"to {act.value} as"):
                who_may.require_ready(alice.subject, act)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule", "no TOML"),
        ("rules = 1", "something else"),
        ("rule = 1", "something else"),
        ("otherwise = true", '`otherwise` is "allow" or "forbid"'),
        ('otherwise = "deny"', '`otherwise` is "allow" or "forbid"'),
        ("rule = [1]", "rule 1 has no name"),
        ("[[rule]]\nallow = 'everything'", "rule 1 has no name"),
        ("[[rule]]\nname = 1", "rule 1 has no name"),
        ("[[rule]]\nname = 'a'", "either `allow` or `forbid`"),
        ("[[rule]]\nname = 'a'\nallow = ['run']\nforbid = ['run']", "either"),
        ("[[rule]]\nname = 'a'\nallow = ['walk']", "`walk` is no act"),
        ("[[rule]]\nname = 'a'\nallow = 'run'", "is a list of words"),
        ("[[rule]]\nname = 'a'\nallow = []", "is a list of words"),
        ("[[rule]]\nname = 'a'\nallow = 'everything'\ngates = 'http'", "list of words"),
        ("[[rule]]\nname = 'a'\nallow = 'everything'\ngates = ['']", "list of words"),
        ("[[rule]]\nname = 'a'\nallow = 'everything'\nusers = ['x']", "says `users`"),
        (
            "[[rule]]\nname = 'a'\nallow = 'everything'\nclients = ['eve']",
            "rule `a`: nobody is called `eve`",
        ),
        (2 * "[[rule]]\nname = 'a'\nallow = 'everything'\n", "2 rules are called `a`"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_and_named(text, said):
    with pytest.raises(InvalidRequestError, match=said):
        parse_policy(text, nobody)


def test_a_file_may_say_what_is_so_otherwise():
    assert parse_policy('otherwise = "allow"', nobody).otherwise_allows
    assert not parse_policy("", nobody).otherwise_allows


def test_names_are_resolved():
    sid = Sid.from_string("S-1-5-21-1-2-3-1001")
    policy = parse_policy(RULES, {"bob": sid}.__getitem__)
    assert frozenset({sid}) == policy.rules[0].clients
    assert policy.rules[0].acts is None
    assert frozenset({Act.IMPERSONATE}) == policy.rules[1].acts


def test_a_file_in_a_folder_that_others_may_write_is_refused(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(InvalidRequestError, match="others may write in the folder"):
        read_policy(write(folder, RULES), nobody)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InvalidRequestError, match="others may write in the folder"):
        read_policy(tmp_path / "link" / "rules.toml", nobody)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_refused(tmp_path, mode):
    with pytest.raises(InvalidRequestError, match="somebody else may write it"):
        read_policy(write(tmp_path, RULES, mode), nobody)


@pytest.mark.root
def test_a_file_of_somebody_else_is_refused(tmp_path):
    path = write(tmp_path, "")
    os.chown(path, 70001, 70001)
    with pytest.raises(InvalidRequestError, match="somebody else may write it"):
        read_policy(path, nobody)


def test_a_file_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path, said in (
        (tmp_path / "missing", "cannot be read: No such file"),
        (tmp_path / "fifo", "no regular file"),
        (tmp_path, "no regular file"),
        (write(tmp_path, "#" * ((1 << 20) + 1)), "longer than"),
    ):
        with pytest.raises(InvalidRequestError, match=said):
            read_policy(path, nobody)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    binary.chmod(0o600)
    with pytest.raises(InvalidRequestError, match="no text"):
        read_policy(binary, nobody)
