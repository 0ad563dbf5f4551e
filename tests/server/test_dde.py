"""The desk: who may register, connect, request, poke and execute what."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

import pytest
from tests.server.dde_stage import ALICE, BOB, SEE, STRANGER, Stage, set_entries

from stead.decision.token_ops import adjust_groups, adjust_privileges, duplicate_token
from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    DdeBusyError,
    DdeNotProcessedError,
    InvalidNameError,
    InvalidRequestError,
    LogonFailureError,
    LogonSessionEndedError,
    NoConversationError,
    NoThreadTokenError,
    OperationFailedError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.gates.dde.ports import DdeData
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.ports import public_refusal
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.explicit_access import allow, deny
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import GroupAttributes, ImpersonationLevel, TokenGroup
from stead.model.well_known import ADMINISTRATORS, SYSTEM_LEVEL
from stead.monitor import effective
from stead.server.dde import DdeDesk, DdeRights, dde_impersonate_client
from stead.server.dde.objects import OwnDescriptors
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


@pytest.fixture
def stage(server):
    return Stage(server)


def refused(awaitable, kind=SteadError):
    """Return the error that an awaitable ends with."""
    with pytest.raises(kind) as caught:
        asyncio.run(awaitable)
    return caught.value


# --- connecting -----------------------------------------------------------------------


def test_a_client_that_may_gets_the_value(stage):
    assert "12" == asyncio.run(stage.request("Acme"))


@pytest.mark.parametrize("name", ["acme", "ACME", "Acme", "\uff21cme"])
def test_names_compare_without_case_or_compatibility_forms(stage, name):
    value = stage.request(name, service="PRICES", topic="sTOCKS")
    assert "12" == asyncio.run(value)


def test_unknown_and_refused_conversations_are_told_alike_and_recorded_truly(
    stage, record_of
):
    stage.prices.topic("secret", {}, entries=[allow("bob", SEE)])
    attempts = {
        "no such service": stage.connect(service="nothing"),
        "no service's name": stage.connect(service="a/b"),
        "no such topic": stage.connect(topic="nothing"),
        "no topic's name": stage.connect(topic="sto/cks"),
        "a closed topic": stage.connect(topic="secret"),
    }
    errors = {why: refused(attempt) for why, attempt in attempts.items()}
    heard = {
        (told.status, told.message)
        for told in (public_refusal(error) for error in errors.values())
    }
    assert {(0x400A, "no conversation was established")} == heard
    assert {NoConversationError} == {type(error) for error in errors.values()}
    reasons = {why: record_of(error.record).reasons[0] for why, error in errors.items()}
    assert "no object has this name" == reasons["no such service"]
    assert "no object has this name" == reasons["no such topic"]
    assert "no object has this name" != reasons["a closed topic"]


def test_a_closed_service_and_one_that_is_not_there_take_as_many_records(stage, trail):
    stage.desk.register("vault", entries=[allow("bob", DdeRights.CONNECT)])
    counts = []
    for service in ("vault", "nothing"):
        before = len(trail(AuditEvent.OBJECT_ACCESS))
        refused(stage.connect(service=service), NoConversationError)
        counts.append(len(trail(AuditEvent.OBJECT_ACCESS)) - before)
    assert counts[0] == counts[1]


def test_who_is_not_admitted_hears_of_no_service(stage):
    stage.server.accounts.disable("alice")
    assert isinstance(refused(stage.connect()), LogonFailureError)


def test_an_anonymous_client_gets_no_conversation(stage):
    attempt = stage.connect(level=ImpersonationLevel.ANONYMOUS)
    assert isinstance(refused(attempt), NoConversationError)


def test_a_refused_connection_leaves_no_session(stage):
    before = len(stage.server._house.admission.sessions.records())
    refused(stage.connect(STRANGER), NoConversationError)
    assert before == len(stage.server._house.admission.sessions.records())


def test_each_conversation_is_a_session_of_its_own_and_recorded(stage, trail):
    async def act():
        first, second = await stage.connect(), await stage.connect()
        logons = {s._conversation.client.token.logon_id for s in (first, second)}
        await first.request("Acme")
        await first.close()
        await second.close()
        return logons

    assert 2 == len(asyncio.run(act()))
    started = trail(AuditEvent.CONVERSATION_STARTED)
    ended = trail(AuditEvent.CONVERSATION_ENDED)
    assert [r.correlation for r in started] == [r.correlation for r in ended]
    assert {"dde"} == {r.gate for r in started}
    assert "Stocks" == started[0].detail["topic"]
    assert "impersonation" == started[0].detail["level"]
    offs = {r.correlation for r in trail(AuditEvent.LOGOFF)}
    assert {r.correlation for r in ended} <= offs
    [asked] = [
        r
        for r in trail(AuditEvent.OBJECT_ACCESS)
        if (r.object_type, r.desired) == ("DdeRights", int(DdeRights.REQUEST))
    ]
    assert started[0].correlation[:36] == asked.correlation[:36]
    assert started[0].correlation != asked.correlation


def test_who_leaves_while_it_connects_leaves_no_session(stage, trail):
    async def act():
        # Every handler is kept busy, so that the client leaves before it is admitted.
        release, handlers = asyncio.Event(), stage.server.reception.handlers
        loop = asyncio.get_running_loop()

        def busy():
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        held = [loop.run_in_executor(handlers, busy) for _ in range(16)]
        connecting = asyncio.ensure_future(stage.connect())
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        release.set()
        await asyncio.gather(*held)
        async with asyncio.timeout(60):
            while not trail(AuditEvent.CONVERSATION_ENDED):  # noqa: ASYNC110 - a record
                await asyncio.sleep(0.001)

    asyncio.run(act())
    assert 1 == len(trail(AuditEvent.CONVERSATION_STARTED))


# --- quality of service ---------------------------------------------------------------


def test_dynamic_tracking_falls_back_to_static_and_says_so(stage):
    async def act():
        side = await stage.connect(tracking=Tracking.DYNAMIC)
        await side.close()
        return side.qos

    assert QualityOfService(tracking=Tracking.STATIC) == asyncio.run(act())


def test_a_conversation_is_at_the_level_that_its_client_had_set(stage):
    async def act():
        sides = [
            await stage.connect(level=ImpersonationLevel.IDENTIFICATION),
            await stage.connect(),
        ]
        for side in sides:
            await side.close()
        return [side.qos.level for side in sides]

    levels = [ImpersonationLevel.IDENTIFICATION, ImpersonationLevel.IMPERSONATION]
    assert levels == asyncio.run(act())


def test_nothing_that_is_disabled_can_be_enabled_in_a_conversation(stage):
    stage.server.accounts.grant("alice", Privilege.BACKUP)

    async def act():
        side = await stage.connect()
        token = side._conversation.client.token
        await side.close()
        return token

    token = asyncio.run(act())
    assert all(entry.is_enabled for entry in token.privileges)
    assert all(group.attributes & GroupAttributes.ENABLED for group in token.groups)
    with pytest.raises(PrivilegeNotHeldError):
        adjust_privileges(token, {Privilege.TCB: True})
    less = adjust_privileges(token, {Privilege.BACKUP: PrivilegeAttributes.REMOVED})
    assert not less.has_privilege(Privilege.BACKUP)
    everything = {group.sid: True for group in token.groups}
    assert token == adjust_groups(token, everything)


def test_a_session_refuses_a_token_with_more_than_it_began_with(stage):
    async def act():
        side = await stage.connect()
        token = side._conversation.client.token
        live = stage.server._house.guard.liveness
        live.require_live(token)
        lower = duplicate_token(token, level=ImpersonationLevel.IDENTIFICATION)
        live.require_live(lower)
        privileges = (*token.privileges, TokenPrivilege(Privilege.TCB))
        for more in (
            replace(token, groups=(*token.groups, TokenGroup(ADMINISTRATORS))),
            replace(token, privileges=privileges),
            replace(token, integrity=SYSTEM_LEVEL),
        ):
            with pytest.raises(LogonSessionEndedError):
                live.require_live(more)
        await side.close()

    asyncio.run(act())


# --- items ----------------------------------------------------------------------------


def test_an_item_with_a_descriptor_of_its_own_is_judged_by_that(stage):
    stage.stocks.protect_item("margin", [allow("bob", DdeRights.REQUEST)])
    stage.server.accounts.add_member("readers", "bob")
    assert "3" == asyncio.run(stage.request("Margin", BOB))
    error = refused(stage.request("margin", ALICE))
    assert isinstance(error, AccessDeniedError)
    assert "dde/prices/stocks/margin" == error.object_name


def test_unknown_and_refused_items_are_told_alike_with_one_record_each(stage, trail):
    def judged():
        records = trail(AuditEvent.OBJECT_ACCESS)
        return [r for r in records if r.client and r.client.name == "alice"]

    stage.stocks.protect_item("margin", [allow("bob", DdeRights.REQUEST)])
    heard, counts, reasons = set(), set(), []
    for item in ("margin", "nothing", "no/thing", ""):
        before = len(judged())
        told = public_refusal(refused(stage.request(item)))
        heard.add((told.status, told.message))
        records = judged()
        counts.add(len(records) - before)
        reasons.append(records[-1].reasons[0])
    assert {(5, "access is denied")} == heard
    assert {3} == counts  # the service, the topic, the item
    assert "no object has this name" != reasons[0]
    assert ["no object has this name"] * 3 == reasons[1:]


def test_an_items_descriptor_outlives_the_program_that_gave_it(world, open_server):
    (world / "store").mkdir(mode=0o700)

    def opened():
        store = world / "store" / "notes.db"
        server = ProtectedServer("notes", store=store, enforcement=Enforcement.TOKEN)
        server.accounts.add("alice", uid=ALICE, exist_ok=True)
        server.accounts.add_group("readers", exist_ok=True)
        return server

    with opened() as server:
        stage = Stage(server)
        assert "3" == asyncio.run(stage.request("margin"))
        stage.stocks.protect_item("margin", [deny("alice", DdeRights.REQUEST)])
    with opened() as server:
        # This program gives none; a naive desk would judge by the topic alone.
        stage = Stage(server)
        refused(stage.request("margin"), AccessDeniedError)
        assert "12" == asyncio.run(stage.request("acme"))


def test_a_descriptor_that_another_process_gives_counts_when_a_lease_is_over(stage):
    clock = [0]
    found = OwnDescriptors(stage.server.find_object, monotonic=lambda: clock[0])
    name = "dde/prices/stocks/acme"
    assert found.of(name) is None
    stage.stocks.protect_item("acme", [allow("bob", SEE)])
    assert found.of(name) is None
    clock[0] = 10**9
    assert found.of(name) is not None


def test_an_object_with_other_rights_guards_nothing_of_dde(stage, rights):
    stage.server.protect("dde/prices/stocks/acme", rights, [allow("alice", 2)])
    refused(stage.request("acme"), InvalidRequestError)
    stage.server.protect("dde/other", rights, [])
    with pytest.raises(SteadError):
        stage.desk.register("other")


def test_names_that_clients_make_up_are_not_kept_for_ever(stage):
    found = OwnDescriptors(stage.server.find_object, monotonic=lambda: 0)
    for number in range(5000):
        assert found.of(f"dde/prices/stocks/{number}") is None
    assert len(found._absent) <= 4096


def test_the_list_of_items_shows_what_may_be_requested(stage):
    stage.stocks.protect_item("margin", [allow("bob", DdeRights.REQUEST)])
    assert "Acme" == asyncio.run(stage.request("TopicItemList"))


def test_a_list_too_long_for_an_item_is_not_processed(stage):
    many = {f"{number:096}": "" for number in range(2000)}
    stage.prices.topic("many", many, entries=[allow("alice", SEE)])
    error = refused(stage.request("TopicItemList", topic="many"))
    assert isinstance(error, DdeNotProcessedError)


@pytest.mark.parametrize("value", [b"\0\xff", {"bid": [1, 2.5, None]}, "", 12])
def test_items_hold_text_bytes_and_plain_json(stage, value):
    stage.stocks.publish("acme", value)
    assert value == asyncio.run(stage.request("acme"))


@pytest.mark.parametrize("value", [object(), float("nan"), {1: 2}, "x" * 200_000])
def test_what_no_item_can_hold_is_not_published(stage, value):
    with pytest.raises(InvalidRequestError):
        stage.stocks.publish("acme", value)
    assert "12" == asyncio.run(stage.request("acme"))


def test_a_mapping_that_holds_no_plain_data_fails_its_request_alone(stage):
    stage.prices.topic("odd", {"odd": object()}, entries=[allow("alice", SEE)])
    error = refused(stage.request("odd", topic="odd"))
    assert isinstance(error, OperationFailedError)
    assert "12" == asyncio.run(stage.request("acme"))


def test_a_mapping_is_read_when_it_is_asked(stage):
    shown = {"one": "1"}
    view = MappingProxyType(shown)
    stage.prices.topic("view", view, entries=[allow("alice", SEE)])
    shown["two"] = "2"
    assert "2" == asyncio.run(stage.request("two", topic="view"))
    del shown["one"]
    refused(stage.request("one", topic="view"), AccessDeniedError)


def test_an_item_that_goes_while_it_is_asked_for_is_not_processed(stage):
    class Going(dict):
        def __getitem__(self, item):
            raise KeyError(item)

    stage.prices.topic("going", Going(a=""), entries=[allow("alice", SEE)])
    error = refused(stage.request("a", topic="going"))
    assert isinstance(error, DdeNotProcessedError)


def test_the_list_of_items_is_nobodys_to_publish(stage):
    with pytest.raises(InvalidNameError):
        stage.stocks.publish("topicitemlist", "all")


def test_keys_that_are_no_items_are_never_shown(stage):
    odd = {"a/b": "1", 7: "2", "TopicItemList": "3", " pad": "4", "ok": "5"}
    stage.prices.topic("odd", odd, entries=[allow("alice", SEE)])
    assert "ok" == asyncio.run(stage.request("TopicItemList", topic="odd"))


def test_the_code_of_a_mapping_is_nobody_while_it_is_asked_for_a_client(stage):
    class Asked(dict):
        def __getitem__(self, item):
            return str(effective.effective_token().user)

    stage.prices.topic("who", Asked(me=""), entries=[allow("alice", SEE)])
    assert isinstance(refused(stage.request("me", topic="who")), NoThreadTokenError)


# --- pokes and commands ---------------------------------------------------------------


async def poke(stage, item, value, uid=ALICE, **about):
    side = await stage.connect(uid, **about)
    try:
        await side.poke(item, DdeData.of(value))
    finally:
        await side.close()


async def execute(stage, command, uid=ALICE, **about):
    side = await stage.connect(uid, **about)
    try:
        await side.execute(command)
    finally:
        await side.close()


@pytest.fixture
def desk_topic(stage):
    """Give a topic that alice may do anything with, and bob may connect to."""
    return stage.prices.topic(
        "work",
        {"a": "1"},
        entries=[
            allow("alice", SEE | DdeRights.POKE | DdeRights.EXECUTE),
            allow("bob", DdeRights.CONNECT),
        ],
    )


def test_a_poke_writes_the_mapping_for_who_may(stage, desk_topic):
    asyncio.run(poke(stage, "A", "2", topic="work"))
    assert "2" == asyncio.run(stage.request("a", topic="work"))
    refused(poke(stage, "a", "3", BOB, topic="work"), AccessDeniedError)
    assert "2" == asyncio.run(stage.request("a", topic="work"))


def test_a_poke_makes_no_new_item(stage, desk_topic):
    refused(poke(stage, "b", "2", topic="work"), AccessDeniedError)
    refused(stage.request("b", topic="work"), AccessDeniedError)


def test_a_mapping_that_cannot_be_written_takes_no_poke(stage):
    rights = SEE | DdeRights.POKE
    view = MappingProxyType({"a": "1"})
    topic = stage.prices.topic("view", view, entries=[allow("alice", rights)])
    error = refused(poke(stage, "a", "2", topic="view"))
    assert isinstance(error, DdeNotProcessedError)
    with pytest.raises(InvalidRequestError):
        topic.publish("a", "2")
    with pytest.raises(InvalidRequestError):
        topic.publish("b")
    topic.publish("a")


def test_a_function_takes_what_is_poked_also_to_new_items(stage, desk_topic, trail):
    taken = []

    @desk_topic.on_poke
    def take(conversation, item, value):
        taken.append((conversation.client.name, conversation.topic, item, value))

    asyncio.run(poke(stage, "new", {"n": 1}, topic="work"))
    assert [("alice", "work", "new", {"n": 1})] == taken
    for item in ("TopicItemList", "a/b"):
        refused(poke(stage, item, "2", topic="work"), AccessDeniedError)
    refused(poke(stage, "new", "2", BOB, topic="work"), AccessDeniedError)
    assert 1 == len(taken)
    ended = trail(AuditEvent.OPERATION_ENDED)
    assert ["poke dde/prices/work"] == [r.operation for r in ended]


def test_a_command_runs_as_nobody_until_it_says_who(stage, desk_topic):
    seen = []

    @desk_topic.on_execute
    def run(conversation, command):
        with pytest.raises(NoThreadTokenError):
            effective.effective_token()
        with dde_impersonate_client(conversation):
            seen.append((command, effective.effective_token().logon_id))
        seen.append(conversation.client.token.logon_id)

    asyncio.run(execute(stage, "go", topic="work"))
    assert ("go", seen[1]) == seen[0]


def test_an_impersonation_acts_for_the_conversation_it_is_given(stage):
    """One connection's conversations at two levels, and two clients at once."""
    seen = {}

    def run(conversation, command):
        try:
            with dde_impersonate_client(conversation):
                seen[command] = stage.server.name_of(effective.effective_token().user)
        except BadImpersonationLevelError:
            seen[command] = "refused"

    entries = [allow(name, SEE | DdeRights.EXECUTE) for name in ("alice", "bob")]
    topic = stage.prices.topic("both", {}, entries=entries)
    topic.on_execute(run)

    async def act():
        identification = ImpersonationLevel.IDENTIFICATION
        sides = {
            "low": await stage.connect(topic="both", level=identification),
            "high": await stage.connect(topic="both"),
            "other": await stage.connect(BOB, topic="both"),
        }
        await asyncio.gather(*(side.execute(name) for name, side in sides.items()))
        for side in sides.values():
            await side.close()

    asyncio.run(act())
    assert {"low": "refused", "high": "alice", "other": "bob"} == seen


