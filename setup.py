"""The one thing of the build that pyproject.toml has no settled words for: the twins.

Each is left out where it cannot be built (docs/adr/0042, 0052, 0058, 0100, 0113). One wheel serves every
Python from 3.11 on.
"""

import sys

from setuptools import Extension, setup

TWINS = {
    "stead.decision._fast": "src/stead/decision/_fast.c",
    "stead.ledger._canonical": "src/stead/ledger/_canonical.c",
    "stead.ledger._sealing": "src/stead/ledger/_sealing.c",
    "stead.monitor._frames": "src/stead/monitor/_frames.c",
}
if sys.platform == "linux":
    TWINS["stead.privileged._switch"] = "src/stead/privileged/_switch.c"

setup(
    ext_modules=[
        Extension(
            name,
            [source],
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra"],
            py_limited_api=True,
            optional=True,
        )
        for name, source in TWINS.items()
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
