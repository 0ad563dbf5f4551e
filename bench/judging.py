"""The judge: natively, in pure Python, and whole decisions; beside other engines.

"Nothing remembered" is asked for many equal tokens in turn, so that no descriptor has
the answer; what it keeps of its list, and a token of itself, is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import peers
from bench import Bench

from stead import AccessToken, Acl, FileRights, SecurityDescriptor, Sid
from stead.decision.access_check import access_check
from stead.decision.fast import has_twin, is_granted, pure_is_granted
from stead.model.access_mask import FILE_MAPPING
from stead.model.ace import AccessAllowedAce
from stead.model.token import TokenGroup

DOMAIN = Sid.from_string("S-1-5-21-111-222-333")
READ = int(FileRights.READ_DATA)
_SIZES = (1, 10, 100, 1000)
_AT_ONCE = 64


def measure(bench: Bench) -> None:
    """Measure lists whose last entry decides, for a user in 30 groups."""
    for name in peers.absent():
        bench.leave_out(name, "it is not importable")
    if not has_twin():
        bench.leave_out("the twin", "it was not built")
    for size in _SIZES:
        _measure(bench, size)
    for door, name in ((is_granted, "twin"), (pure_is_granted, "pure")):
        what, who = make_descriptor(10), [make_token()] * _AT_ONCE
        again = _often(door, who, what)
        again()
        bench.compare(
            f"is_granted ({name}), asked again, 10 entries",
            again,
            to=("a Python call that does nothing", _often(_nothing, who, what)),
            each=_AT_ONCE,
        )


def _measure(bench: Bench, size: int) -> None:
    entries = f"{size} entr{'y' if size == 1 else 'ies'}"
    who = [make_token() for _ in range(_AT_ONCE)]
    others = {
        name: _repeated(ask)
        for name, ask in peers.peers(who[0], make_descriptor(size), READ).items()
    }
    samba = {name: ask for name, ask in others.items() if name == "Samba"}
    if has_twin():
        twin = _often(is_granted, who, make_descriptor(size))
        bench.compare_all(f"is_granted (twin), {entries}", twin, others, each=_AT_ONCE)
    # Its own tokens: the twin keeps something else of them.
    who = [make_token() for _ in range(_AT_ONCE)]
    pure = _often(pure_is_granted, who, make_descriptor(size))
    bench.compare_all(f"is_granted (pure), {entries}", pure, samba, each=_AT_ONCE)
    who = [make_token() for _ in range(_AT_ONCE)]
    whole = _often(access_check, who, make_descriptor(size))
    bench.compare_all(f"access_check, {entries}", whole, samba, each=_AT_ONCE)


def make_token(user: int = 1001) -> AccessToken:
    """Return a user in 30 groups."""
    groups = tuple(TokenGroup(DOMAIN.with_rid(5000 + n)) for n in range(30))
    return AccessToken(DOMAIN.with_rid(user), groups)


def make_descriptor(entries: int) -> SecurityDescriptor:
    """Return one whose last entry alone is about the token's user."""
    others = [DOMAIN.with_rid(90_000 + n) for n in range(entries - 1)]
    trustees = [*others, DOMAIN.with_rid(1001)]
    return SecurityDescriptor(
        owner=DOMAIN.with_rid(500),
        group=DOMAIN.with_rid(513),
        dacl=Acl(tuple(AccessAllowedAce(trustee, READ) for trustee in trustees)),
    )


def _often(
    door: Callable[..., Any], tokens: Sequence[AccessToken], what: SecurityDescriptor
) -> Callable[[], None]:
    def ask() -> None:
        for token in tokens:
            door(token, what, READ, FILE_MAPPING)

    return ask


def _repeated(act: Callable[[], object]) -> Callable[[], None]:
    def ask() -> None:
        for _ in range(_AT_ONCE):
            act()

    return ask


def _nothing(
    token: AccessToken, descriptor: SecurityDescriptor, desired: int, mapping: object
) -> None:
    pass