def test_a_command_that_fails_ends_its_transaction_alone(stage, desk_topic, trail):
    @desk_topic.on_execute
    def run(conversation, command):
        raise SystemExit(command)

    error = refused(execute(stage, "secret", topic="work"))
    assert isinstance(error, OperationFailedError)
    assert "the request failed" == public_refusal(error).message
    [ended] = trail(AuditEvent.OPERATION_ENDED)
    assert Outcome.FAILURE is ended.outcome
    assert "secret" not in repr(ended)
    assert "1" == asyncio.run(stage.request("a", topic="work"))


def test_a_topic_that_executes_nothing_says_so_to_who_may_ask(stage, desk_topic):
    error = refused(execute(stage, "go", topic="work"))
    assert isinstance(error, DdeNotProcessedError)
    refused(execute(stage, "go", BOB, topic="work"), AccessDeniedError)


def test_functions_that_run_later_are_no_handlers(desk_topic):
    async def later(conversation, command):
        """Run on a loop, where nobody may be impersonated."""

    with pytest.raises(SteadError, match="asynchronous"):
        desk_topic.on_execute(later)
    with pytest.raises(SteadError, match="asynchronous"):
        desk_topic.on_poke(later)


# --- System ---------------------------------------------------------------------------


def test_the_system_topic_lists_only_what_may_be_seen(stage):
    stage.prices.topic("secret", {}, entries=[allow("bob", DdeRights.CONNECT)])
    heard = {
        uid: asyncio.run(stage.request("topics", uid, topic="SYSTEM")).split("\t")
        for uid in (ALICE, BOB)
    }
    assert {ALICE: ["System", "Stocks"], BOB: ["System", "secret"]} == heard


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("SysItems", "Topics\tSysItems\tTopicItemList\tFormats\tStatus\tHelp"),
        ("TopicItemList", "Topics\tSysItems\tTopicItemList\tFormats\tStatus\tHelp"),
        ("formats", "text\tbytes\tjson"),
        ("status", "Ready"),
    ],
)
def test_the_system_topic_has_the_items_of_dde(stage, item, value):
    assert value == asyncio.run(stage.request(item, topic="System"))


