"""The library's own renewal of a ticket, during which other threads go on.

Python's face of the library holds the interpreter's lock while it asks a KDC for a
renewed ticket: where that is silent, no thread of the process runs for half a minute.
So this one thing is asked of the library itself (`krb5_get_renewed_creds(3)`). Its
caches in memory are the process's, by their names.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import krb5

from stead.adapters.kerberos.causes import new_context

_CODE: Final = ctypes.c_int32
_HANDLE: Final = ctypes.c_void_p
_OUT: Final = ctypes.POINTER(ctypes.c_void_p)
_TEXT: Final = ctypes.c_char_p
_Creds = ctypes.c_uint64 * 64
"""Room for a `krb5_creds`, several times over; nothing here looks into it."""


def renew(old: str, new: str) -> None:
    """Put a cache's ticket, renewed, into a new cache; it waits for a KDC.

    Args:
        old: the name of the cache.
        new: the name of one that there is not.

    Raises:
        krb5.Krb5Error: the KDC, or the library, refuses; nothing is left of the new.
        DirectoryUnavailableError: the library's configuration cannot be read.
    """
    library = _library()
    with ExitStack() as undo:
        context = _HANDLE()
        _check(library.krb5_init_context(ctypes.byref(context)))
        undo.callback(library.krb5_free_context, context)
        held, client, made, ticket = _HANDLE(), _HANDLE(), _HANDLE(), _Creds()
        _check(library.krb5_cc_resolve(context, old.encode(), ctypes.byref(held)))
        undo.callback(library.krb5_cc_close, context, held)
        _check(library.krb5_cc_get_principal(context, held, ctypes.byref(client)))
        undo.callback(library.krb5_free_principal, context, client)
        _check(library.krb5_get_renewed_creds(context, ticket, client, held, None))
        undo.callback(library.krb5_free_cred_contents, context, ticket)
        _check(library.krb5_cc_resolve(context, new.encode(), ctypes.byref(made)))
        kept = undo.enter_context(ExitStack())
        kept.callback(library.krb5_cc_destroy, context, made)
        _check(library.krb5_cc_initialize(context, made, client))
        _check(library.krb5_cc_store_cred(context, made, ticket))
        kept.pop_all()
        library.krb5_cc_close(context, made)


def _check(code: int) -> None:
    if code:
        raise krb5.Krb5Error(new_context(), code)


@cache
def _library() -> Any:
    """Return the library that Python's face of it is linked to, and no other."""
    module = import_module(krb5.get_renewed_creds.__module__)
    library = ctypes.CDLL(module.__file__)
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_FUNCTIONS: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType({
    "krb5_init_context": (_CODE, _OUT),
    "krb5_free_context": (None, _HANDLE),
    "krb5_cc_resolve": (_CODE, _HANDLE, _TEXT, _OUT),
    "krb5_cc_get_principal": (_CODE, _HANDLE, _HANDLE, _OUT),
    "krb5_cc_initialize": (_CODE, _HANDLE, _HANDLE, _HANDLE),
    "krb5_cc_store_cred": (_CODE, _HANDLE, _HANDLE, _Creds),
    "krb5_cc_close": (_CODE, _HANDLE, _HANDLE),
    "krb5_cc_destroy": (_CODE, _HANDLE, _HANDLE),
    "krb5_get_renewed_creds": (_CODE, _HANDLE, _Creds, _HANDLE, _HANDLE, _TEXT),
    "krb5_free_principal": (None, _HANDLE, _HANDLE),
    "krb5_free_cred_contents": (None, _HANDLE, _Creds),
})  # fmt: skip
"""What is called, with what comes of it and what it takes (krb5.h)."""
