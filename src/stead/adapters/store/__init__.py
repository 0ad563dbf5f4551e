"""The store: accounts, descriptors of objects, and the trail, in one SQL database.

SQLite through SQLAlchemy Core: one file, private to the server, that several processes
of it may share. ``Store.open`` is the only door.
"""

from __future__ import annotations

from stead.adapters.extras import require_extra

require_extra("server", "sqlalchemy", "msgspec")  # a server's, too: it has a store

from stead.adapters.store.opening import Store

__all__ = ["Store"]