def test_the_system_topic_does_nothing_else(stage):
    refused(stage.request("nothing", topic="System"), AccessDeniedError)
    refused(execute(stage, "go", topic="System"), DdeNotProcessedError)
    refused(poke(stage, "Status", "Busy", topic="System"), DdeNotProcessedError)
    with pytest.raises(InvalidNameError):
        stage.prices.topic("system", {})


# --- registering ----------------------------------------------------------------------


def test_who_may_register_is_judged_and_recorded(stage, alice, administrator, trail):
    with pytest.raises(AccessDeniedError):
        stage.desk.register("hers", by=alice)
    stage.desk.register("theirs", by=administrator)
    asked = [r for r in trail(AuditEvent.OBJECT_ACCESS) if r.object_name == "dde"]
    outcomes = [(r.client.name if r.client else None, r.outcome) for r in asked]
    assert [
        (None, Outcome.SUCCESS),
        ("alice", Outcome.FAILURE),
        ("root of the store", Outcome.SUCCESS),
    ] == outcomes


def let_register(stage, administrator, *names):
    entries = [allow("Administrators", DdeRights.REGISTER)]
    entries += [allow(name, DdeRights.REGISTER) for name in names]
    stage.server.set_entries(administrator, stage.desk.securable, entries)


def test_a_client_that_may_registers_a_service_of_its_own(stage, alice, administrator):
    let_register(stage, administrator, "alice")
    hers = stage.desk.register("hers", entries=[allow("bob", 1)], by=alice)
    hers.topic("notes", {"a": "1"}, entries=[allow("bob", SEE)])
    assert alice.sid == hers.securable.descriptor.owner
    value = stage.request("a", BOB, service="hers", topic="notes")
    assert "1" == asyncio.run(value)


