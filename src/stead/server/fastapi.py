"""The client of a request as a FastAPI dependency.

    app = FastAPI()
    app.add_middleware(SteadMiddleware, client_for=client_for)

    @app.get("/report")
    def report(client: Annotated[ClientContext, Depends(current_client)]) -> str:
        with client.impersonate():
            ...

It works the same in `def` and `async def` endpoints and in websockets: the client is an
argument, so it does not matter which thread or task an endpoint runs on.
"""

from __future__ import annotations

from typing import cast

from stead.adapters.extras import require_extra

require_extra("http", "starlette")

from starlette.requests import HTTPConnection

from stead.gates.http import client_of
from stead.server.client_context import ClientContext


# A plain function would be run on a thread of its own for nothing.
async def current_client(connection: HTTPConnection) -> ClientContext:
    """Return the client of this request.

    Raises:
        LogonFailureError: nobody said who sent it; the middleware answers 401.
        OperationFailedError: no `SteadMiddleware` stands before the application.
    """
    return cast("ClientContext", client_of(connection))
