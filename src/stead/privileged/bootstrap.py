"""A launcher's first lines: learn where to import from, then begin.

Run by ``launching`` as ``python -I bootstrap.py N``, with the control socket as
descriptor N. A broker's verifier of passwords begins alike: the first message names
the program. The server's import path comes over that socket and not by argument or
environment, which others may read or set. Until it is there nothing of Stead can be
imported.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys

_LONGEST = 1 << 20


def main() -> None:
    """Read the terms and serve them."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    document = control.recv(_LONGEST)
    if not document:
        return  # the server is gone already
    terms = json.loads(document)
    sys.path[:] = terms["path"]
    program = terms.get("program", "stead.privileged.launcher")
    importlib.import_module(program).serve(control, terms)


if __name__ == "__main__":
    main()