def test_what_is_made_without_entries_is_its_owners_alone(
    stage, administrator, client_of
):
    let_register(stage, administrator, "alice")
    alice = client_of(stage.server, "alice")
    stage.desk.register("hers", by=alice).topic("notes", {"a": "1"})
    assert "1" == asyncio.run(stage.request("a", service="hers", topic="notes"))
    attempt = stage.connect(BOB, service="hers", topic="notes")
    refused(attempt, NoConversationError)


def test_a_clients_service_ends_with_its_session(
    stage, administrator, client_of, record_of
):
    let_register(stage, administrator, "alice")
    alice = client_of(stage.server, "alice")
    hers = stage.desk.register("hers", entries=[allow("bob", 1)], by=alice)
    hers.topic("notes", {"a": "1"}, entries=[allow("bob", SEE)])

    async def act():
        side = await stage.connect(BOB, service="hers", topic="notes")
        alice.close()
        with pytest.raises(NoConversationError):
            await side.request("a")
        await side.close()

    asyncio.run(act())
    attempt = stage.connect(BOB, service="hers", topic="notes")
    error = refused(attempt, NoConversationError)
    assert "`hers` is offered no more" == record_of(error.record).reasons[0]
    again = client_of(stage.server, "alice")
    stage.desk.register("hers", by=again)


