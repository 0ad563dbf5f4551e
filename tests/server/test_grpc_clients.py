"""gRPC: who calls is handed to the handler, and no thread keeps it."""

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import SimpleNamespace

import grpc
import pytest
from cryptography import x509

import stead
from stead.adapters.certificates import CertificateIssuer, Certificates
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import Authenticated
from stead.errors import (
    AccessDeniedError,
    EnforcementUnavailableError,
    EvidenceRefusedError,
    InvalidRequestError,
    LogonFailureError,
    OperationFailedError,
    ServerClosedError,
)
from stead.gates.grpc import (
    AioSteadInterceptor,
    SteadInterceptor,
    by_evidence,
    client_of,
)
from stead.gates.grpc.refusals import answer_of
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.monitor import context as ambient
from stead.testing.certificates import SERVER, Authority, upn

CODE = grpc.StatusCode
QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.01)
MARK = contextvars.ContextVar("mark", default="nobody")


class Stage:
    """A server, whom it believes, and handlers that say what they see."""

    def __init__(self, folder, open_server, lockout=QUICK):
        self.corp, self.server_ca = Authority("Corp CA"), Authority("Server CA")
        self.other = Authority("Corp CA")
        issuer = CertificateIssuer(
            name="corp",
            anchors=self.corp.anchor(folder / "corp.pem"),
            domain="corp.test",
        )
        self.certificates = Certificates([issuer])
        believed = Issuer("corp", names_accounts=True)
        self.server = open_server(issuers=[believed], lockout=lockout)
        for name in ("alice", "bob"):
            self.server.accounts.add(name)
        self.kept, self.seen = [], []

    def client_for(self, **more):
        options = {"certificates": self.certificates, "bearer": self.bearer, **more}
        return by_evidence(self.server.admit_shown, **options)

    def bearer(self, token, call):
        name, _, seal = token.partition(".")
        if seal != "sealed":
            raise EvidenceRefusedError("the token is forged")
        return Authenticated(package="bearer", issuer="corp", name=name)

    def credentials(self, *, trusted=None):
        signed = self.server_ca.issue("s", x509.DNSName("localhost"), use=(SERVER,))
        if trusted is None:
            return grpc.ssl_server_credentials([(signed.key_pem, signed.pem)])
        return grpc.ssl_server_credentials(
            [(signed.key_pem, signed.pem)], trusted, require_client_auth=True
        )

    @contextmanager
    def channel(self, port, signed=None):
        shown = {}
        if signed is not None:
            shown["private_key"] = signed.key_pem
            between = b"".join(one.pem for one in signed.chain)
            shown["certificate_chain"] = signed.pem + between
        trust = grpc.ssl_channel_credentials(self.server_ca.own.pem, **shown)
        with grpc.secure_channel(f"localhost:{port}", trust) as channel:
            yield Caller(channel)

    @contextmanager
    def open(self, *, trusted=None, threads=2, client_for=None):
        pool = ThreadPoolExecutor(threads)
        server = grpc.server(
            pool, interceptors=[SteadInterceptor(client_for or self.client_for())]
        )
        server.add_generic_rpc_handlers([handlers(Notes(self))])
        port = server.add_secure_port("localhost:0", self.credentials(trusted=trusted))
        server.start()
        try:
            yield port
        finally:
            server.stop(1).wait()
            pool.shutdown()

    @asynccontextmanager
    async def open_aio(self, *, trusted=None, client_for=None, notes=None):
        server = grpc.aio.server(
            interceptors=[AioSteadInterceptor(client_for or self.client_for())]
        )
        server.add_generic_rpc_handlers([handlers(notes or AioNotes(self))])
        port = server.add_secure_port("localhost:0", self.credentials(trusted=trusted))
        await server.start()
        try:
            yield port
        finally:
            await server.stop(1)

    def reasons(self):
        found = self.server.trail.find(Query(event=AuditEvent.LOGON_FAILED))
        return [reason for _, record in found for reason in record.reasons]


