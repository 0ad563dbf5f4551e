"""Libraries that an extra brings: one that is missing is named, with what brings it.

A package whose every module needs such a library asks here first, and so does a module
that stands alone. Otherwise the import fails with the name of a library alone, and
nobody knows which extra has it.
"""

from __future__ import annotations

from importlib.util import find_spec

from stead.errors import MissingExtraError


def require_extra(extra: str, *libraries: str) -> None:
    """Return if the libraries of an extra are there; none of them is imported.

    Args:
        extra: as `pyproject.toml` names it.
        libraries: what is imported of it.

    Raises:
        MissingExtraError: one is not there.
    """
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        error = MissingExtraError(
            f"{' and '.join(f'`{name}`' for name in missing)} cannot be imported",
            advice=f"`pip install 'stead[{extra}]'`",
        )
        error.name = missing[0]  # as Python's own import says it
        raise error
