"""The store: accounts, descriptors of objects, and the trail, in one SQL database.

SQLite through SQLAlchemy Core: one file, private to the server, that several processes
of it may share. ``Store.open`` is the only door.
"""

from __future__ import annotations

from stead.adapters.store.opening import Store

__all__ = ["Store"]
