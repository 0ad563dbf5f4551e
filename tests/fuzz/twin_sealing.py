"""The twin of what chain and tree hash beside Python, at random; `twin.py` runs it."""

from __future__ import annotations

import random

_EDGES = (0, 1, 2, 3, 7, (1 << 31) - 1, (1 << 62) - 1, (1 << 63) - 2)
_ENDS = (0, 1, 2, 54, 55, 56, 63, 64, 65, 119, 120, 65_536)


def compare(source: random.Random) -> None:
    """Have both go on with one trail and one tree, and with what is none."""
    from stead.ledger.chain import pure_digests
    from stead.ledger.tree import CompactRange, pure_grown
    from stead.ledger.twins import SEALING

    if SEALING is None:
        return  # there is no OpenSSL 3
    size = source.choice((source.choice(_EDGES), source.getrandbits(62)))
    bodies = [_bytes(source) for _ in range(source.randrange(5))]
    if size + len(bodies) >= 1 << 63:
        bodies = []
    peaks = tuple(source.randbytes(32) for _ in range(size.bit_count()))
    edge = CompactRange(size, peaks).to_bytes()
    digest = source.randbytes(32)
    expected = pure_digests(size, digest, bodies), pure_grown(edge, bodies)
    found = SEALING.digests(size, digest, bodies), SEALING.grown(edge, bodies)
    if expected != found:
        raise SystemExit(f"twin and Python differ: {size}, {bodies}")
    _refuse(source, SEALING, edge, digest)


def _refuse(source: random.Random, twin, edge: bytes, digest: bytes) -> None:
    """Hand it what is no edge, no digest or no record."""
    bent = source.choice((edge[:-1], edge + bytes(32), b"\xff" * 8, b"", 7))
    part = source.choice((digest[:-1], digest + b"0", "text"))
    for ask in (
        lambda: twin.grown(bent, [b"body"]),
        lambda: twin.grown(edge, (b"body",)),
        lambda: twin.grown(edge, [b"body", "text"]),
        lambda: twin.digests(1, part, [b"body"]),
        lambda: twin.digests("1", digest, [b"body"]),
        lambda: twin.digests(1, digest, [b"body", None]),
    ):
        try:
            ask()
        except (TypeError, ValueError):
            continue
        raise SystemExit(f"the twin takes {bent!r} or {part!r}")


def _bytes(source: random.Random) -> bytes:
    size = source.choice((source.choice(_ENDS), source.randrange(400)))
    return source.randbytes(size)
