"""RFC 6962 2.1 word for word: the tree as a recursion over a list, slow and plain.

By another hand than `stead.ledger.tree`, which it knows nothing of.
"""

from hashlib import sha256


def mth(entries):
    """The Merkle tree hash of a list (2.1)."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = _k(len(entries))
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m, entries):
    """The audit path of entry m (2.1.1)."""
    if len(entries) == 1:
        return []
    k = _k(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m, entries):
    """The consistency proof of the first m entries (2.1.2)."""
    return _subproof(m, entries, True)


def _subproof(m, entries, is_known):
    if m == len(entries):
        return [] if is_known else [mth(entries)]
    k = _k(len(entries))
    if m <= k:
        return [*_subproof(m, entries[:k], is_known), mth(entries[k:])]
    return [*_subproof(m - k, entries[k:], False), mth(entries[:k])]


def _k(n):
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k
