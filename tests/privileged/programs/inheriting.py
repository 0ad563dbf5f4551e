"""A thread is started on one that impersonates by naive means."""

import json
import threading

import naive

from stead.errors import EnforcementUnavailableError
from stead.privileged.hardened_thread import HardenedThread

came = []


def life():
    with naive.as_uid(70001):
        heir = HardenedThread(lambda _: came.append("worked"), guard=65530, name="heir")
        heir.start()
        heir.join()
        try:
            heir.ready.result()
        except EnforcementUnavailableError as error:
            came.append(str(error))


thread = threading.Thread(target=life)
thread.start()
thread.join()
print(json.dumps(came[0]))