def test_a_service_that_somebody_else_made_is_not_taken_over(
    stage, alice, bob, administrator
):
    let_register(stage, administrator, "alice", "bob")
    stage.desk.register("hers", by=alice)
    with pytest.raises(InvalidNameError):
        stage.desk.register("HERS", by=bob)
    alice.close()
    # The name is free, and bob may register services; but this one's object is hers.
    with pytest.raises(AccessDeniedError):
        stage.desk.register("hers", by=bob)


def test_the_server_registers_its_service_again_in_its_next_run(stage):
    desk = DdeDesk(stage.server)
    again = desk.register("prices", entries=[])
    assert again.securable is stage.prices.securable


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, " a", "Everyone", "a\u200bb"])
def test_what_is_no_name_is_none_of_a_service(stage, name):
    with pytest.raises(InvalidNameError):
        stage.desk.register(name)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 97, " a", "a\u200bb", "½" * 96])
def test_what_is_no_name_is_none_of_an_item(stage, name):
    with pytest.raises(InvalidNameError):
        stage.stocks.publish(name, "1")
    with pytest.raises(InvalidNameError):
        stage.stocks.protect_item(name, [allow("bob", 2)])


def test_a_topic_is_offered_once(stage):
    with pytest.raises(InvalidNameError):
        stage.prices.topic("STOCKS", {})
    with pytest.raises(InvalidRequestError):
        stage.prices.topic("odd", 7)


