"""A server without root whose clients are who their Kerberos tickets say."""

import asyncio
import os
import time

import pytest
from tests.end_to_end.test_without_root import enter
from tests.lives import long_enough
from tests.privileged.broker_stage import ALICE, BOB, NOTES, SECONDS, Stage, begin
from tests.privileged.ticket_stage import (
    BROKER,
    KerberosTicket,
    cache_of,
    prepare,
    realm,
)

from stead.errors import LogonFailureError, SteadError
from stead.gates.pipe.async_client import AsyncPipeClient
from stead.gates.pipe.client import PipeClient
from stead.gates.pipe.server import PipeGate
from stead.model.audit_record import AuditEvent
from stead.model.token import ImpersonationLevel
from stead.privileged.late_imports import preload
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer

pytestmark = [pytest.mark.root, pytest.mark.slow]
__all__ = ["begin", "realm"]  # fixtures


@pytest.fixture
def stage(world, realm):
    preload()
    with ProtectedServer("rehearsal", enforcement=Enforcement.TOKEN):
        made = Stage(world.folder)
    os.chown(world.store.parent, NOTES, NOTES)
    yield prepare(made, realm, keytab=realm.keytab)
    if made.process.poll() is None:
        assert made.stop() == 0, made.said()


@pytest.fixture
def server(stage, world, begin):
    mounts = os.open(f"/proc/{stage.process.pid}/ns/mnt", os.O_RDONLY)
    child = begin(
        NOTES, lambda talk: serve(stage, world, talk), before=lambda: enter(mounts)
    )
    os.close(mounts)
    assert "ready" == child.hear()
    return child


def serve(stage, world, talk):
    server = ProtectedServer("notes", store=world.store, broker=stage.socket)

    @server.operation("who", level=ImpersonationLevel.IDENTIFICATION)
    def who(client):
        try:
            return [client.name, *client.run(os.getresuid)]
        except SteadError as error:
            return [client.name, type(error).__name__]

    @server.operation("name", level=ImpersonationLevel.IDENTIFICATION)
    def name(client):
        return client.name

    entrance = server.entrance(stage.ticket_gate)
    gate = PipeGate(stage.ticket_gate, name="notes", entrance=entrance)
    with server:
        asyncio.run(server.serve(gate, ready=lambda: talk.say("ready")))


def asks(stage, realm, cache, *, is_async=False, **options):
    options |= {"server_uid": 0, "timeout": SECONDS, "ticket": KerberosTicket(BROKER)}

    async def asks_slowly():
        async with await AsyncPipeClient.connect(stage.ticket_gate, **options) as link:
            return await link.call("who")

    def act(_talk):
        os.environ.update(realm.environment(cache))
        try:
            if is_async:
                return asyncio.run(asks_slowly())
            with PipeClient.connect(stage.ticket_gate, **options) as link:
                return link.call("who")
        except SteadError as error:
            return type(error).__name__

    return act


@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_done_for_a_client_is_done_as_its_account(
    stage, server, realm, begin, world, is_async
):
    """Bob's processes have alice's ticket, and then his own."""
    for name, uid in (("alice", ALICE), ("bob", BOB)):
        cache = cache_of(realm, name, BOB)
        said = begin(BOB, asks(stage, realm, cache, is_async=is_async)).hear()
        assert [uid] * 3 == said[1:]
    server.end()
    for place in (world.store.parent, *world.store.parent.iterdir()):
        os.chown(place, 0, 0)
    logons = [record for _, record in world.trail() if record.event is AuditEvent.LOGON]
    for record in logons:
        assert "kerberos" == record.detail["package"]
        assert "kerberos" == record.detail["authenticated by"]
    assert f"alice@{realm.name}, uid {ALICE}" in logons[0].peer


def test_a_client_that_allows_identification_is_known_and_no_more(
    stage, server, realm, begin
):
    cache = cache_of(realm, "alice", ALICE)
    level = ImpersonationLevel.IDENTIFICATION
    said = begin(ALICE, asks(stage, realm, cache, level=level)).hear()
    assert "BadImpersonationLevelError" == said[1]


def test_whoever_has_no_ticket_is_no_client(stage, server, realm, begin):
    for cache in ("MEMORY:none", cache_of(realm, "alice", 0)):  # hers is not readable
        assert "LogonFailureError" == begin(ALICE, asks(stage, realm, cache)).hear()


def test_a_session_ends_with_its_ticket_though_the_client_stays_connected(
    stage, server, realm, begin
):
    """The library counts the difference that clocks may have to a ticket's time."""
    text = realm.configuration.read_text()
    realm.configuration.write_text(
        text.replace("[libdefaults]\n", "[libdefaults]\n clockskew = 1\n")
    )

    def begun(seconds):
        """Be a client whose ticket lives so long, as often as it is told to."""
        cache = cache_of(realm, "alice", ALICE, options=f"-l {int(seconds)}s")

        def act(talk):
            os.environ.update(realm.environment(cache))
            ticket = KerberosTicket(BROKER, cache=cache)
            options = {"server_uid": 0, "timeout": SECONDS, "ticket": ticket}
            try:
                with PipeClient.connect(stage.ticket_gate, **options) as link:
                    while True:
                        talk.say(link.call("name"))
                        talk.hear()
            except SteadError as error:
                talk.say(getattr(error, "remote_status", error.status))

        client = begin(ALICE, act)
        if not isinstance(name := client.hear(), str):
            raise LogonFailureError
        return client, name

    lasting, name = begun(600)
    brief, said = long_enough(begun, seconds=4.0, late=LogonFailureError)
    assert name == said
    while said == name:
        time.sleep(0.2)
        brief.tell("once more")
        said = brief.hear()
    assert 1312 == said  # ERROR_NO_SUCH_LOGON_SESSION
    lasting.tell("once more")
    assert name == lasting.hear()
