"""Feed malformed input to everything that reads bytes or text of strangers.

usage: run.py [--seconds N] [--seed N]

Each target is given valid seeds, changed at random, and raw noise. Nothing may escape
but an error of Stead's own; and what is accepted must hold the target's law (what is
read, written and read again is the same). The codec room's readers are those of
`targets.py`, which coverage_guided.py knows too. A failure is printed with the seed,
the target and the input, and the status is 1.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.targets import TOKENS, Target, codec_targets, text_of
from tests.fuzz.trail_targets import trail_targets

from stead.errors import RemoteProtocolError, SteadError
from stead.gates.dde import messages as dde
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.protocol import DdeProtocol
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    VERSION,
    Goodbye,
    Hello,
    Message,
    Refusal,
    Request,
    Result,
    Welcome,
    write_message,
)
from stead.gates.pipe.protocol import PipeProtocol, Role
from stead.ledger.canonical import read_record, write_record
from stead.ledger.chain import Verification
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.sid import Sid
from stead.server.workers.plain_data import read_plain, write_plain

_WHO = Principal(Sid.from_string("S-1-5-21-1-2-3-1001"), "alice")
_RECORD = AuditRecord(
    event=AuditEvent.OBJECT_ACCESS,
    outcome=Outcome.FAILURE,
    time=1,
    server=_WHO,
    client=_WHO,
    chain=(_WHO, _WHO),
    object_name="plan \udc80",
    reasons=("WRITE is denied",),
    detail={"where": "here:1"},
)
LIMITS = PipeLimits(frame=4096, opening=512)
HELLO = Hello(version=VERSION, level="impersonation")
WELCOME = Welcome(
    version=VERSION, server="notes", account="alice", level="impersonation"
)
REQUESTS = (
    Request(id=1, operation="read", arguments={"path": "/a", "n": [1, 2.5, None]}),
    Request(id=2, operation="x", arguments={}),
)
ANSWERS = (
    Result(id=1, value={"text": "hello"}),
    Refusal(id=2, status=5, message="access is denied", record=7),
)
PLAIN = (
    [None, True, -1, 2**70, 1.5, 2j, "a \udc80", b"b", bytearray(b"c")],
    {"d": (3,), -1: {4, "e"}, (5, frozenset({-2, 6})): [[]]},
    (date(2026, 1, 2), datetime(2026, 1, 2, 3, tzinfo=UTC)),
    (time_of_day(4, 5), timedelta(6)),
    [Decimal("-7.8E+9"), Fraction(9, 10), UUID(int=11), PurePosixPath("/a/b")],
)
DDE_LIMITS = DdeLimits(transactions=8, socket=LIMITS)
DDE_HELLO = dde.Hello(version=dde.VERSION)
DDE_WELCOME = dde.Welcome(
    version=dde.VERSION, server="notes", conversations=2, advises=2, transactions=8
)
DDE_CONNECT = dde.Connect(conversation=1, service="prices", topic="stocks")
DDE_CONNECT_2 = dde.Connect(conversation=2, service="prices", topic="bonds")
DDE_CONNECTED = dde.Connected(conversation=1)
_ACME = {"conversation": 1, "item": "acme"}
_VALUE = dde.Value(plain={"price": [12, 1.5, None]})
# What a client says in a conversation that stands, and what it hears.
DDE_ASKED = (
    dde.Request(transaction=1, **_ACME),
    dde.Poke(transaction=2, value=dde.Value(content=b"12"), **_ACME),
    dde.Execute(conversation=1, transaction=3, command="[open]"),
    dde.Advise(transaction=4, acknowledged=True, **_ACME),
)
DDE_ANSWERS = (
    dde.Data(conversation=1, transaction=1, value=_VALUE),
    dde.Busy(conversation=1, transaction=2),
    dde.Nack(conversation=1, transaction=3, status=5, message="access is denied"),
    dde.Done(conversation=1, transaction=4),
    dde.AdviseData(serial=1, value=_VALUE, **_ACME),
    dde.AdviseEnded(status=5, message="access is denied", record=7, **_ACME),
    dde.Terminated(conversation=1, reason="enough"),
)


def read_body(data: bytes) -> None:
    """Read a record; what is accepted is written and read as the same."""
    found = read_record(data)
    assert found == read_record(write_record(found))


def read_witness(data: bytes) -> None:
    """Read a witness; what is accepted prints as the same."""
    found = Verification.from_string(text_of(data))
    assert found == Verification.from_string(str(found))


def read_opening(data: bytes) -> None:
    """Take a client's first bytes."""
    compare(lambda: PipeProtocol(Role.SERVER, LIMITS), data)


