"""The items of one topic: how they are spelled, what they hold, what came last."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final

from stead.errors import (
    DdeNotProcessedError,
    InvalidNameError,
    InvalidRequestError,
    OperationFailedError,
)
from stead.gates.dde.ports import DdeData
from stead.server.dde.objects import key_or_none, require_item

ITEM_LIST: Final = "TopicItemList"
ITEM_LIST_KEY: Final = require_item(ITEM_LIST)
KEPT: Final = object()
"""Publish what the mapping holds by now."""


class Items:
    """A mapping whose keys are found as DDE compares names.

    Keys that were there at first, or were published, are found in any spelling; those
    that somebody else adds to the mapping, as they are spelled until they are listed.
    So a name that nothing is called costs one look, however large the mapping is.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        # Re-entrant: a mapping's own code may publish what follows from a write.
        self._lock = threading.RLock()
        self._spellings: dict[str, str] = {}
        self._latest: dict[str, DdeData] = {}
        self.spellings()

    def spellings(self) -> dict[str, str]:
        """Return the keys of all items there are, and how the mapping spells them."""
        found = {}
        for name in tuple(self._values):
            key = key_or_none(name, require_item)
            if key is not None and key != ITEM_LIST_KEY:
                found[key] = name
        with self._lock:
            self._spellings.update(found)
        return found

    def find(self, item: str) -> str | None:
        """Return the key of an item, or None if there is none."""
        key = key_or_none(item, require_item)
        if key is None or key == ITEM_LIST_KEY:
            return None
        spelled = self._spellings.get(key, item)
        return key if spelled in self._values else None

    def read(self, item: str, key: str) -> DdeData:
        """Return what an item holds now.

        Raises:
            DdeNotProcessedError: it is gone meanwhile.
            OperationFailedError: it holds what no message can.
        """
        spelled = self._spellings.get(key, item)
        with suppress(KeyError):
            value = self._values[spelled]
            try:
                return DdeData.of(value)
            except InvalidRequestError as error:
                raise OperationFailedError(f"`{item}` holds no plain data") from error
        raise DdeNotProcessedError(f"item `{item}` is gone")

    def publish(self, item: str, value: object) -> str:
        """Take a new value, or (KEPT) read the one there is; return the item's key.

        Raises:
            InvalidNameError: nothing can be called that.
            InvalidRequestError: the mapping cannot be written, or holds no such item;
                or the value is none that an item can have.
        """
        key = require_item(item)
        if key == ITEM_LIST_KEY:
            raise InvalidNameError(f"`{ITEM_LIST}` is the topic's own item")
        with self._lock:
            spelled = self._spellings.get(key, item)
            if value is not KEPT:
                data = DdeData.of(value)
                self._write(spelled, value)
            elif spelled in self._values:
                data = DdeData.of(self._values[spelled])
            else:
                raise InvalidRequestError(f"there is no item `{item[:80]}`")
            self._spellings[key] = spelled
            self._latest[key] = data
        return key

    @property
    def is_writable(self) -> bool:
        """Whether values can be given to it."""
        return isinstance(self._values, MutableMapping)

    def _write(self, spelled: str, value: object) -> None:
        if not isinstance(self._values, MutableMapping):
            raise InvalidRequestError(
                "this topic's mapping cannot be written",
                advice="change what it shows, and `publish(item)` without a value",
            )
        self._values[spelled] = value

    def latest(self, key: str) -> DdeData | None:
        """Return what was published last, or None if nothing was."""
        return self._latest.get(key)


def listed(names: Iterable[str]) -> DdeData:
    """Return names as DDE lists them, between tabs.

    Raises:
        DdeNotProcessedError: they are more than one item holds.
    """
    try:
        return DdeData.of("\t".join(names))
    except InvalidRequestError as error:
        raise DdeNotProcessedError("the list is too long for one item") from error
