from __future__ import annotations

import pytest

from stead.errors import (
    AccessDeniedError,
    HandleClosedError,
    LogonSessionEndedError,
)
from stead.model.access_mask import AccessMask
from stead.model.explicit_access import allow
from stead.monitor.securable_object import ObjectKind


@pytest.fixture
def handle(server, alice, plan, rights):
    return server.open_object(alice, plan, rights.READ)


def test_a_handle_grants_what_it_was_opened_with_and_nothing_more(handle, rights):
    handle.require(rights.READ)
    with pytest.raises(AccessDeniedError, match="access is denied") as refused:
        handle.require(rights.WRITE)
    assert "opened with READ" in refused.value.advice


def test_a_handle_remembers_what_was_granted_when_the_list_changes(
    server, bob, handle, plan, rights
):
    server.set_entries(bob, plan, [allow("bob", rights.READ)])
    handle.require(rights.READ)


def test_a_handle_is_not_asked_for_nothing_or_for_the_maximum(handle):
    for rights in (0, AccessMask.MAXIMUM_ALLOWED):
        with pytest.raises(AccessDeniedError):
            handle.require(rights)


def test_a_closed_handle_grants_nothing(handle, rights):
    handle.close()
    handle.close()
    assert handle.is_closed
    with pytest.raises(HandleClosedError):
        handle.require(rights.READ)


def test_a_handle_ends_with_its_session(handle, alice, rights):
    alice.close()
    with pytest.raises(LogonSessionEndedError):
        handle.require(rights.READ)


def test_objects_and_handles_show_what_they_are(handle, plan):
    assert "SecurableObject('plan', Doc)" == repr(plan)
    assert "Handle('plan', READ)" == repr(handle)
    handle.close()
    assert "Handle('plan', closed)" == repr(handle)


def test_a_kind_takes_names_and_mapping_of_its_rights(rights):
    kind = ObjectKind.of(rights)
    assert ("Doc", {"READ": 1, "WRITE": 2}) == (kind.name, kind.rights)
    assert "READ | WRITE" == kind.spell(3)
    assert 3 == kind.mapping.map(int(AccessMask.GENERIC_ALL)) & 3
