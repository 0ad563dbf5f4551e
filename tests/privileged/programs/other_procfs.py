"""Procfs in unusual places: `other_procfs.py FOLDER`; prints what each thread sees."""

import json
import sys
from pathlib import Path

import mounts

from stead.privileged.executor import KernelExecutor

FOLDER = Path(sys.argv[1])
PLACES = {
    "plain": FOLDER / "plain",
    "blank name": FOLDER / "blank name",
    "covered": FOLDER / "over" / "covered",
}


def shows_procfs():
    return {name: (place / "self").exists() for name, place in PLACES.items()}


def entries():
    return {
        name: [path.name for path in place.iterdir()] if place.is_dir() else []
        for name, place in PLACES.items()
    }


mounts.own_namespace()
for place in PLACES.values():
    place.mkdir(parents=True)
    mounts.mount(place, "proc")
mounts.mount(FOLDER / "over", "tmpfs")
before = shows_procfs()
with KernelExecutor(1) as executor:
    inside = executor.submit(entries).result()
print(json.dumps({"before": before, "inside": inside, "after": shows_procfs()}))
