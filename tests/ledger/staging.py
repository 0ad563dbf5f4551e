"""A store with a trail and a witness, and what an attacker does to the store."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from tests.ledger.conftest import make_record, note

from stead.adapters.ed25519 import Ed25519Signer, Ed25519Verifier
from stead.adapters.store import Store
from stead.adapters.witness_files import LeafFile, WitnessFolder, notes_of
from stead.errors import LedgerCorruptError
from stead.ledger.chain import seal, verify
from stead.ledger.checkpoint import origin_of
from stead.ledger.examination import Known, examine
from stead.ledger.ledger import Ledger
from stead.ledger.ports import Entry
from stead.ledger.tree import CompactRange, leaf_hash
from stead.ledger.witness import Witness
from stead.ledger.witnessing import Witnessing

SIGNER = Ed25519Signer("witness", bytes(range(32)))
VERIFIER = Ed25519Verifier(SIGNER.key)


class NearLink:
    """A witness in this process, asked without frames."""

    def __init__(self, witness):
        self.witness = witness

    def ask(self, question):
        return self.witness.answer(question)

    def close(self):
        pass


class Stage:
    """One store, its witness, and the backups that somebody made of it."""

    def __init__(self, folder: Path):
        self.place = folder / "store.db"
        self.state = folder / "witness"
        self.reports: list[str] = []

    def grow(self, count, *, witnessed=True, **fields):
        """Append records, and have them witnessed."""
        with Store.open(self.place) as store:
            genesis = store.accounts.domain()
            with Ledger(store.ledger, genesis=genesis, note=note) as ledger:
                number = store.evidence.tree().size
                records = [
                    make_record(operation=f"act {number + at}", **fields)
                    for at in range(count)
                ]
                for future in [ledger.submit(record) for record in records]:
                    future.result(60)
            if witnessed:
                self.witness(store)

    def witness(self, store=None):
        """Hand over what is new, as a server does when it starts."""
        if store is None:
            with Store.open(self.place) as opened:
                return self.witness(opened)
        with WitnessFolder(self.state) as folder:
            made = Witness(folder, SIGNER, VERIFIER, self.reports.append)
            origin = origin_of(str(store.accounts.domain()))
            Witnessing(
                NearLink(made), VERIFIER, origin, store.reading, store.evidence
            ).step()
        return None

    def examine(self, *, leaves=False, key=True, notes=(), elsewhere=False):
        """Return what `stead audit verify` finds."""
        file = LeafFile(self.state) if leaves else None
        if elsewhere:
            notes = notes_of(self.state)
        try:
            with Store.open(self.place) as store:
                domain = store.accounts.domain()
                known = Known(
                    genesis=domain.to_bytes(),
                    origin=origin_of(str(domain)),
                    tree=store.evidence.tree(),
                    seals=store.evidence.seals(),
                    notes=(*store.evidence.notes(), *notes),
                    verifier=VERIFIER if key else None,
                    leaves=file,
                )
                return examine(store.ledger.entries, known)
        finally:
            if file is not None:
                file.close()

    def naive(self):
        """Return which record the chain alone finds wrong; None if it finds none."""
        with Store.open(self.place) as store:
            genesis = store.accounts.domain().to_bytes()
            try:
                verify(store.ledger.entries(), genesis)
            except LedgerCorruptError as error:
                return error.sequence
        return None

    # --- what somebody does who has the store and no key ------------------------------

    def sql(self, statement, *values):
        with sqlite3.connect(self.place) as connection:
            rows = connection.execute(statement, values).fetchall()
        connection.close()
        return rows

    def origin(self):
        return origin_of(self.sql("SELECT domain FROM store")[0][0])

    def entries(self):
        rows = self.sql("SELECT sequence, body, digest FROM entry ORDER BY sequence")
        return [Entry(*row) for row in rows]

    def forge(self, bodies, *, tree=True):
        """Put other records in place of all, with chain and tree made anew."""
        with Store.open(self.place) as store:
            genesis = store.accounts.domain().to_bytes()
        rows = [
            (entry.sequence, entry.body, entry.digest)
            for entry in seal(None, bodies, genesis)
        ]
        with sqlite3.connect(self.place) as connection:
            connection.execute("DELETE FROM entry")
            connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
        connection.close()
        if tree:
            self.set_tree(bodies)

    def set_tree(self, bodies):
        edge = CompactRange().extend(map(leaf_hash, bodies)).to_bytes()
        self.sql("UPDATE tree SET edge = ?", edge)

    def bodies(self):
        return [entry.body for entry in self.entries()]

    def forget_checkpoints_above(self, size):
        self.sql("DELETE FROM checkpoint WHERE size > ?", size)

    def back_up(self):
        copy = self.place.with_name("backup.db")
        self.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(self.place, copy)
        return copy

    def restore(self, copy):
        for tail in ("", "-wal", "-shm"):
            self.place.with_name(self.place.name + tail).unlink(missing_ok=True)
        shutil.copy(copy, self.place)
        self.place.chmod(0o600)


def bent(body: bytes) -> bytes:
    """Return a record that says it was somebody else."""
    assert b"alice" in body
    return body.replace(b"alice", b"mallo")
