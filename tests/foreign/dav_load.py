"""wsgidav behind Stead's WSGI gate on cheroot: two users, a load of WebDAV, no leak.

Its source archive lacks what its own tests of a served tree import.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cheroot.wsgi
import pytest
import requests
from wsgidav.fs_dav_provider import FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

from stead import Enforcement, ProtectedServer
from stead.gates.wsgi import WsgiMiddleware, client_of
from stead.monitor.effective import effective_token

USERS = ("alice", "bob")
ROUNDS = 25


@pytest.fixture
def url(tmp_path: Path):
    server = ProtectedServer("dav", enforcement=Enforcement.TOKEN)
    for user in USERS:
        server.accounts.add(user)
        (tmp_path / user).mkdir()
    config = {
        "provider_mapping": {"/": FilesystemProvider(str(tmp_path))},
        "simple_dc": {"user_mapping": {"*": True}},
        "logging": {"enable": False},
        "verbose": 0,
    }
    dav = WsgiDAVApp(config)

    def judged(environ, start_response):
        """Let each user into its own folder, by whoever is in force."""
        client = client_of(environ)
        with client.impersonate():
            name = server.name_of(effective_token().user)
        if environ["PATH_INFO"].split("/")[1] != name:
            start_response("403 Forbidden", [("Content-Length", "0")])
            return []
        return dav(environ, start_response)

    def client_for(environ):
        return server.client_for(environ["HTTP_USER"], authenticated_by="test")

    app = WsgiMiddleware(judged, client_for=client_for)
    made = cheroot.wsgi.Server(("127.0.0.1", 0), app, numthreads=4)
    made.prepare()
    thread = threading.Thread(target=made.serve)
    thread.start()
    yield f"http://127.0.0.1:{made.bind_addr[1]}"
    made.stop()
    thread.join()
    server.close()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_each_users_files_are_its_own_alone(url, number):
    def work(user):
        other = USERS[user == USERS[0]]
        mine = f"{url}/{user}/note {number}.txt"
        headers = {"user": user}
        with requests.Session() as link:
            put = link.put(mine, data=f"{user}'s", headers=headers)
            got = link.get(mine, headers=headers)
            listed = link.request("PROPFIND", f"{url}/{user}/", headers=headers)
            refused = link.get(f"{url}/{other}/", headers=headers)
            gone = link.delete(mine, headers=headers)
        codes = [a.status_code for a in (put, got, listed, refused, gone)]
        return got.text, codes

    with ThreadPoolExecutor(8) as pool:
        for user, (text, codes) in zip(USERS, pool.map(work, USERS), strict=True):
            assert f"{user}'s" == text
            assert [201, 200, 207, 403, 204] == codes
