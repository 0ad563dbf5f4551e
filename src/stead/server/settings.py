"""What a server is told when it is opened."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

from stead.adapters.store.reserve import DEFAULT_SIZE
from stead.authority.account_policy import AccountPolicy
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import AuthenticationPackage, PasswordAuthority
from stead.authority.tokens import SERVER_HOLDS
from stead.errors import InvalidRequestError
from stead.ledger.checkpoint import VerifierKey
from stead.ledger.segments import SegmentPolicy
from stead.model.arguments import require_kind, several
from stead.model.delegation_policy import UNCONSTRAINED, DelegationPolicy
from stead.model.impersonation_policy import AS_WINDOWS, ImpersonationPolicy
from stead.model.posix_identity import MAXIMUM_ID
from stead.model.privilege import Privilege
from stead.privileged.system_uids import DEFAULT_GUARD_UID
from stead.server.enforcement import Enforcement
from stead.server.sinks import MakeSink
from stead.server.store_packages import Packages, StorePackage
from stead.server.workers.workers import WorkerLimits

PROCESSES_PER_CLIENT: Final = 64
"""How many processes one client may have at once, unless a server says otherwise."""

_NONE: Final = type(None)
_PATH: Final = (str, os.PathLike)
_KINDS: Final[tuple[tuple[str, tuple[type, ...], str], ...]] = (
    ("name", (str,), 'a name is text: `ProtectedServer("notes")`'),
    ("store", _PATH, 'name a file, or leave it out for ":memory:"'),
    ("enforcement", (Enforcement, _NONE),
     "write `Enforcement.KERNEL` or `Enforcement.TOKEN`, or leave it out"),
    ("guard_uid", (int,), "a uid is a number"),
    ("kernel_threads", (int,), "say how many"),
    ("handler_threads", (int,), "say how many"),
    ("processes_per_client", (int,), "say how many"),
    ("worker_limits", (WorkerLimits,), "write `WorkerLimits(...)`"),
    ("lockout", (LockoutPolicy,), "write `LockoutPolicy(...)`"),
    ("account_policy", (AccountPolicy,), "write `AccountPolicy(...)`"),
    ("impersonation", (ImpersonationPolicy, *_PATH), "name a file of rules"),
    ("broker", (*_PATH, _NONE), "name the broker's socket"),
    ("trail_reserve", (int,), "say how many bytes"),
    ("witness", (*_PATH, Sequence, _NONE), "name its socket, or a command's words"),
    ("witness_key", (str,), "give what `stead witness key` printed"),
    ("witness_seconds", (int, float), "say how many seconds"),
    ("segments", (SegmentPolicy,), "write `SegmentPolicy(...)`"),
)  # fmt: skip
"""What each is, and what would be one."""
_SEVERAL: Final[tuple[tuple[str, type | tuple[type, ...], str], ...]] = (
    ("privileges", Privilege, "write `privileges=(Privilege.TCB, ...)`"),
    ("allowed_system_uids", int, "write `allowed_system_uids=[33]`"),
    ("worker_modules", str, 'write `worker_modules=("app.jobs",)`'),
    ("sinks", object, 'write `sinks=["syslog+tls://..."]`'),
    ("packages", (AuthenticationPackage, StorePackage),
     "write `packages=[KerberosPackage(service)]`, or whichever are meant"),
    ("password_authorities", PasswordAuthority,
     'write `password_authorities=[KerberosPasswords(service, "AD.EXAMPLE")]`'),
    ("issuers", Issuer, 'write `issuers=[Issuer("AD.EXAMPLE", ...)]`'),
    ("delegation", str, 'write `delegation=["https://..."]`'),
)  # fmt: skip


class ServerOptions(TypedDict, total=False):
    """What a server may be told beside its name and its store; see `Settings`."""

    enforcement: Enforcement | None
    privileges: tuple[Privilege, ...]
    guard_uid: int
    allowed_system_uids: Collection[int]
    kernel_threads: int
    handler_threads: int
    worker_modules: Collection[str]
    worker_limits: WorkerLimits
    processes_per_client: int
    lockout: LockoutPolicy
    account_policy: AccountPolicy
    records_unknown_names: bool
    impersonation: ImpersonationPolicy | str | os.PathLike[str]
    broker: str | os.PathLike[str] | None
    broker_passwords: bool
    trail_reserve: int
    witness: str | os.PathLike[str] | Sequence[str] | None
    witness_key: str
    witness_seconds: float
    witness_halts: bool
    segments: SegmentPolicy
    sinks: Collection[str | MakeSink]
    delegation: Collection[str] | None
    packages: Packages
    password_authorities: Collection[PasswordAuthority]
    issuers: Collection[Issuer]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told.

    Attributes:
        name: 1 to 64 printable letters.
        store: a path, or `:memory:` for what ends with this process.
        enforcement: None for the best this machine has; `Enforcement.KERNEL` to insist
            on it; `Enforcement.TOKEN` to do without.
        privileges: what the server's own token holds.
        guard_uid: the reserved real uid of threads that impersonate.
        allowed_system_uids: system uids that may be impersonated; never 0.
        kernel_threads: how many threads `server.executor()` has.
        handler_threads: how many requests run at once.
        worker_modules: modules that clients' workers find loaded. They are imported by
            root, so that a client need not be able to read them.
        worker_limits: how much clients' workers may cost.
        processes_per_client: how many processes one client may have at once.
        lockout: when wrong passwords lock an account, and for how long.
        account_policy: how old passwords may be, and what ends sessions.
        records_unknown_names: whether the trail has names that nobody has, when they
            fail to log on; a password that was typed as one is among them.
        impersonation: who may be acted as, for what; rules, or a file of them
            (`stead.server.impersonation_rules`), which is read once.
        broker: the socket of a broker, by which a server that is not root has files
            opened, functions run and programs started as its clients; None for none.
        broker_passwords: whether a password that was right here is shown to the broker,
            too, where it must be that of the host's account: then things can be done as
            the account on the machine.
        trail_reserve: bytes that are kept on the store's disk, so that administrators
            can still log on and make room when it is full; 0 for none.
        witness: the socket of the trail's witness, or the words of a command that
            speaks with one; None for none.
        witness_key: its public key, as `stead witness key` prints it.
        witness_seconds: how often new records are handed to it.
        witness_halts: whether the server stops acting when the witness has signed
            another history than the store's.
        segments: when a segment of the trail is sealed.
        sinks: where the trail is sent, each a URL (`stead.server.sinks.read_sink`) or a
            function that makes a `stead.ledger.sinks.Sink`.
        packages: what clients may show who they are by, the preferred first; such as
            `stead.adapters.scram.Scram()` for the store's own accounts.
        password_authorities: who knows the passwords of `alice@DOMAIN`.
        issuers: who is believed about clients, and in what.
        delegation: which services of other machines may be reached as clients, each as
            `https://files.example` (`stead.model.delegation_policy`); None for every
            one that a client's credentials open. What may be shown a password is named
            so: `postgres+scram://db.example`, `smb+ntlm://nas.example`.
    """

    name: str
    store: str | os.PathLike[str] = ":memory:"
    enforcement: Enforcement | None = None
    privileges: tuple[Privilege, ...] = SERVER_HOLDS
    guard_uid: int = DEFAULT_GUARD_UID
    allowed_system_uids: Collection[int] = ()
    kernel_threads: int = 4
    handler_threads: int = 16
    worker_modules: Collection[str] = ()
    worker_limits: WorkerLimits = field(default_factory=WorkerLimits)
    processes_per_client: int = PROCESSES_PER_CLIENT
    lockout: LockoutPolicy = field(default_factory=LockoutPolicy)
    account_policy: AccountPolicy = field(default_factory=AccountPolicy)
    records_unknown_names: bool = False
    impersonation: ImpersonationPolicy | str | os.PathLike[str] = AS_WINDOWS
    broker: str | os.PathLike[str] | None = None
    broker_passwords: bool = False
    trail_reserve: int = DEFAULT_SIZE
    witness: str | os.PathLike[str] | Sequence[str] | None = None
    witness_key: str = ""
    witness_seconds: float = 1.0
    witness_halts: bool = True
    segments: SegmentPolicy = field(default_factory=SegmentPolicy)
    sinks: Collection[str | MakeSink] = ()
    packages: Packages = ()
    password_authorities: Collection[PasswordAuthority] = ()
    issuers: Collection[Issuer] = ()
    delegation: Collection[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be meant.

        Raises:
            InvalidRequestError: something is nothing of the kind, one stands in place
                of several, or a number is none that could be; or a broker does not go
                with the rest, nor a witness.
            InvalidCheckpointError: the witness's key is none.
        """
        self._require_kinds()
        self._require_numbers()
        self.delegation_policy()
        if self.trail_reserve < 0:
            raise InvalidRequestError("what is kept for the trail has a size in bytes")
        if self.broker is not None:
            self._require_brokered()
        self._require_witness_with_key()

    def delegation_policy(self) -> DelegationPolicy:
        """Return which services may be reached; raises `InvalidRequestError`."""
        if self.delegation is None:
            return UNCONSTRAINED
        return DelegationPolicy.of(self.delegation)

    def _require_kinds(self) -> None:
        """Refuse what callers without a type checker mistake."""
        for what, kinds, advice in _KINDS:
            require_kind(what, getattr(self, what), kinds, advice)
        for what, kind, advice in _SEVERAL:
            if getattr(self, what) is None and what == "delegation":
                continue
            # What can be gone through once is empty the next time.
            kept = tuple(several(what, getattr(self, what), kind, advice))
            object.__setattr__(self, what, kept)

    def _require_numbers(self) -> None:
        for what in ("kernel_threads", "handler_threads", "processes_per_client"):
            if getattr(self, what) < 1:
                raise InvalidRequestError(f"`{what}` is at least one")
        for uid in (self.guard_uid, *self.allowed_system_uids):
            if not 0 < uid <= MAXIMUM_ID:
                raise InvalidRequestError(
                    f"`{uid}` is nobody whom a thread may become",
                    advice="a uid is a number above 0, which is root's",
                )

    def _require_witness_with_key(self) -> None:
        if bool(self.witness) != bool(self.witness_key):
            raise InvalidRequestError(
                "a witness and its public key go together",
                advice="`stead witness key` prints the key: give it as `witness_key`",
            )
        if self.witness_key:
            VerifierKey.from_string(self.witness_key)
        if not self.witness_seconds > 0:
            raise InvalidRequestError("a witness is asked in an interval above 0")

    def _require_brokered(self) -> None:
        if self.enforcement is Enforcement.TOKEN:
            raise InvalidRequestError(
                "token enforcement needs no broker",
                advice="leave out `broker`, or `enforcement`",
            )
        if self.worker_modules:
            raise InvalidRequestError(
                "a broker loads no module that a server names",
                advice="name it among `worker_modules` of the broker's own file",
            )
