"""What a thief has who takes a server's files, or a picture of its memory.

Passwords and keys of clients are searched for: in the store, the ledger, everything
else that the server writes, its command line and environment, and in all the memory
that it can write, as root reads it and as a core dump would hold it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from binascii import hexlify
from dataclasses import dataclass
from pathlib import Path

import gssapi
import krb5
import pytest
from impacket.krb5.crypto import string_to_key
from tests.domain_clients import found, service

from stead.testing.directory_realm import DirectoryRealm

pytestmark = [pytest.mark.slow]

PROGRAM = Path(__file__).parent / "programs" / "credential_holder.py"
FRONT, BACK = "HTTP/front.stead.test", "HTTP/back.stead.test"
AES_256 = 18
PASSWORDS = {
    "alice": "Alice has this one: 93-tigers",  # in the realm
    "bob": "Bob has this one: 71-lions",  # in the store
}


@dataclass
class Holder:
    """The server's process."""

    process: subprocess.Popen
    folder: Path

    def tell(self, *lines):
        """Have it do something; return how many sessions there are then."""
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def memory(self):
        """Yield all that it can write, mapping by mapping."""
        place = Path(f"/proc/{self.process.pid}")
        with (place / "mem").open("rb", 0) as memory:
            for line in (place / "maps").read_text().splitlines():
                span, mode = line.split()[:2]
                if mode.startswith("rw") and "[v" not in line:
                    start, end = (int(part, 16) for part in span.split("-"))
                    memory.seek(start)
                    yield memory.read(end - start)

    def count(self, wanted):
        """Return how often bytes stand in its memory."""
        return sum(part.count(wanted) for part in self.memory())

    def files(self):
        """Yield everything that it wrote, and how it was started."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()
        for name in ("cmdline", "environ"):
            path = Path(f"/proc/{self.process.pid}") / name
            yield path, path.read_bytes()


@pytest.fixture(scope="module")
def realm():
    with DirectoryRealm() as made, found(made):
        for name, password in PASSWORDS.items():
            made.add_principal(name, password)
        made.front = made.add_service(FRONT)
        yield made


@pytest.fixture
def holder(realm, tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    said = {
        "keytab": str(realm.front), "principal": FRONT, "realm": realm.name,
        "replays": str(state / "replays"), "store": str(state / "holder.db"),
        "targets": ["HTTP@back.stead.test"],
    }  # fmt: skip
    told = tmp_path / "told.json"
    told.write_text(json.dumps(said), encoding="utf-8")
    measured = {key for key in os.environ if key.startswith("COVERAGE_")}
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(told)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={key: value for key, value in os.environ.items() if key not in measured},
    ) as process:  # fmt: skip
        yield Holder(process, state)
        process.stdin.close()
        process.wait(60)


def ticket(realm, path, name="alice"):
    """Write a client's message to a file; return the key of the ticket in it."""
    cache = realm.log_on(name, PASSWORDS[name])
    shown = gssapi.Credentials(usage="initiate", store={"ccache": cache})
    context = gssapi.SecurityContext(
        name=service("HTTP@front.stead.test"), creds=shown, usage="initiate",
        mech=gssapi.MechType.kerberos,
    )  # fmt: skip
    path.write_bytes(context.step())
    held = krb5.init_context()
    for each in krb5.cc_resolve(held, cache.encode()):
        if str(each.server).startswith(FRONT):
            return bytes(each.keyblock.data)
    raise AssertionError(cache)


def long_term_key(realm, name):
    salt = f"{realm.name}{name}"
    return string_to_key(AES_256, PASSWORDS[name], salt).contents


def spellings(secret):
    """Return how a secret may be written down."""
    return {
        secret, secret[::-1], hexlify(secret), hexlify(secret).upper(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        secret.decode("latin-1").encode("utf-16-le"),
    }  # fmt: skip


def test_neither_the_store_nor_the_trail_holds_a_password_or_a_key(
    holder, realm, tmp_path
):
    key = ticket(realm, tmp_path / "blob")
    assert 0 == holder.tell("set", PASSWORDS["bob"], "bob")
    assert 1 == holder.tell("password", "bob", PASSWORDS["bob"])
    assert 2 == holder.tell("password", f"alice@{realm.name}", PASSWORDS["alice"])
    assert 3 == holder.tell("ticket", tmp_path / "blob")
    assert 3 == holder.tell("password", "bob", f"{PASSWORDS['bob']}, mistyped")
    secrets = [key, *(password.encode() for password in PASSWORDS.values())]
    secrets += [long_term_key(realm, name) for name in PASSWORDS]
    for _ in range(2):  # while sessions are open, and after they ended
        read = 0
        for path, content in holder.files():
            read += len(content)
            for secret in secrets:
                assert not any(each in content for each in spellings(secret)), path
        assert read > 10_000
        assert 0 == holder.tell("end")


def test_memory_holds_the_keys_of_open_sessions_and_of_no_others(
    holder, realm, tmp_path
):
    keys = [ticket(realm, tmp_path / f"blob{number}") for number in range(3)]
    for number in range(3):
        holder.tell("ticket", tmp_path / f"blob{number}")
    for key in keys:
        assert holder.count(key) > 0, "what a session may show has to be somewhere"
    assert 0 == holder.tell("end")
    for key in keys:
        assert 0 == holder.count(key)


def test_memory_keeps_no_password_of_those_who_logged_on(holder, realm):
    """Nothing keeps one; memory that a library freed may hold the last few still.

    Argon2's and Kerberos's libraries copy what they are given, and wipe not all of it
    (docs/limitations.md). A program that kept passwords would have all of these.
    """
    alice, bob = f"alice@{realm.name}", "bob"
    holder.tell("set", PASSWORDS["bob"], "bob")
    guesses = {
        alice: [f"not it, but near: {number:02} wolves" for number in range(32)],
        bob: [f"not it, but near: {number:02} eagles" for number in range(12)],
    }
    for name, asked in guesses.items():
        for guess in asked:
            holder.tell("password", name, guess)
        holder.tell("password", name, PASSWORDS[name.partition("@")[0]])
    assert 0 == holder.tell("end")
    for asked in guesses.values():
        kept = [guess for guess in asked if holder.count(guess.encode())]
        assert len(kept) < len(asked) / 3, kept
    for name in PASSWORDS:
        assert 0 == holder.count(long_term_key(realm, name))