def test_generic_rights_are_the_desks_own():
    mapping = DdeRights.generic_mapping()
    assert int(DdeRights.CONNECT | DdeRights.REQUEST | DdeRights.ADVISE) == (
        mapping.read & 0xFFFF
    )
    assert int(DdeRights.CONNECT | DdeRights.POKE) == mapping.write & 0xFFFF
    assert int(DdeRights.CONNECT | DdeRights.EXECUTE) == mapping.execute & 0xFFFF
    assert 0x3F == mapping.all & 0xFFFF


def test_evidence_of_a_uid_without_an_account_is_judged_as_that_uid(stage):
    async def act():
        await stage.desk.connect(
            PeerEvidence(STRANGER, STRANGER, (), pid=1, gate="dde"),
            QualityOfService(),
            service="prices",
            topic="stocks",
            correlation="mine",
        )

    refused(act(), NoConversationError)


class Revoking(dict):
    """A mapping in which, while it is read, somebody takes the reader's right."""

    act = None

    def __getitem__(self, item):
        act, self.act = self.act, None
        if act is not None:
            taking = threading.Thread(target=act)
            taking.start()
            taking.join()
        return super().__getitem__(item)


def test_a_value_that_came_after_the_right_was_taken_is_not_answered(server):
    """It was judged before: a naive answer gives what came since."""
    values = Revoking({"acme": "12"})
    stage = Stage(server, values)

    def take_the_right():
        set_entries(server, stage.stocks, [])
        dict.__setitem__(values, "acme", "a secret")

    async def scenario():
        assert "12" == await stage.request("acme")
        values.act = take_the_right
        with pytest.raises(AccessDeniedError):
            await stage.request("acme")

    asyncio.run(scenario())
    assert "a secret" == values["acme"]  # what a naive answer would have given


@pytest.mark.parametrize("kind", [asyncio.CancelledError, SystemExit, KeyError])
def test_whatever_a_source_raises_ends_its_topic_and_nothing_else(server, caplog, kind):
    async def source():
        yield "acme", "12"
        raise kind

    stage = Stage(server, source)

    async def scenario():
        side = await stage.connect()
        while not stage.stocks._has_failed:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        with pytest.raises(DdeNotProcessedError):
            await side.request("acme")
        await side.close()

    asyncio.run(scenario())
    assert "source failed" in caplog.text


def test_a_source_that_ends_without_a_value_fails_its_topic(server, caplog):
    async def source():
        return
        yield

    stage = Stage(server, source)

    async def scenario():
        side = await stage.connect()
        while not stage.stocks._has_failed:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        await side.close()

    asyncio.run(scenario())
    assert "without a value" in caplog.text


def test_a_source_that_never_waits_leaves_the_loop_to_others(server):
    async def source():
        while True:
            yield "acme", "12"

    stage = Stage(server, source)

    async def scenario():
        async with asyncio.timeout(60):
            while True:
                # Whoever is faster than the first value hears that there is none yet.
                with suppress(DdeBusyError):
                    return await stage.request("acme")

    assert "12" == asyncio.run(scenario())
