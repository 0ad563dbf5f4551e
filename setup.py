"""The one thing of the build that pyproject.toml has no settled words for: the twin.

It is left out where it cannot be built (docs/adr/0042). One wheel serves every Python
from 3.11 on.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "stead.decision._fast",
            ["src/stead/decision/_fast.c"],
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
