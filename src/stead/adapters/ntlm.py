"""NTLM, for clients that have no Kerberos: only where an operator says so ([MS-NLMP]).

    package = NtlmPackage("EXAMPLE")

Passwords' hashes stand in the file that `NTLM_USER_FILE` names, as pyspnego and
gss-ntlmssp read it (`smbpasswd` or `DOMAIN:user:password` lines). NTLM proves neither
the server to the client nor the time, so a message can be sent on by whoever gets it:
it is taken over a channel that it is bound to. What pyspnego lets pass is refused here:

- NTLMv1 and LM responses, whose keys are found in hours;
- a response without an integrity code over all messages, from which flags are stripped;
- a response that is bound to no channel, or to an empty one;
- a name that is another's in capitals: the library would compare that one's password.

A response lets its sender try a password, so a server counts it as one (docs/adr/0117).
It is never taken over HTTP: that gate takes one message, and NTLM needs two.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from stead.adapters.extras import require_extra

require_extra("ntlm", "spnego")

import spnego
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import InvalidTokenError

from stead.adapters.private_files import require_private
from stead.authority.guesses import Counting
from stead.authority.names import name_key
from stead.authority.packages import Authenticated, ChannelBinding, Counted, Step
from stead.errors import (
    EvidenceRefusedError,
    PasswordMismatchError,
    SteadError,
    UnsafeConfigurationError,
)
from stead.model.token import ImpersonationLevel

SIGNATURE: Final = b"NTLMSSP\0"
_USERS: Final = "NTLM_USER_FILE"
_AUTHENTICATE: Final = 3
_FIELD: Final = struct.Struct("<HHI")
_NT, _DOMAIN, _USER, _FLAGS = 20, 28, 36, 60
_PROOF: Final = 16
_BEFORE_PAIRS: Final = 28
_PAIR: Final = struct.Struct("<HH")
_END, _BITS, _BINDINGS = 0, 6, 10
_HAS_CODE: Final = 0x2
_UNICODE: Final = 0x1
_ANONYMOUS: Final = 0x800
_IDENTIFY: Final = 0x0010_0000
_LONGEST: Final = 64 * 1024
_MOST_ROUNDS: Final = 4
_T = TypeVar("_T")


class NtlmPackage:
    """Authenticates accounts of one domain by what they know of their password."""

    def __init__(self, domain: str, *, allow_unbound: bool = False) -> None:
        """Describe it.

        Args:
            domain: whose accounts it knows, as the file of `NTLM_USER_FILE` spells it.
            allow_unbound: whether it is taken over channels that cannot be told, where
                whoever gets a client's message can send it on.

        Raises:
            UnsafeConfigurationError: the file is not named, or others have it.
        """
        named = os.environ.get(_USERS)
        if not named:
            raise UnsafeConfigurationError(
                f"`{_USERS}` names no file", advice="NTLM's accounts stand in it"
            )
        require_private(Path(named))
        self.domain: Final = domain
        self._allow_unbound: Final = allow_unbound
        self._counting: Counting | None = None

    @property
    def name(self) -> str:
        """What gates and records call it."""
        return "ntlm"

    def begin(self, binding: ChannelBinding | None) -> NtlmExchange:
        """Begin with a client."""
        is_allowed = binding is not None or self._allow_unbound
        return NtlmExchange(self.domain, binding, self._counting, is_allowed=is_allowed)

    def counted_by(self, counting: Counting) -> NtlmPackage:
        """Return the same, whose clients' guesses are counted."""
        made = copy(self)
        made._counting = counting  # noqa: SLF001 - its own copy
        return made


