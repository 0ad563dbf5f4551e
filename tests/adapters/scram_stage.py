"""A store whose accounts log on by SCRAM, and clients of it."""

from __future__ import annotations

from argon2 import PasswordHasher

from stead.adapters.argon2 import Argon2Verifier
from stead.adapters.scram import Scram
from stead.adapters.scram_client import ScramClient
from stead.authority.lockout import Lockout, LockoutPolicy
from stead.authority.logon import Logon
from stead.codec import scram
from stead.errors import SteadError
from stead.model.secret import Secret

RIGHT = "tiger"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Counting:
    """Passes every call on, and writes down which they were."""

    def __init__(self, target, calls):
        self._target, self._calls = target, calls

    def __getattr__(self, name):
        method = getattr(self._target, name)

        def call(*arguments, **named):
            self._calls.append(name)
            return method(*arguments, **named)

        return call


class Stage:
    """Accounts alice, disabled, denied, locked (all with a password) and without."""

    def __init__(self, store, terms=None, policy=None):
        self.store = store
        self.terms = terms or Scram(iterations=scram.MINIMUM_ITERATIONS)
        self.calls = []
        self.now = 1
        self.credentials = Counting(store.credentials, self.calls)
        self.policy = policy or LockoutPolicy(threshold=3)
        self.logon = self.make_logon(self.terms)
        self.package = self.terms.over(self.logon, self.credentials)

    def make_logon(self, terms):
        return Logon(
            Counting(self.store.accounts, self.calls),
            self.credentials,
            verifier=Argon2Verifier(CHEAP),
            host=lambda _uid: None,
            lockout=Lockout(self.credentials, self.policy, lambda: self.now),
            monotonic=lambda: self.now,
            scram=lambda: terms,
        )

    def furnish(self):
        for name in ("alice", "disabled", "denied", "locked"):
            account = self.add(name)
            if name == "disabled":
                self.store.accounts.set_account_disabled(account.sid, is_disabled=True)
            if name == "denied":
                self.store.accounts.add_right(account.sid, "SeDenyNetworkLogonRight")
        self.store.accounts.add_account("without", None, None)
        for _ in range(self.policy.threshold):
            self.failure("locked", "guess")
        self.calls.clear()
        return self

    def add(self, name, secret=RIGHT):
        account = self.store.accounts.add_account(name, None, None)
        self.logon.set_password(account.sid, Secret(secret))
        return account

    def client(self, name, secret=RIGHT, binding=None, **how):
        return ScramClient(name, Secret(secret), binding, **how)

    def talk(self, name, secret=RIGHT, client_binding=None, binding=None, **how):
        """Let a client and the server talk; returns who the server says it is."""
        client = self.client(name, secret, client_binding, **how)
        exchange = self.package.begin(binding)
        challenge = exchange.step(client.first()).reply
        step = exchange.step(client.answer(challenge))
        client.require_server(step.reply)
        return step.client

    def failure(self, *arguments, **named):
        """Return why a client is not let in."""
        try:
            found = self.talk(*arguments, **named)
        except SteadError as error:
            return error
        raise AssertionError(f"{found} was let in")

    def challenge(self, name):
        """Return salt and count that a name is asked for."""
        message = scram.write_client_first(name, "abc", "n")
        blob = f"{message.header}{message.bare}".encode()
        asked = scram.read_server_first(self.package.begin(None).step(blob).reply)
        return asked.salt, asked.iterations
