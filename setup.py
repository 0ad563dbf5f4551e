"""The one thing of the build that pyproject.toml has no settled words for: the twins.

Each is left out where it cannot be built (docs/adr/0042, 0052, 0058, 0100, 0113). One
wheel serves every Python from 3.11 on.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup

TWINS = [
    "stead.decision._fast",
    "stead.ledger._canonical",
    "stead.ledger._sealing",
    "stead.monitor._frames",
]
if sys.platform == "linux":
    TWINS.append("stead.privileged._switch")


def files_of(name: str, kind: str) -> list[str]:
    """Return the files of a twin: those whose names begin with its own."""
    folder, _, own = f"src/{name.replace('.', '/')}".rpartition("/")
    return sorted(map(str, Path(folder).glob(f"{own}*.{kind}")))


setup(
    ext_modules=[
        Extension(
            name,
            files_of(name, "c"),
            depends=files_of(name, "h"),
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra"],
            py_limited_api=True,
            optional=True,
        )
        for name in TWINS
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
