"""Through which realms a client came, by the ticket that it showed (RFC 4120 2.7).

A realm on the way says who the clients of those before it are. The KDC of the service
decides which realms may, by its own `krb5.conf` or, where that says nothing, by how
realms are called: then `COM` may say who is `alice@EXAMPLE.COM`. It marks the ticket as
looked at, and the library asks no more. GSS-API does not tell the way; the ticket does.

So the ticket is opened again, by the same keys, after the library has accepted it.
Which one of a message's parts the library took for the ticket is not guessed: every
ticket in it that these keys open counts, the right one among them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from stead.codec.transited import read_transited
from stead.errors import EnforcementUnavailableError, EvidenceRefusedError

_COMPRESSED: Final = 1  # DOMAIN-X500-COMPRESS, RFC 4120 8.1
_TAGS: Final = frozenset(b"\x61\x7f")  # [APPLICATION 1], short and long (X.690 8.1.2)
_MOST_PLACES: Final = 8192
_POINTER, _CODE = ctypes.c_void_p, ctypes.c_int32


class _Data(ctypes.Structure):
    _fields_ = (
        ("magic", _CODE), ("length", ctypes.c_uint), ("data", _POINTER),
    )  # fmt: skip


class _Key(ctypes.Structure):
    _fields_ = (
        ("magic", _CODE), ("kind", _CODE), ("length", ctypes.c_uint),
        ("contents", _POINTER),
    )  # fmt: skip


class _Entry(ctypes.Structure):
    """A `krb5_keytab_entry`."""

    _fields_ = (
        ("magic", _CODE), ("principal", _POINTER), ("timestamp", _CODE),
        ("version", ctypes.c_uint), ("key", _Key),
    )  # fmt: skip


class _Sealed(ctypes.Structure):
    """A `krb5_enc_data`."""

    _fields_ = (
        ("magic", _CODE), ("kind", _CODE), ("version", ctypes.c_uint),
        ("content", _Data),
    )  # fmt: skip


class _Opened(ctypes.Structure):
    """A `krb5_enc_tkt_part`, as far as it is read."""

    _fields_ = (
        ("magic", _CODE), ("flags", _CODE), ("session", _POINTER),
        ("client", _POINTER), ("transited_magic", _CODE),
        ("transited_kind", ctypes.c_ubyte), ("transited", _Data),
    )  # fmt: skip


class _Ticket(ctypes.Structure):
    """A `krb5_ticket`."""

    _fields_ = (
        ("magic", _CODE), ("server", _POINTER), ("sealed", _Sealed),
        ("opened", ctypes.POINTER(_Opened)),
    )  # fmt: skip


_FUNCTIONS: Final[dict[str, tuple[Any, ...]]] = {
    "krb5_init_context": (_CODE, _POINTER),
    "krb5_free_context": (None, _POINTER),
    "krb5_kt_resolve": (_CODE, _POINTER, ctypes.c_char_p, _POINTER),
    "krb5_kt_close": (_CODE, _POINTER, _POINTER),
    "krb5_kt_start_seq_get": (_CODE, _POINTER, _POINTER, _POINTER),
    "krb5_kt_next_entry": (_CODE, _POINTER, _POINTER, _POINTER, _POINTER),
    "krb5_kt_end_seq_get": (_CODE, _POINTER, _POINTER, _POINTER),
    "krb5_free_keytab_entry_contents": (_CODE, _POINTER, _POINTER),
    "krb5_decode_ticket": (_CODE, _POINTER, _POINTER),
    "krb5_decrypt_tkt_part": (_CODE, _POINTER, _POINTER, _POINTER),
    "krb5_free_ticket": (None, _POINTER, _POINTER),
}


def realms_between(messages: Iterable[bytes], keytab: str) -> frozenset[str]:
    """Return the realms through which a client came, beside its own and the service's.

    Args:
        messages: what it showed, and the library accepted.
        keytab: the keys by which the library accepted it, such as `FILE:/etc/...`.

    Raises:
        EvidenceRefusedError: they are not told.
        EnforcementUnavailableError: the library or the keys are not there.
    """
    with _Opener.of(keytab) as opener:
        ways = [way for message in messages for way in opener.ways_in(message)]
    if not ways:
        raise EvidenceRefusedError("the client's ticket cannot be read again")
    return frozenset().union(*ways)


class _Opener:
    """What opens tickets: the library, and the keys of a file."""

    def __init__(self, library: Any, context: ctypes.c_void_p) -> None:
        self._library: Final = library
        self._context: Final = context
        self._entries: list[_Entry] = []

    @classmethod
    @contextmanager
    def of(cls, keytab: str) -> Iterator[Self]:
        """Open the keys, and close them again."""
        library, context = _library(), ctypes.c_void_p()
        _check(library.krb5_init_context(ctypes.byref(context)))
        made = cls(library, context)
        try:
            made._read(keytab)
            yield made
        finally:
            for entry in made._entries:
                library.krb5_free_keytab_entry_contents(context, ctypes.byref(entry))
            library.krb5_free_context(context)

    def _read(self, keytab: str) -> None:
        library, context = self._library, self._context
        table, cursor = ctypes.c_void_p(), ctypes.c_void_p()
        _check(library.krb5_kt_resolve(context, keytab.encode(), ctypes.byref(table)))
        place = ctypes.byref(cursor)
        try:
            _check(library.krb5_kt_start_seq_get(context, table, place))
            entry = _Entry()
            while not library.krb5_kt_next_entry(
                context, table, ctypes.byref(entry), place
            ):
                self._entries.append(entry)
                entry = _Entry()
            library.krb5_kt_end_seq_get(context, table, place)
        finally:
            library.krb5_kt_close(context, table)

    def ways_in(self, message: bytes) -> Iterator[frozenset[str]]:
        """Yield the way of each ticket in a message that the keys open."""
        places = [at for at, octet in enumerate(message) if octet in _TAGS]
        if len(places) > _MOST_PLACES:
            raise EvidenceRefusedError("the client's message is full of no tickets")
        held = ctypes.create_string_buffer(message, len(message))
        start = ctypes.addressof(held)
        for at in places:
            found = _Data(0, len(message) - at, start + at)
            ticket = ctypes.POINTER(_Ticket)()
            if self._library.krb5_decode_ticket(
                ctypes.byref(found), ctypes.byref(ticket)
            ):
                continue
            try:
                if self._opens(ticket):
                    yield _way_of(ticket.contents.opened.contents)
            finally:
                self._library.krb5_free_ticket(self._context, ticket)

    def _opens(self, ticket: Any) -> bool:
        return any(
            not self._library.krb5_decrypt_tkt_part(
                self._context, ctypes.byref(entry.key), ticket
            )
            for entry in self._entries
            if entry.key.kind == ticket.contents.sealed.kind
        )


def _way_of(opened: _Opened) -> frozenset[str]:
    contents = ctypes.string_at(opened.transited.data, opened.transited.length)
    if contents and opened.transited_kind != _COMPRESSED:
        raise EvidenceRefusedError("the client's way is told in another way than known")
    return frozenset(read_transited(contents))


def _library() -> Any:
    try:
        library = ctypes.CDLL("libkrb5.so.3")
        functions = [
            (getattr(library, name), kind) for name, kind in _FUNCTIONS.items()
        ]
    except (OSError, AttributeError) as error:
        raise EnforcementUnavailableError(
            "there is no MIT Kerberos (`libkrb5.so.3`) that can open a ticket"
        ) from error
    for function, (result, *arguments) in functions:
        function.restype, function.argtypes = result, arguments
    return library


def _check(code: int) -> None:
    if code:
        raise EnforcementUnavailableError(f"kerberos refuses: error {code}")
