"""A server in a process of its own over a store that others share; it answers lines.

It holds a session of each account that is named, and beside each what a naive server
keeps: the token, and that it was valid once. `use NAME` tells what both of them say.
`meet NAME` has the account come anew: the naive server reads on in the file that it has
open. `looked` is answered when the thread that looks by itself has done so.
"""

from __future__ import annotations

import sqlite3
import sys
import time

from stead.errors import SteadError
from stead.model.access_mask import Rights
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer


class Doc(Rights):
    READ = 0x1
    WRITE = 0x2


def main() -> None:
    """Open the store, log on whoever is named, and answer."""
    place, *names = sys.argv[1:]
    with ProtectedServer("jobs", store=place, enforcement=Enforcement.TOKEN) as server:
        plan = server.find_object("plan")
        clients = {n: server.client_for(n, authenticated_by="test") for n in names}
        naive = {name: client.token for name, client in clients.items()}
        connection = sqlite3.connect(place)
        naively_met(connection, names[0])  # from here on it has all of its files open
        tell(*(str(client.token.logon_id) for client in clients.values()))
        for line in sys.stdin:
            verb, _, name = line.strip().partition(" ")
            if verb == "patience":
                sessions = server._house.guard.liveness
                sessions._leases._ask.__self__._patience = float(name)
                tell("patient")
            elif verb == "meet":
                tell(met(server, name, plan), naively_met(connection, name))
            elif verb == "looked":
                tell(looked(server))
            elif verb == "hang":
                hang(server)
                tell("hanging")
            else:
                tell(answer(server, clients[name], plan), naive_answer(naive, name))


def answer(server, client, plan):
    """Say what our server says."""
    try:
        server.check(client, plan, Doc.READ)
    except SteadError as error:
        return type(error).__name__
    return "granted"


def naive_answer(naive, name):
    """Say what a server says that remembers who was logged on."""
    return "granted" if name in naive else "refused"


def met(server, name, plan):
    """Say what our server says to somebody who comes anew."""
    try:
        with server.client_for(name, authenticated_by="test") as client:
            server.require(client, plan, Doc.READ)
    except SteadError as error:
        return type(error).__name__
    return "granted"


def naively_met(connection, name):
    """Say what a server says that reads on in the file that it has open."""
    enabled = "SELECT 1 FROM principal WHERE name = ? AND NOT is_disabled"
    found = connection.execute(enabled, (name,)).fetchone()
    return "granted" if found else "refused"


def looked(server):
    """Return once the keeper's thread has looked anew, and to the end."""
    keeper = server._house.guard.liveness._watcher
    for _ in range(2):
        before = keeper._looked_at
        while keeper._looked_at == before:
            time.sleep(0.01)
    return "looked"


def hang(server):
    """Have the store's connection never answer: its disk holds a transaction."""
    keeper = server._house.guard.liveness._watcher
    keeper._roster._asking._lock.acquire()  # which nobody gives back


def tell(*words: str) -> None:
    """Answer with a line."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
