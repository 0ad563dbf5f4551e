"""A policy of who may act as whom, read from a file that administrators write.

    otherwise = "forbid"

    [[rule]]
    name = "nobody acts as an administrator"
    forbid = ["impersonate", "open", "run", "start"]
    clients = ["Administrators"]

    [[rule]]
    name = "the web reads files of staff"
    allow = ["open"]
    clients = ["Staff"]
    gates = ["http"]

A rule allows or forbids some acts (`"everything"` for all of them). What is left out of
it is about everything of its kind. Nobody but root and the server's own user may be
able to write the file, or a folder on the way to it.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from stead.adapters.store.safety import require_safe_folder
from stead.errors import InvalidRequestError, SteadError
from stead.model.impersonation_policy import (
    Act,
    ImpersonationPolicy,
    ImpersonationRule,
)
from stead.model.sid import Sid

_MOST_BYTES: Final = 1 << 20
_EVERYTHING: Final = "everything"
_WORDS: Final = ("clients", "servers", "gates", "authenticated_by")
_KEYS: Final = frozenset({"name", "allow", "forbid", *_WORDS})
_LAST_WORDS: Final = {"allow": True, "forbid": False}

Resolve = Callable[[str], Sid]
"""Returns the SID of an account's or a group's name; raises `SteadError`."""


def read_policy(path: str | os.PathLike[str], resolve: Resolve) -> ImpersonationPolicy:
    """Read a file of rules.

    Args:
        path: the file.
        resolve: finds whom a rule names.

    Raises:
        InvalidRequestError: it cannot be read, somebody else may write it, it is no
            TOML, or a rule says what cannot be meant; it says which.
    """
    try:
        return parse_policy(_text_of(Path(path)), resolve)
    except SteadError as error:
        raise InvalidRequestError(f"`{path}`: {error}") from error


def parse_policy(text: str, resolve: Resolve) -> ImpersonationPolicy:
    """Read the text of such a file; raises as `read_policy`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequestError(f"it is no TOML: {error}") from error
    rules = document.pop("rule", [])
    last_word = document.pop("otherwise", "forbid")
    if document or not isinstance(rules, list):
        raise InvalidRequestError(
            "it holds something else than `otherwise` and `[[rule]]`"
        )
    if not isinstance(last_word, str) or last_word not in _LAST_WORDS:
        raise InvalidRequestError('`otherwise` is "allow" or "forbid"')
    return ImpersonationPolicy(
        tuple(_rule(number, rule, resolve) for number, rule in enumerate(rules, 1)),
        otherwise_allows=_LAST_WORDS[last_word],
    )


def _rule(number: int, rule: Any, resolve: Resolve) -> ImpersonationRule:
    if not isinstance(rule, Mapping) or not isinstance(rule.get("name"), str):
        raise InvalidRequestError(f"rule {number} has no name")
    name = rule["name"]
    unknown = rule.keys() - _KEYS
    if unknown:
        raise InvalidRequestError(f"rule `{name}` says `{min(unknown)}`")
    if ("allow" in rule) == ("forbid" in rule):
        raise InvalidRequestError(f"rule `{name}` says either `allow` or `forbid`")
    clients, servers, gates, vouching = (_words(name, rule, key) for key in _WORDS)
    return ImpersonationRule(
        name,
        "allow" in rule,
        servers=servers,
        clients=None if clients is None else _resolved(name, clients, resolve),
        acts=_acts(name, rule),
        gates=gates,
        authenticated_by=vouching,
    )


def _words(name: str, rule: Mapping[str, Any], key: str) -> frozenset[str] | None:
    """Return a list of words; an empty one would be about nothing, and is refused."""
    if key not in rule:
        return None
    words = rule[key]
    is_list = isinstance(words, list) and words
    if not is_list or not all(isinstance(word, str) and word for word in words):
        raise InvalidRequestError(f"rule `{name}`: `{key}` is a list of words")
    return frozenset(words)


def _acts(name: str, rule: Mapping[str, Any]) -> frozenset[Act] | None:
    key = "allow" if "allow" in rule else "forbid"
    if rule[key] == _EVERYTHING:
        return None
    words = _words(name, rule, key) or frozenset()
    known = {act.value: act for act in Act}
    unknown = words - known.keys()
    if unknown:
        raise InvalidRequestError(
            f"rule `{name}`: `{min(unknown)}` is no act",
            advice=f'acts are {", ".join(known)}; or say `{key} = "{_EVERYTHING}"`',
        )
    return frozenset(known[word] for word in words)


def _resolved(name: str, clients: frozenset[str], resolve: Resolve) -> frozenset[Sid]:
    try:
        return frozenset(resolve(client) for client in clients)
    except SteadError as error:
        raise InvalidRequestError(f"rule `{name}`: {error}") from error


def _text_of(path: Path) -> str:
    # Whoever may write a folder on the way puts other rules in their place.
    path = require_safe_folder(path.absolute().parent) / path.name
    try:
        # Not waiting: a FIFO in the file's place would keep the server from starting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(_that_is_safe(descriptor), "rb") as file:
            binary = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidRequestError(f"it cannot be read: {error.strerror}") from error
    if len(binary) > _MOST_BYTES:
        raise InvalidRequestError(f"it is longer than {_MOST_BYTES} bytes")
    try:
        return binary.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError("it is no text in UTF-8") from error


def _that_is_safe(descriptor: int) -> int:
    """Return the descriptor, or close it and raise."""
    try:
        _require_safe(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_safe(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequestError("it is no regular file")
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others or found.st_uid not in (0, os.geteuid()):
        raise InvalidRequestError(
            "somebody else may write it", advice="chown it to root and `chmod 644` it"
        )
