"""Clients that are known as they came, or followed; what they gave, and no more."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

import stead
from stead.errors import LogonFailureError, LogonSessionEndedError
from stead.gates.pipe.peer import PeerEvidence
from stead.model.audit_record import AuditEvent
from stead.model.privilege import Privilege
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

ALICE = PeerEvidence(uid=70001, gid=70001, groups=(), pid=1)
FOLLOWED = QualityOfService(tracking=Tracking.DYNAMIC, effective_only=False)
AS_IT_WAS = QualityOfService(effective_only=False)


@pytest.fixture
def asked(server):
    """Offer an operation that tells what the client is; return what calls it."""
    server.accounts.add_group("writers")
    writers = server.accounts.names.find("writers")

    @server.operation("who")
    def who(client):
        token = client.token
        return [writers in token.enabled_sids, str(token.logon_id)]

    @asynccontextmanager
    async def admitted(quality):
        conversation = await server.reception.admit(ALICE, quality, None)
        yield conversation
        await conversation.close()

    return admitted


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.mark.parametrize("quality", [FOLLOWED, AS_IT_WAS])
def test_what_an_account_gains_reaches_a_client_that_is_followed(
    server, asked, trail, quality
):
    is_followed, live = quality is FOLLOWED, server._house.admission.sessions.records

    async def scenario():
        async with asked(quality) as conversation:
            before = await conversation.call("who", {})
            assert before == await conversation.call("who", {})
            server.accounts.add_member("writers", "alice")
            gained, number = await conversation.call("who", {})
            assert is_followed is gained
            assert is_followed is (number != before[1])
            assert [gained, number] == await conversation.call("who", {})
            assert ["notes", "alice"] == [session.name for session in live()]

    run(scenario)
    assert (2 if is_followed else 1) == len(trail(AuditEvent.LOGON))
    assert len(trail(AuditEvent.LOGON)) == len(trail(AuditEvent.LOGOFF))
    followed = {record.detail.get("tracking") for record in trail(AuditEvent.LOGON)}
    assert {"dynamic" if is_followed else None} == followed


def test_what_is_at_work_goes_on_as_it_began(server, asked):
    begun, go_on = asyncio.Event(), threading.Event()

    async def scenario():
        loop = asyncio.get_running_loop()

        @server.operation("work")
        def work(client):
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(60)
            with client.impersonate():
                return stead.effective_token() == client.token

        async with asked(FOLLOWED) as conversation:
            slow = asyncio.ensure_future(conversation.call("work", {}))
            await begun.wait()
            server.accounts.add_member("writers", "alice")
            assert (await conversation.call("who", {}))[0]
            go_on.set()
            assert await slow

    run(scenario)


def test_who_would_be_admitted_no_more_is_refused(server, asked):
    async def scenario():
        async with asked(FOLLOWED) as conversation:
            await conversation.call("who", {})
            server.accounts.disable("alice")
            with pytest.raises((LogonFailureError, LogonSessionEndedError)):
                await conversation.call("who", {})

    run(scenario)


def test_a_session_that_somebody_ended_is_not_begun_again(server, asked, trail):
    async def scenario():
        async with asked(FOLLOWED) as conversation:
            server.accounts.add_member("writers", "alice")
            for record in server._house.admission.sessions.records():
                if record.name == "alice":
                    server._house.admission.sessions.end(record.logon_id)
            with pytest.raises(LogonSessionEndedError):
                await conversation.call("who", {})

    run(scenario)
    assert 1 == len(trail(AuditEvent.LOGON))


def test_what_a_client_gave_as_it_is_cannot_be_enabled(server):
    found = []

    @server.operation("enable")
    def enable(client):
        with client.impersonate():
            try:
                stead.enable_privileges(Privilege.CHANGE_NOTIFY)
            except stead.PrivilegeNotHeldError as error:
                found.append(error.advice)

    async def scenario():
        for is_only in (True, False):
            quality = QualityOfService(effective_only=is_only)
            conversation = await server.reception.admit(ALICE, quality, None)
            assert is_only is conversation.quality.effective_only
            await conversation.call("enable", {})
            await conversation.close()

    run(scenario)
    assert ["the client gave the server what is enabled, and nothing else"] == found


def test_a_server_that_may_not_impersonate_grants_less_than_is_stated(open_server):
    server = open_server(privileges=(Privilege.TCB,))

    async def scenario():
        conversation = await server.reception.admit(ALICE, AS_IT_WAS, None)
        level = conversation.quality.level
        await conversation.close()
        return level

    assert ImpersonationLevel.IDENTIFICATION is asyncio.run(scenario())
