"""Holding a trail against what producers were told, and what they did."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stead.adapters.store import Store
from stead.errors import LedgerCorruptError, StoreUnavailableError
from stead.ledger.canonical import read_record
from stead.ledger.chain import Verification, verify
from stead.model.audit_record import AuditEvent

UNKNOWN = 0
"""The number that a naive producer tells, who does not wait for one."""

_ACTED = frozenset({AuditEvent.HANDLE_REQUESTED, AuditEvent.OBJECT_ACCESS})
_TOLD: Final = "it is not there"
_DONE: Final = "was done and is not recorded"


@dataclass
class Judge:
    """What is known of one store's trail.

    Attributes:
        store: its file.
        acts: the folder of acts.
        acknowledged: the number that each token's producer was told.
        refused: tokens whose producers were told no.
        problems: what is not as it should be.
        count: for people.
        witness: what was verified last; nothing of that may ever be gone.
    """

    store: Path
    acts: Path
    acknowledged: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)
    witness: Verification | None = None
    _numbers: dict[tuple[AuditEvent, str], int] = field(default_factory=dict)
    _acted: dict[str, int] = field(default_factory=dict)
    _newest: int = 0

    def hear(self, lines: list[str]) -> None:
        """Take note of what a server told."""
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "ok":
                number, _, token = rest.partition(" ")
                self.acknowledged[token] = int(number)
                self.count["acknowledged"] += 1
            elif word == "no":
                self.refused.add(rest)
                self.count["refused"] += 1
            elif word == "refused":
                self.count["starts refused"] += 1
            elif word == "wrong":
                self.problems.append(line)

    def look(self) -> None:
        """Verify the trail, and hold against it what was told and done since then.

        1. The whole chain verifies, and goes on from what was verified before.
        2. Nothing is in it twice.
        3. Whatever was acknowledged is in it, under its number.
        4. Whatever was done is in it.
        """
        try:
            self._read()
        except (LedgerCorruptError, StoreUnavailableError) as error:
            self.problems.append(f"the trail does not verify: {error}")
        self._hold_against()

    def _read(self) -> None:
        with Store.open(self.store, create=False) as store:
            genesis = store.accounts.domain().to_bytes()
            entries = store.ledger.entries
            before = 0 if self.witness is None else self.witness.count
            self.witness = verify(entries(), genesis, witness=self.witness)
            for entry in entries(before):
                self._take(entry.sequence, entry.body)

    def _take(self, number: int, body: bytes) -> None:
        record = read_record(body)
        self.count["backward in time"] += record.time < self._newest
        self._newest = record.time
        if record.event is AuditEvent.RECORDS_LOST:
            self.count["lost, and said so"] += int(record.detail["lost"])
        if "-t" not in record.correlation:
            return  # the server's own
        key = record.event, record.correlation
        if key in self._numbers:
            self.problems.append(f"records {self._numbers[key]} and {number} are one")
        self._numbers[key] = number
        if record.event in _ACTED:
            self._acted[record.correlation] = number

    def _hold_against(self) -> None:
        for token, number in self.acknowledged.items():
            found = self._acted.get(token)
            if found is None:
                self.problems.append(f"{token}: told {number}, and {_TOLD}")
            elif number not in (found, UNKNOWN):
                self.problems.append(f"{token}: told {number}, and it is {found}")
        for act in self.acts.iterdir():
            if act.name not in self._acted:
                self.problems.append(f"{act.name} {_DONE}")
            act.unlink()
            self.count["acts"] += 1
        self.acknowledged.clear()

    @property
    def is_found_out(self) -> bool:
        """Whether something is missing that was acknowledged, and something done.

        A naive server that is killed between the two shows one of them alone.
        """
        return all(
            any(words in each for each in self.problems) for words in (_TOLD, _DONE)
        )

    def begin_anew(self) -> None:
        """Forget the trail, for a new store in its place."""
        self.witness = None
        self.refused.clear()
        self._numbers.clear()
        self._acted.clear()

    def end(self) -> None:
        """Look once more, and have `stead audit verify` say the same."""
        self.look()
        self.count["records"] += 0 if self.witness is None else self.witness.count
        self.count["refused, and there"] += len(self.refused & self._acted.keys())
        done = subprocess.run(
            [sys.executable, "-m", "stead", "audit", "verify",
             "--store", str(self.store), "--witness", str(self.witness)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or "trail verified" not in done.stdout:
            self.problems.append(f"stead audit verify: {done.stdout} {done.stderr}")
