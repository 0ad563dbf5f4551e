"""Many clients' tickets at once, in many threads: each cache is its own client's.

The naive way is a process of its own: what it stores lands in caches of any name.
"""

import os
import subprocess
import sys
import threading
from collections import Counter

from stead.adapters.kerberos.credentials import KerberosCredentials

ROUNDS = 60
THREADS = 8

NAIVE = """
import os, sys, threading
from secrets import token_hex
import gssapi, krb5
from gssapi.raw import store_cred_into

wrong = []

def work(cache):
    shown = gssapi.Credentials(usage="initiate", store={"ccache": cache})
    while not wrong:
        name = f"MEMORY:{token_hex(32)}"
        # As the library's types allow: by text.
        try:
            store_cred_into({"ccache": name}, shown, overwrite=True)
            context = krb5.init_context()
            held = krb5.cc_resolve(context, name.encode())
            if str(krb5.cc_get_principal(context, held)) != str(shown.name):
                wrong.append("another's")
            krb5.cc_destroy(context, held)
        except Exception as error:
            wrong.append(repr(error))

threads = [threading.Thread(target=work, args=(cache,), daemon=True)
           for cache in sys.argv[1:] * 4]
for each in threads:
    each.start()
for each in threads:
    each.join(30)
print(wrong[:1])
os._exit(0 if wrong else 1)
"""


def test_each_cache_is_its_own_clients_however_many_are_made_at_once(stage):
    found = []
    start = threading.Barrier(THREADS)

    def run(name):
        shown = stage.ticket(name)
        start.wait()
        for _ in range(ROUNDS):
            kept = KerberosCredentials.keep(shown)
            again = KerberosCredentials.keep(kept.gss())
            whose = {kept.principal, again.principal, str(again.gss().name)}
            kept.close()
            again.close()
            found.append(whose == {f"{name}@{stage.realm.name}"})

    names = ("alice", "bob") * (THREADS // 2)
    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter({True: ROUNDS * THREADS}) == Counter(found)


def test_the_name_of_a_cache_given_as_text_is_lost_under_way(stage, tmp_path):
    """If this fails, the library was mended."""
    caches = [stage.realm.log_on(*who) for who in (("alice", "tiger"), ("bob", "lion"))]
    done = subprocess.run(
        [sys.executable, "-c", NAIVE, *caches],
        env={**os.environ, **stage.realm.environment()},
        cwd=tmp_path,  # what is lost may be a file's name
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert 0 == done.returncode, done