class Caller:
    """Calls the methods by their names, with bytes for messages."""

    def __init__(self, channel):
        self.channel = channel

    def __call__(self, method, request=b"", *, token=None, **more):
        kinds = {
            "Count": self.channel.unary_stream,
            "Sum": self.channel.stream_unary,
            "Chat": self.channel.stream_stream,
        }
        make = kinds.get(method, self.channel.unary_unary)
        metadata = more.pop("metadata", ())
        if token is not None:
            metadata = (*metadata, ("authorization", f"Bearer {token}"))
        answer = make(f"/notes.Notes/{method}")(
            request, metadata=metadata, timeout=60, **more
        )
        return answer if isinstance(answer, bytes) else list(answer)


def handlers(notes):
    return grpc.method_handlers_generic_handler(
        "notes.Notes",
        {
            "Read": grpc.unary_unary_rpc_method_handler(notes.read),
            "Fail": grpc.unary_unary_rpc_method_handler(notes.fail),
            "Count": grpc.unary_stream_rpc_method_handler(notes.count),
            "Sum": grpc.stream_unary_rpc_method_handler(notes.sum),
            "Chat": grpc.stream_stream_rpc_method_handler(notes.chat),
        },
    )


FAILURES = {
    b"denied": AccessDeniedError("entry 2 denies it", object_name="/secret"),
    b"broken": ZeroDivisionError("the server's secret"),
    b"closed": ServerClosedError("it is closed"),
    b"invalid": InvalidRequestError("`x` is no number"),
}


class Notes:
    """Handlers on a pool's threads."""

    def __init__(self, stage):
        self.stage = stage

    def read(self, request, context):
        self.stage.seen.append((MARK.get(), ambient.raw_frame()))
        MARK.set(client_of(context).name)
        if request == b"keep":
            self.stage.kept.append(context)
        if request == b"leave":
            block = client_of(context).impersonate()
            block.__enter__()
            self.stage.kept.append(block)
        with client_of(context).impersonate():
            return stead.effective_token().user.to_bytes()

    def fail(self, request, context):
        if request == b"abort":
            context.abort(CODE.DATA_LOSS, "the handler's own words")
        raise FAILURES[request]

    def count(self, request, context):
        for number in range(3):
            if number == 0:
                self.stage.seen.append((MARK.get(), ambient.raw_frame()))
            MARK.set(client_of(context).name)
            yield f"{client_of(context).name} {number}".encode()
            assert MARK.get() == client_of(context).name
            if request == b"fail":
                raise AccessDeniedError("no more", object_name="x")

    def sum(self, requests, context):
        return b"".join(requests) + client_of(context).name.encode()

    def chat(self, requests, context):
        for request in requests:
            yield request + client_of(context).name.encode()


class AioNotes:
    """The same on a loop."""

    def __init__(self, stage):
        self.stage = stage

    async def read(self, request, context):
        self.stage.seen.append((MARK.get(), ambient.raw_frame()))
        MARK.set(client_of(context).name)
        if request == b"keep":
            self.stage.kept.append(context)
        await asyncio.sleep(0)
        return client_of(context).sid.to_bytes()

    async def fail(self, request, context):
        if request == b"abort":
            await context.abort(CODE.DATA_LOSS, "the handler's own words")
        raise FAILURES[request]

    async def count(self, request, context):
        self.stage.seen.append((MARK.get(), ambient.raw_frame()))
        for number in range(3):
            MARK.set(client_of(context).name)
            yield f"{client_of(context).name} {number}".encode()
            if request == b"fail":
                raise AccessDeniedError("no more", object_name="x")

    async def sum(self, requests, context):
        said = b"".join([request async for request in requests])
        return said + client_of(context).name.encode()

    async def chat(self, requests, context):
        async for request in requests:
            await context.write(request + client_of(context).name.encode())


@pytest.fixture
def stage(tmp_path, open_server):
    return Stage(tmp_path, open_server)


@pytest.fixture(params=["threads", "aio"])
def calling(request, stage):
    """A context manager: a caller of a server of either kind."""

    @contextmanager
    def opened(signed=None, **options):
        if request.param == "threads":
            with stage.open(**options) as port, stage.channel(port, signed) as caller:
                yield caller
            return
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        gate = stage.open_aio(**options)
        try:
            port = asyncio.run_coroutine_threadsafe(gate.__aenter__(), loop).result(60)
            with stage.channel(port, signed) as caller:
                yield caller
            asyncio.run_coroutine_threadsafe(
                gate.__aexit__(None, None, None), loop
            ).result(60)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    return opened


