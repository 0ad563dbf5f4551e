"""Names that a server looks up, also from where nothing may be opened."""

from __future__ import annotations

import pwd

import pytest

from stead.adapters.host import host_identity
from stead.errors import AccessDeniedError, UnknownAccountError
from stead.model import well_known
from stead.model.access_mask import Rights
from stead.model.explicit_access import allow
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.privileged.name_service import open_host_names

DAEMON = pwd.getpwuid(1).pw_name


class Doc(Rights):
    READ = 0x1


def test_a_server_knows_names_both_ways(server):
    alice = server.lookup("alice")
    assert alice == server.lookup(alice.sid) == server.lookup(str(alice.sid))
    found = server.lookup(f"Unix User\\{DAEMON}")
    assert (well_known.unix_user(1), "host") == (found.sid, found.source)
    assert found.sid == server.lookup("uid 1").sid
    with pytest.raises(UnknownAccountError):
        server.lookup("CORP\\carl")


def test_a_user_of_the_host_is_granted_something_by_name(server):
    entries = [allow(f"Unix User\\{DAEMON}", Doc.READ)]
    plan = server.protect("plan", Doc, entries, owner="alice")
    trustees = [ace.trustee for ace in plan.descriptor.dacl]
    assert well_known.unix_user(1) in trustees


def test_a_new_name_is_seen_at_once(server):
    sid = server.lookup("alice").sid
    assert "alice" == server.name_of(sid)
    server.accounts.rename("alice", "alison")
    assert "alison" == server.name_of(sid) == str(server.lookup(sid))
    server.accounts.rename_group("readers", "authors")
    assert "authors" == server.name_of(server.lookup("authors").sid)


@pytest.mark.parametrize("kind", ["handler", "client"])
def test_the_host_is_asked_where_nothing_may_be_opened(server, kind):
    """A library that is looked for only then is refused there, like any file."""
    guard = server._house.guard
    with server.client_for("alice", authenticated_by="test") as client:
        block = (
            Block(FrameKind.HANDLER, None, guard)
            if kind == "handler"
            else client.impersonate()
        )
        with block:
            with pytest.raises(AccessDeniedError, match="refused"):
                open_host_names()
            assert 1 == host_identity(1).uid
            assert well_known.unix_user(1) == server.lookup("uid 1").sid