class NtlmExchange:
    """One client that shows what it knows of its password."""

    def __init__(
        self,
        domain: str,
        binding: ChannelBinding | None,
        counting: Counting | None,
        *,
        is_allowed: bool,
    ) -> None:
        self._domain: Final = domain
        self._is_allowed: Final = is_allowed
        self._binding: Final = _gss_binding(binding)
        self._counting: Final = counting
        self._rounds_left = _MOST_ROUNDS
        self._context: Any = None
        self._counted = Counted()

    @property
    def counted(self) -> Counted:
        """What it has counted by now."""
        return self._counted

    def step(self, blob: bytes) -> Step:
        """Take the client's next blob.

        Raises:
            EvidenceRefusedError: it proves nothing; the exchange is over.
            PasswordMismatchError: its response is not that of the account's password.
            AccountLockedOutError: others of the name were not, too often.
        """
        if not 0 < len(blob) <= _LONGEST or self._rounds_left <= 0:
            self.close()
            raise EvidenceRefusedError("there is no message, or too much of it")
        if not self._is_allowed:
            self.close()
            raise EvidenceRefusedError("NTLM needs a channel that it can be bound to")
        self._rounds_left -= 1
        try:
            shown = self._refusing(partial(_shown, blob))
            if shown is not None:
                compare = partial(self._compared, blob, shown)
                return self._count(shown, partial(self._refusing, compare))
            if self._context is None:
                self._context = self._refusing(partial(_acceptor, blob, self._binding))
            return Step(self._refusing(partial(self._context.step, blob)) or b"")
        except SteadError:
            self.close()
            raise

    def _count(self, shown: _Shown, compare: Callable[[], Step]) -> Step:
        """Have a password compared, and count that; raises why it is not right."""
        if self._context is None:
            # Nothing is compared: over HTTP nobody is locked by what can let nobody in.
            raise EvidenceRefusedError("the client answers before it was asked")
        shown.require_strength(self._binding)
        counting = self._counting
        if counting is None:
            return compare()
        name = f"{shown.user}@{self._domain}"
        fit = partial(_fit, counting)
        attempt = counting.guesses.attempt(name, compare, fit)
        self._counted = Counted(attempt.shown, attempt.locks, attempt.delay)
        return attempt.require()

    def _compared(self, blob: bytes, shown: _Shown) -> Step:
        context = self._context
        try:
            reply = context.step(blob) or b""
        except InvalidTokenError as error:
            why = type(error).__name__
            raise PasswordMismatchError(f"NTLM refuses the response: {why}") from None
        if not context.complete:
            raise EvidenceRefusedError("the client has more to say after its proof")
        return Step(reply, self._client(context, shown))

    @staticmethod
    def _refusing(act: Callable[[], _T]) -> _T:
        """Do what trusts what clients send; raises `EvidenceRefusedError`."""
        try:
            return act()
        except SteadError:
            raise
        except Exception as error:  # noqa: BLE001 - pyspnego trusts what clients send
            why = type(error).__name__
        raise EvidenceRefusedError(f"NTLM refuses the message: {why}")

    def close(self) -> None:
        """Forget it; again does nothing."""
        self._context = None
        self._rounds_left = 0

    def _client(self, context: Any, shown: _Shown | None) -> Authenticated:
        self.close()
        if shown is None or context.negotiated_protocol != "ntlm":
            raise EvidenceRefusedError("another mechanism than NTLM was used")
        if context.client_principal != f"{shown.domain}\\{shown.user}":
            raise EvidenceRefusedError("the client was taken for somebody else")
        if shown.domain.casefold() != self._domain.casefold():
            raise EvidenceRefusedError("the client is of another domain")
        level = ImpersonationLevel.IMPERSONATION
        if shown.flags & _IDENTIFY:
            level = ImpersonationLevel.IDENTIFICATION
        return Authenticated(
            package="ntlm",
            issuer=self._domain,
            # NTLM tells names apart without case, and takes them as they are typed.
            name=shown.user.casefold(),
            level=level,
            is_bound=self._binding is not None,
        )


def _fit(counting: Counting, step: Step) -> Step:
    """Return the last step of a client that may log on; raises if it may not."""
    if step.client is not None:
        counting.require_fit(step.client)
    return step