def read_requests(data: bytes) -> None:
    """Take what an admitted client sends."""
    compare(lambda: talking(Role.SERVER), data)


def read_answers(data: bytes) -> None:
    """Take what a server answers."""
    compare(lambda: talking(Role.CLIENT), data)


def read_value(data: bytes) -> None:
    """Read what a worker answers; what is accepted is written and read as the same."""
    found = write_plain(read_plain(data))
    # Sets come in any order, and not every number equals itself.
    assert len(found) == len(write_plain(read_plain(found)))


def read_dde_opening(data: bytes) -> None:
    """Take a DDE client's first bytes."""
    compare(lambda: DdeProtocol(Role.SERVER, DDE_LIMITS), data)


def read_dde_transactions(data: bytes) -> None:
    """Take what a DDE client says."""
    compare(lambda: conversing(Role.SERVER), data)


def read_dde_answers(data: bytes) -> None:
    """Take what a DDE server says to a client that has asked."""
    compare(lambda: conversing(Role.CLIENT), data)


def conversing(role: Role) -> DdeProtocol:
    """Return an end that has a conversation; a client's has asked in it."""
    protocol = DdeProtocol(role, DDE_LIMITS)
    if role is Role.SERVER:
        protocol.receive_data(dde_framed(DDE_HELLO))
        protocol.send(DDE_WELCOME)
        protocol.receive_data(dde_framed(DDE_CONNECT))
        protocol.send(DDE_CONNECTED)
        return protocol
    protocol.send(DDE_HELLO)
    protocol.receive_data(dde_framed(DDE_WELCOME))
    protocol.send(DDE_CONNECT)
    protocol.receive_data(dde_framed(DDE_CONNECTED))
    for message in DDE_ASKED:
        protocol.send(message)
    return protocol


def dde_framed(*messages: dde.Message) -> bytes:
    """Return DDE messages as they travel."""
    bodies = [dde.write_message(message) for message in messages]
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def compare(begin: Callable[[], PipeProtocol | DdeProtocol], data: bytes) -> None:
    """Take bytes at once and one by one: the same comes of both."""
    whole = heard(begin(), [data])
    assert whole == heard(begin(), [data[n : n + 1] for n in range(len(data))])


def heard(
    protocol: PipeProtocol | DdeProtocol, chunks: list[bytes]
) -> tuple[list[object], str]:
    """Return the messages, and the mistake that ended the conversation."""
    messages: list[object] = []
    try:
        for chunk in chunks:
            messages += protocol.receive_data(chunk)
            while found := protocol.receive_data(b""):
                messages += found
    except RemoteProtocolError as error:
        return messages, str(error)
    except SteadError as error:
        raise AssertionError("bytes are the peer's mistake, never ours") from error
    return messages, ""


def talking(role: Role) -> PipeProtocol:
    """Return an end whose conversation stands; a client's has asked twice."""
    protocol = PipeProtocol(role, LIMITS)
    if role is Role.SERVER:
        protocol.receive_data(framed(HELLO))
        protocol.send(WELCOME)
    else:
        protocol.send(HELLO)
        protocol.receive_data(framed(WELCOME))
        for request in REQUESTS:
            protocol.send(request)
    return protocol