def alice_of(authority, name="alice"):
    return authority.issue(name, upn(f"{name}@corp.test"))


def refused(call, *arguments, **more):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **more)
    error = caught.value
    return error.code(), error.details(), dict(error.trailing_metadata() or ())


def test_a_caller_is_known_by_its_certificate_in_every_kind_of_call(stage, calling):
    between = Authority("Between", stage.corp)
    for signed in (alice_of(stage.corp), alice_of(between)):
        with calling(signed, trusted=stage.certificates.anchors) as call:
            alice = stage.server.accounts.store.account_by_name("alice")
            assert alice.sid.to_bytes() == call("Read")
            assert [b"alice 0", b"alice 1", b"alice 2"] == call("Count")
            assert b"abalice" == call("Sum", iter([b"a", b"b"]))
            assert [b"aalice", b"balice"] == call("Chat", iter([b"a", b"b"]))
    _, entry = list(stage.server.trail.find(Query(event=AuditEvent.LOGON)))[-1]
    assert ("grpc", "corp", "certificate") == (
        entry.gate,
        entry.detail["issuer"],
        entry.detail["package"],
    )
    assert entry.peer.startswith(("127.0.0.1:", "[::1]:"))


def test_a_caller_is_known_by_its_token(stage, calling):
    with calling() as call:
        assert b"abob" == call("Sum", iter([b"a"]), token="bob.sealed")
        # One connection, two clients: each call is its own.
        assert b"aalice" == call("Sum", iter([b"a"]), token="alice.sealed")


def test_who_is_refused_hears_one_thing_and_the_trail_has_the_cause(stage, calling):
    heard = set()
    with calling() as call:
        for more in (
            {},
            {"token": "alice.forged"},
            {"token": "carol.sealed"},
            {"token": ""},
            {"metadata": (("authorization", "Basic YTpi"),)},
            {"token": "bob.sealed", "metadata": (("authorization", "Bearer x.y"),)},
        ):
            code, details, said = refused(call, "Read", **more)
            heard.add((code, details, said["stead-status"]))
    assert {(CODE.UNAUTHENTICATED, LogonFailureError.public, "1326")} == heard
    reasons = stage.reasons()
    for why in ("shows nothing", "forged", "carol", "no bearer token", "more than one"):
        assert any(why in reason for reason in reasons), why
    assert [] == stage.seen


def test_another_authority_that_the_library_trusts_cannot_name_alice(stage, calling):
    """The library is told to trust both; what it says of the caller is a name.

    The naive way takes that name. Ours asks which anchor stands behind it.
    """
    both = stage.corp.own.pem + stage.other.own.pem
    forged = stage.other.issue("alice", upn("alice@corp.test"))
    naive = []

    def take_common_name(call):
        certificate = x509.load_der_x509_certificate(call.certificate)
        naive.append(certificate.subject.rfc4514_string())
        return stage.client_for()(call)

    with calling(forged, trusted=both, client_for=take_common_name) as call:
        assert CODE.UNAUTHENTICATED is refused(call, "Read")[0]
    assert ["CN=alice"] == naive
    assert any("no issuer that is believed" in why for why in stage.reasons())


def test_two_answers_to_one_question_are_none(stage, calling):
    alice = alice_of(stage.corp)
    with calling(alice, trusted=stage.certificates.anchors) as call:
        assert CODE.UNAUTHENTICATED is refused(call, "Read", token="bob.sealed")[0]
        assert any("a certificate and a token" in why for why in stage.reasons())
    tokens = stage.client_for(certificates=None)
    with calling(alice, trusted=stage.certificates.anchors, client_for=tokens) as call:
        assert b"bob" == call("Sum", iter([b""]), token="bob.sealed")


