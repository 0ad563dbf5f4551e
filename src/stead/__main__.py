"""`python -m stead` is `stead`."""

from __future__ import annotations

from stead.cli.main import main

if __name__ == "__main__":
    main()