def framed(*messages: Message) -> bytes:
    """Return messages as they travel."""
    bodies = [write_message(message, LIMITS) for message in messages]
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def targets() -> list[Target]:
    """Return every reader with its seeds."""
    return [
        *codec_targets(),
        *trail_targets(),
        Target("pipe opening", (framed(HELLO),), read_opening),
        Target("pipe requests", (framed(*REQUESTS, Goodbye()),), read_requests),
        Target("pipe answers", (framed(*ANSWERS, Goodbye()),), read_answers),
        Target("DDE opening", (dde_framed(DDE_HELLO),), read_dde_opening),
        Target(
            "DDE transactions",
            (
                dde_framed(*DDE_ASKED, dde.Terminate(conversation=1), DDE_CONNECT_2),
                dde_framed(dde.Qos(level="anonymous"), DDE_CONNECT_2, dde.Goodbye()),
            ),
            read_dde_transactions,
        ),
        Target("DDE answers", (dde_framed(*DDE_ANSWERS),), read_dde_answers),
        Target("record", (write_record(_RECORD),), read_body),
        Target("plain data", tuple(map(write_plain, PLAIN)), read_value),
        Target("witness", (f"12:{'ab' * 32}".encode(),), read_witness),
    ]


def changed(seed: bytes, chance: random.Random) -> bytes:
    """Return a seed with a few changes, or noise."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(seed)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
        chance.choice(CHANGES)(data, chance)
    return bytes(data)


def flip(data: bytearray, chance: random.Random) -> None:
    """Change one bit."""
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwrite(data: bytearray, chance: random.Random) -> None:
    """Put a number that is often wrong in some place."""
    at = chance.randrange(len(data) + 1)
    value = chance.choice((0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    size = chance.choice((1, 2, 4))
    order = chance.choice(("little", "big"))
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)


def cut(data: bytearray, chance: random.Random) -> None:
    """Take a piece out."""
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.choice((1, 2, 4, 16, len(data)))]


def double(data: bytearray, chance: random.Random) -> None:
    """Put a piece in twice, sometimes very often."""
    at, size = chance.randrange(len(data) + 1), chance.randrange(1, 24)
    data[at:at] = data[at : at + size] * chance.choice((1, 1, 1, 2, 64))


def insert(data: bytearray, chance: random.Random) -> None:
    """Put something in that readers stumble over."""
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(STUMBLES)


STUMBLES = (
    b"\0", b"\xff\xfe", b"\xc3\x28", b"(((((", b'{"a":' * 40, b"[" * 70, b";;;;;;;",
    b"1e999", b"NaN", b"-1", b"99999999999999999999999", b"S-1-", b"0x",
    "\u0661".encode(),
    "\U0001d7d8".encode(), b"\xed\xb2\x80", b"\r\n", b"\\ud800", b" ", b"D:", b"S:P",
    *TOKENS,
)  # fmt: skip
CHANGES = (flip, overwrite, cut, double, insert)


def run(seconds: float, seed: int) -> int:
    """Fuzz every target in turn; return how many inputs broke a rule."""
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    tried: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    broken = 0
    for target in itertools.cycle(targets()):
        if time.monotonic() > deadline or broken:
            break
        for _ in range(50):
            data = changed(chance.choice(target.seeds), chance)
            tried[target.name] += 1
            try:
                target.read(data)
                accepted[target.name] += 1
            except SteadError:
                continue
            except BaseException:
                broken += 1
                print(f"{target.name} broke with seed {seed} on {data!r}")
                traceback.print_exc()
                break
    for name, number in tried.items():
        print(f"{name:18} {number:9} tried {accepted[name]:9} accepted")
    return broken


def main() -> int:
    """Read the arguments and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.seconds:g} seconds")
    return 1 if run(given.seconds, given.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
