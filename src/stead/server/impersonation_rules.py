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
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from stead.errors import InvalidRequestError, SteadError
from stead.model.impersonation_policy import (
    Act,
    ImpersonationPolicy,
    ImpersonationRule,
)
from stead.model.sid import Sid
from stead.server.safe_text import read_safe_text

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
        return parse_policy(read_safe_text(Path(path)), resolve)
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
