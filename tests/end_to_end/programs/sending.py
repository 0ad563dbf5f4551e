"""A server that records all the time and sends its trail, until it is killed.

usage: sending.py STORE SINK...
"""

from __future__ import annotations

import sys
import threading
import time

from stead.model.access_mask import Rights
from stead.model.explicit_access import allow
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


class Doc(Rights):
    READ = 1


def work(server, client, plan):
    while True:
        server.require(client, plan, Doc.READ)
        time.sleep(0.01)  # faster, and the end would only take longer to arrive


def main(store, *sinks):
    server = ProtectedServer(
        "notes", store=store, enforcement=Enforcement.TOKEN, sinks=sinks
    )
    if not server.accounts.list():
        server.accounts.add("alice")
    plan = server.protect("plan", Doc, [allow("alice", Doc.READ)])
    client = server.client_for("alice", authenticated_by="test")
    threads = [
        threading.Thread(target=work, args=(server, client, plan)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    print("ready", flush=True)


main(*sys.argv[1:])
