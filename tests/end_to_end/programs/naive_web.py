"""What people write today: who asks in a context variable, seteuid in the endpoint.

``python naive_web.py PATH UID...``: every user asks for the file at once. It prints the
status that each was answered with.
"""

import asyncio
import contextvars
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

user: contextvars.ContextVar[int] = contextvars.ContextVar("user")


class UserMiddleware:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        user.set(int(dict(scope["headers"])[b"x-user"]))
        await self.app(scope, receive, send)


def application(users: int) -> FastAPI:
    app = FastAPI(openapi_url=None)
    # All requests are in the middle of their work at once, as on a busy day.
    busy = threading.Barrier(users, timeout=60)
    # Between the two calls another request would find a process that is not root.
    switching = threading.Lock()

    @app.get("/file", response_class=PlainTextResponse)
    def file(path: str) -> PlainTextResponse:
        with switching:
            os.seteuid(0)
            os.seteuid(user.get())
        busy.wait()
        try:
            return PlainTextResponse(Path(path).read_text(encoding="utf-8"))
        except PermissionError:
            return PlainTextResponse("access is denied", 403)
        finally:
            busy.wait()
            os.seteuid(0)

    app.add_middleware(UserMiddleware)
    return app


async def ask_all(path: str, uids: list[str]) -> list[int]:
    transport = httpx.ASGITransport(app=application(len(uids)))
    async with httpx.AsyncClient(transport=transport, base_url="http://naive") as link:
        answers = await asyncio.gather(
            *(
                link.get("/file", params={"path": path}, headers={"x-user": uid})
                for uid in uids
            )
        )
    return [answer.status_code for answer in answers]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask_all(sys.argv[1], sys.argv[2:]))))
