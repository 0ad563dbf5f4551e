"""The broker's configuration as a file that only root may write (`broker_config`).

What is not known is refused, a misspelt word above all; and so is a file that somebody
else could have written, or could swap for another.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stead.errors import UnsafeConfigurationError
from stead.privileged.broker_config import BrokerConfig, Kerberos, Limits, Service

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST: Final = 1 << 20
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_EVERYBODY_ELSE: Final = stat.S_IRWXG | stat.S_IRWXO

_T = TypeVar("_T")


def load(path: str | os.PathLike[str], *, owner: int = 0) -> BrokerConfig:
    """Read the configuration.

    1. Nobody but its owner can change the file, or any folder above it.
    2. What is read is what was looked at: one descriptor, no link at its end.
    3. Every word is known, and has the kind of value that belongs to it.
    4. The broker's keys are nobody else's, and the rules for names are root's.

    Args:
        path: absolute.
        owner: who may own the file and the folders, beside root.

    Raises:
        UnsafeConfigurationError: one of these does not hold; it says which.
    """
    place = Path(path)
    if not place.is_absolute():
        raise UnsafeConfigurationError(f"`{place}` is no absolute path")
    _require_safe_folders(place, owner)
    try:
        number = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UnsafeConfigurationError(
            f"`{place}` cannot be read: {error.strerror}"
        ) from error
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode):
        os.close(number)
        raise UnsafeConfigurationError(f"`{place}` is no file")
    with os.fdopen(number, "rb") as file:
        _require_safe(place, status, owner)
        text = file.read(_LONGEST)
    try:
        config = from_document(tomllib.loads(text.decode()))
    except (ValueError, RecursionError) as error:
        raise UnsafeConfigurationError(f"`{place}` cannot be read: {error}") from error
    if config.kerberos is not None:
        _require_kerberos(config.kerberos, owner)
    return config


def _require_kerberos(kerberos: Kerberos, owner: int) -> None:
    """Refuse keys that others have, and rules that others write."""
    keytab = Path(kerberos.keytab)
    try:
        status = keytab.stat()
    except OSError as error:
        raise UnsafeConfigurationError(
            f"`{keytab}` cannot be read: {error.strerror}",
            advice="make it by `kadmin ktadd -k`, or leave `[kerberos]` out",
        ) from error
    _require_safe(keytab, status, owner)
    if status.st_mode & _EVERYBODY_ELSE:
        raise UnsafeConfigurationError(
            f"others may read `{keytab}`", advice=f"chmod 0600 {keytab}"
        )
    rules = Path(kerberos.configuration)
    if rules.exists():
        _require_safe(rules, rules.stat(), owner)
    for place in (keytab, rules):
        _require_safe_folders(place, owner)


def _require_safe_folders(place: Path, owner: int) -> None:
    folder = place.parent.resolve()
    for each in (folder, *folder.parents):
        _require_safe(each, each.stat(), owner)


def from_document(document: Mapping[str, Any]) -> BrokerConfig:
    """Return the configuration that a parsed file holds; raises as `load`."""
    found = dict(document)
    services = {}
    for name, words in _table(found.pop("services", {}), "services").items():
        service = _service(name, _table(words, name))
        if service.uid in services:
            raise UnsafeConfigurationError(
                f"`{name}`: another service has uid {service.uid}"
            )
        services[service.uid] = service
    if not services:
        raise UnsafeConfigurationError(
            "no service is named", advice="add `[services.NAME]` with its `uid`"
        )
    limits = _made(Limits, _table(found.pop("limits", {}), "limits"), "limits")
    words = {
        "services": MappingProxyType(services),
        "limits": limits,
        "allowed_system_uids": frozenset(
            _list(found.pop("allowed_system_uids", []), int, "allowed_system_uids")
        ),
        "worker_modules": _list(found.pop("worker_modules", []), str, "worker_modules"),
    }
    if "kerberos" in found:
        told = _table(found.pop("kerberos"), "kerberos")
        told["realms"] = _list(told.pop("realms", []), str, "realms")
        words["kerberos"] = _made(Kerberos, told, "kerberos")
    for name, kind in (("socket", str), ("guard_uid", int)):
        if name in found and type(found[name]) is not kind:
            raise UnsafeConfigurationError(f"`{name}` is something else")
    return _made(BrokerConfig, words | found, "the configuration")


def _service(name: str, words: dict[str, Any]) -> Service:
    lists = {
        each: _list(words.pop(each, []), str, each)
        for each in ("gates", "ticket_gates", "open_roots", "may")
    }
    groups = frozenset(_list(words.pop("mapped_groups", []), int, "mapped_groups"))
    sets = {"may": frozenset(lists["may"]), "mapped_groups": groups}
    return _made(Service, {**words, **lists, **sets, "name": name}, name)


def _made(kind: type[_T], words: Mapping[str, Any], where: str) -> _T:
    known = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]  # each is a dataclass
    for name in words:
        if name not in known:
            raise UnsafeConfigurationError(f"`{name}` means nothing in {where}")
    for name, each in known.items():
        has_default = {each.default, each.default_factory} != {dataclasses.MISSING}
        if name not in words and not has_default:
            raise UnsafeConfigurationError(f"`{where}` lacks `{name}`")
    return kind(**words)


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnsafeConfigurationError(f"`{name}` is no table")
    return dict(value)


def _list(value: object, kind: type[_T], name: str) -> tuple[_T, ...]:
    if not isinstance(value, list) or any(type(each) is not kind for each in value):
        raise UnsafeConfigurationError(f"`{name}` is no list of {kind.__name__}")
    return tuple(value)


def _require_safe(path: Path, status: os.stat_result, owner: int) -> None:
    if status.st_uid not in {0, owner}:
        raise UnsafeConfigurationError(
            f"`{path}` belongs to uid {status.st_uid}", advice=f"chown root {path}"
        )
    # In a sticky folder others may add names, but neither move nor remove ours.
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & _OTHERS and not is_sticky:
        raise UnsafeConfigurationError(
            f"others may write `{path}`", advice=f"chmod go-w {path}"
        )