def test_what_a_handler_raises_is_told_in_public_words_alone(stage, calling):
    told = {}
    with calling() as call:
        for what in (*FAILURES, b"abort"):
            code, details, _ = refused(call, "Fail", what, token="alice.sealed")
            told[what] = code, details
        code, details, said = refused(call, "Count", b"fail", token="alice.sealed")
    assert {
        b"denied": (CODE.PERMISSION_DENIED, AccessDeniedError.public),
        b"broken": (CODE.INTERNAL, OperationFailedError.public),
        b"closed": (CODE.UNAVAILABLE, ServerClosedError.public),
        b"invalid": (CODE.INVALID_ARGUMENT, InvalidRequestError.public),
        b"abort": (CODE.DATA_LOSS, "the handler's own words"),
    } == told
    assert (CODE.PERMISSION_DENIED, "5") == (code, said["stead-status"])
    assert "secret" not in str(told)


def test_what_the_caller_does_not_hear_is_in_the_log(caplog):
    error = EnforcementUnavailableError("it is bound to nothing", advice="bind it")
    code, said, _ = answer_of(error, "/notes/Read")
    assert (CODE.UNIMPLEMENTED, error.public) == (code, said)
    assert "it is bound to nothing; what to do: bind it" in caplog.text


def test_a_library_alone_tells_the_caller_the_error_s_own_words(stage):
    """What the interceptor stands against: the naive server beside ours."""
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([handlers(Notes(stage))])
    port = server.add_insecure_port("localhost:0")
    server.start()
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        _, details, _ = refused(Caller(channel), "Fail", b"broken")
        assert "the server's secret" in details
        _, details, _ = refused(Caller(channel), "Read")
        assert "did not pass a stead interceptor" in details
    server.stop(1).wait()


def test_no_thread_keeps_what_a_call_set(stage, calling):
    with calling() as call:
        for name in ("alice", "bob", "alice", "bob"):
            call("Read", token=f"{name}.sealed")
            call("Count", token=f"{name}.sealed")
    assert [("nobody", None)] * 8 == stage.seen


@pytest.mark.leaks_identity
def test_a_block_that_a_handler_leaves_open_ends_with_its_call(stage, identity_leaks):
    """A pool of one thread: the naive way, the next caller finds the last one's."""
    found = []

    def naive(name):
        found.append(ambient.raw_frame())
        client = stage.server.client_for(name, authenticated_by="test")
        client.impersonate().__enter__()

    with ThreadPoolExecutor(1) as pool:
        for name in ("alice", "bob"):
            pool.submit(naive, name).result()
    assert found[0] is None
    assert found[1] is not None

    with stage.open(threads=1) as port, stage.channel(port) as call:
        for name in ("alice", "bob"):
            call("Read", b"leave", token=f"{name}.sealed")
    told = [str(leak) for leak in identity_leaks()]
    assert any("handler returned" in each for each in told), told
    assert [("nobody", None)] * 2 == stage.seen


def test_a_client_ends_with_its_call(stage, calling):
    with calling() as call:
        call("Read", b"keep", token="alice.sealed")
    (context,) = stage.kept
    with pytest.raises(LogonFailureError):
        client_of(context)
    sessions = stage.server._house.admission.sessions
    assert {"notes"} == {one.name for one in sessions.records()}


def test_a_token_over_a_channel_that_anybody_reads_is_refused(stage):
    server = grpc.server(
        ThreadPoolExecutor(1), interceptors=[SteadInterceptor(stage.client_for())]
    )
    server.add_generic_rpc_handlers([handlers(Notes(stage))])
    port = server.add_insecure_port("localhost:0")
    server.start()
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        call = Caller(channel)
        assert CODE.UNAUTHENTICATED is refused(call, "Read", token="alice.sealed")[0]
    server.stop(1).wait()
    assert any("anybody can read" in why for why in stage.reasons())


def test_a_call_belongs_to_the_trace_that_it_came_in(stage, calling):
    trace = "0af7651916cd43dd8448eb211c80319c"
    header = ("traceparent", f"00-{trace}-b7ad6b7169203331-01")
    with calling() as call:
        call("Read", token="alice.sealed", metadata=(header,))
        call("Read", token="alice.sealed", metadata=(("traceparent", "00-x-y-01"),))
    logons = [r for _, r in stage.server.trail.find(Query(event=AuditEvent.LOGON))]
    told = [trace in record.correlation for record in logons if record.gate == "grpc"]
    assert [True, False] == told