class _Shown(NamedTuple):
    """What an AUTHENTICATE message says ([MS-NLMP] 2.2.1.3)."""

    user: str
    domain: str
    flags: int
    pairs: Mapping[int, bytes]

    def require_strength(self, binding: GssChannelBindings | None) -> None:
        """Refuse what pyspnego lets pass; raises `EvidenceRefusedError`."""
        if self.flags & _ANONYMOUS or not self.user:
            raise EvidenceRefusedError("the client has no name")
        # pyspnego finds and hashes it in capitals: a dotless i is an i there.
        if name_key(self.user.upper()) != name_key(self.user):
            raise EvidenceRefusedError("the client's name is another's in capitals")
        if not int.from_bytes(self.pairs.get(_BITS, b""), "little") & _HAS_CODE:
            raise EvidenceRefusedError("nothing covers all messages of the exchange")
        if binding is not None:
            wanted = hashlib.md5(binding.pack(), usedforsecurity=False).digest()
            found = self.pairs.get(_BINDINGS, b"")
            if not hmac.compare_digest(found, wanted):
                raise EvidenceRefusedError("the message is not bound to the channel")


def _shown(blob: bytes) -> _Shown | None:
    """Return what a message shows, wrapped or not; None if it is no last one.

    Raises:
        EvidenceRefusedError: there are two messages in it, or a weak response.
        ValueError, struct.error: it is malformed.
    """
    start = blob.find(SIGNATURE)
    # What is looked at here has to be what pyspnego looks at.
    if start < 0 or blob.count(SIGNATURE) != 1:
        raise EvidenceRefusedError("there is no message of NTLM's, or more than one")
    message = blob[start:]
    (kind,) = struct.unpack_from("<I", message, len(SIGNATURE))
    if kind != _AUTHENTICATE:
        return None
    response = _field(message, _NT)
    # NTLMv1's has 24 bytes, and LM's is elsewhere.
    if len(response) < _PROOF + _BEFORE_PAIRS + _PAIR.size:
        raise EvidenceRefusedError("the client's response is weaker than NTLMv2")
    (flags,) = struct.unpack_from("<I", message, _FLAGS)
    encoding = "utf-16-le" if flags & _UNICODE else "ascii"
    return _Shown(
        user=_field(message, _USER).decode(encoding),
        domain=_field(message, _DOMAIN).decode(encoding),
        flags=flags,
        pairs=_pairs(response[_PROOF + _BEFORE_PAIRS :]),
    )


def _field(message: bytes, at: int) -> bytes:
    size, _, start = _FIELD.unpack_from(message, at)
    if start + size > len(message):
        raise EvidenceRefusedError("a field does not fit its message")
    return message[start : start + size]


def _pairs(binary: bytes) -> Mapping[int, bytes]:
    """Return a response's attributes ([MS-NLMP] 2.2.2.1), each of which stands once."""
    found: dict[int, bytes] = {}
    at = 0
    while True:
        kind, size = _PAIR.unpack_from(binary, at)
        at += _PAIR.size
        if kind == _END:
            return found
        if kind in found or at + size > len(binary):
            raise EvidenceRefusedError("an attribute stands twice, or does not fit")
        found[kind] = binary[at : at + size]
        at += size


def _acceptor(blob: bytes, binding: GssChannelBindings | None) -> Any:
    """Return what reads a client's messages, by how it wraps the first of them."""
    is_bare = blob.startswith(SIGNATURE)
    # The library in Python: none of the machine's mechanisms, nor its own keys.
    options = spnego.NegotiateOptions.use_ntlm
    if not is_bare:
        options |= spnego.NegotiateOptions.use_negotiate
    return spnego.server(
        protocol="ntlm" if is_bare else "negotiate",
        channel_bindings=binding,
        options=options,
    )


def _gss_binding(binding: ChannelBinding | None) -> GssChannelBindings | None:
    if binding is None:
        return None
    told = f"{binding.kind}:".encode() + binding.data
    return GssChannelBindings(application_data=told)
