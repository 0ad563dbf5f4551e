"""Users of a web application, mixed: each is only itself; the naive way is not."""

import http.client
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from urllib.parse import quote

import pytest

from stead.model.audit_record import AuditEvent

pytestmark = [pytest.mark.root, pytest.mark.slow]

PROGRAMS = Path(__file__).parent / "programs"
USERS = ("alice", "bob", "carol", "dave")
ROUNDS = 6


@pytest.fixture
def web(start):
    """A server whose web sessions are the users' names."""
    return start(sessions={name: name for name in USERS})


def visit(web, session, paths):
    """Ask for files over one connection; return the status and body of each."""
    headers = {"authorization": f"Bearer {session}"} if session else {}
    seen = []
    link = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    with closing(link):
        for path in paths:
            link.request("GET", f"/file?path={quote(str(path))}", headers=headers)
            answer = link.getresponse()
            seen.append((answer.status, answer.read().decode()))
    return seen


def test_four_users_mixed_over_http_see_each_only_its_own_file(web, world):
    together = Barrier(len(USERS))

    def uses(name):
        together.wait()
        return visit(web, name, [world.file_of(owner) for owner in USERS] * ROUNDS)

    with ThreadPoolExecutor(len(USERS)) as pool:
        told = dict(zip(USERS, pool.map(uses, USERS), strict=True))
    for name, seen in told.items():
        for owner, (status, body) in zip(USERS * ROUNDS, seen, strict=True):
            if owner == name:
                assert (200, f"{name}'s own\n") == (status, body)
            else:
                assert (403, "access is denied") == (status, json.loads(body)["title"])
    assert 0 == web.stop()
    entered = [
        record.client.name
        for _, record in world.trail()
        if record.event is AuditEvent.IMPERSONATION_ENTERED and record.gate == "http"
    ]
    expected = dict.fromkeys(USERS, ROUNDS * len(USERS))
    assert expected == {name: entered.count(name) for name in USERS}


def test_the_naive_web_application_mixes_its_users_up_and_ours_does_not(web, world):
    """All four ask for alice's file at once; only she may read it."""
    asked = world.file_of("alice")

    with ThreadPoolExecutor(len(USERS)) as pool:
        ours = list(pool.map(lambda name: visit(web, name, [asked])[0][0], USERS))
    uids = [str(world.uids[name]) for name in USERS]
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "naive_web.py"), str(asked), *uids],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == done.returncode, done.stderr
    naive = json.loads(done.stdout)
    assert [200, 403, 403, 403] == ours
    # Everybody is judged as whoever came last: all read her file, or not even she.
    assert naive in ([200] * 4, [403] * 4)


def test_a_request_that_nobody_vouches_for_reaches_no_file(web, world):
    for session in ("", "root", "ALICE", "alice%00", "x" * 5000):
        ((status, body),) = visit(web, session, [world.file_of("alice")])
        assert (401, "logon failure") == (status, json.loads(body)["title"])


def test_who_asks_is_settled_for_each_request_and_not_for_a_connection(web, world):
    link = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    path = quote(str(world.file_of("alice")))
    seen = []
    with closing(link):
        for session in ("alice", "bob", "", "alice"):
            headers = {"authorization": f"Bearer {session}"}
            link.request("GET", f"/file?path={path}", headers=headers)
            answer = link.getresponse()
            answer.read()
            seen.append(answer.status)
    assert [200, 403, 401, 200] == seen