def test_unknown_methods_and_methods_without_clients(stage, calling):
    with calling(client_for=lambda _: None) as call:
        assert CODE.UNAUTHENTICATED is refused(call, "Read")[0]
        assert CODE.UNIMPLEMENTED is refused(call, "Nothing")[0]


def test_a_coroutine_says_whose_a_call_is_on_a_loop_alone(stage):
    async def client_for(call):
        await asyncio.sleep(0)
        return await asyncio.to_thread(stage.client_for(), call)

    with pytest.raises(InvalidRequestError, match="AioSteadInterceptor"):
        SteadInterceptor(client_for)

    async def scenario():
        async with stage.open_aio(client_for=client_for) as port:

            def ask():
                with stage.channel(port) as call:
                    return call("Sum", iter([b""]), token="alice.sealed")

            assert b"alice" == await asyncio.to_thread(ask)

    asyncio.run(scenario())


@pytest.mark.parametrize("delays", [True, False])
def test_failures_of_some_delay_nobody_else(tmp_path, open_server, delays, monkeypatch):
    """Whoever has a failure waited out on its thread has everybody wait for it."""
    late = LockoutPolicy(first_delay=1.0, longest_delay=1.0, most_waiting=100)
    stage, looked_at, codes = Stage(tmp_path, open_server, late), [], []
    # Failures are waited for until it is seen who is answered meanwhile.
    over = threading.Event()

    async def wait(seconds):
        while seconds > 0 and not over.is_set():  # noqa: ASYNC110 - another thread's
            await asyncio.sleep(0.005)

    own = SimpleNamespace(**vars(asyncio) | {"sleep": wait})
    monkeypatch.setattr("stead.gates.grpc.aio.asyncio", own)
    stage.server._house.authentication._late._sleep = lambda _: over.wait(60)

    def bearer(token, call):
        looked_at.append(token)
        return stage.bearer(token, call)

    client_for = stage.client_for(bearer=bearer)
    naive = partial(client_for.__call__)  # no more than any function: it waits

    def until(holds, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not holds() and time.monotonic() < deadline:
            time.sleep(0.005)
        return holds()

    def ask(port):
        with stage.channel(port) as call:
            read = call.channel.unary_unary("/notes.Notes/Read")

            def begin(token):
                shown = (("authorization", f"Bearer {token}"),)
                asked = read.future(b"", metadata=shown, timeout=60)
                asked.add_done_callback(lambda done: codes.append(done.code()))

            for _ in range(20):
                begin("alice.forged")
            assert until(lambda: len(looked_at) >= 16)
            begin("alice.sealed")
            assert delays != until(lambda: codes, seconds=0.5 if delays else 60.0)
            over.set()
            assert until(lambda: len(codes) == 21)

    async def scenario():
        async with stage.open_aio(client_for=naive if delays else client_for) as port:
            await asyncio.to_thread(ask, port)

    asyncio.run(scenario())
    assert 20 == codes.count(CODE.UNAUTHENTICATED)
    assert delays == (CODE.OK is not codes[0])
    assert CODE.OK in codes


def test_more_than_can_wait_hear_that_the_server_is_not_available(stage, monkeypatch):
    monkeypatch.setattr("stead.gates.arrivals._WAITING", 0)

    async def scenario():
        async with stage.open_aio() as port:

            def ask():
                with stage.channel(port) as call:
                    return refused(call, "Read", token="alice.sealed")

            return await asyncio.to_thread(ask)

    heard = asyncio.run(scenario())
    assert CODE.UNAVAILABLE is heard[0]


def test_plain_functions_on_a_loop_are_refused(stage):
    async def scenario():
        async with stage.open_aio(notes=Notes(stage)) as port:

            def ask():
                with stage.channel(port) as call:
                    return refused(call, "Read", token="alice.sealed")[0]

            assert await asyncio.to_thread(ask) in {CODE.UNKNOWN, CODE.INTERNAL}
            assert [] == stage.seen

    asyncio.run(scenario())


def test_nobody_who_could_show_anything_is_refused(stage):
    with pytest.raises(InvalidRequestError, match="give `certificates`"):
        by_evidence(stage.server.admit_shown)
