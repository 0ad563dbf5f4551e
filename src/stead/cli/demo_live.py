"""The demo's live prices: a DDE topic of which each client sees what it may."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead.cli.demo_clients import Heard
from stead.errors import SteadError
from stead.gates.dde.client import ClientConversation, DdeClient
from stead.model.access_mask import AccessMask
from stead.model.explicit_access import allow, deny
from stead.server.client_context import ClientContext
from stead.server.dde import DdeDesk, DdeRights
from stead.server.protected_server import ProtectedServer

ITEMS: Final = ("acme", "margin")
BEGUN: Final = "waits for news"
_SEE: Final = DdeRights.REQUEST | DdeRights.ADVISE


def live_prices(server: ProtectedServer) -> DdeDesk:
    """Offer prices: staff sees `acme`, and alice alone the margin."""
    desk = DdeDesk(server)
    prices = desk.register("prices", entries=[allow("staff", DdeRights.CONNECT)])
    entries = [
        allow("staff", DdeRights.CONNECT | _SEE),
        allow("Administrators", AccessMask.READ_CONTROL | AccessMask.WRITE_DAC),
    ]
    stocks = prices.topic("stocks", {"acme": "12", "margin": "3"}, entries=entries)
    stocks.protect_item("margin", [allow("alice", _SEE)])

    @server.operation("next_price")
    def next_price(client: ClientContext, value: str) -> None:  # noqa: ARG001 - a demo's
        stocks.publish("acme", value)

    @server.operation("close_prices")
    def close_prices(client: ClientContext, account: str) -> None:
        """Take an account's right to the prices, for whoever may."""
        closed = [deny(account, int(_SEE)), *entries]
        server.set_entries(client, stocks.securable, closed)

    return desk


def follow(dde: Path, who: str, values: int) -> Iterator[Heard]:
    """Ask for each price, then hear of one until so many values, or the end, came."""
    server_uid = {0, os.getuid()}
    with (
        DdeClient.connect(dde, server_uid=server_uid) as link,
        link.conversation("prices", "stocks") as stocks,
    ):
        for item in ITEMS:
            yield _asked(stocks, who, item)
        try:
            with stocks.advise(ITEMS[0]) as news:
                yield _heard(who, f"advise {ITEMS[0]}", BEGUN)
                for number, (item, value) in enumerate(news, start=1):
                    yield _heard(who, f"news of {item}", str(value))
                    if number == values:
                        return
        except SteadError as error:
            yield _refused(who, f"news of {ITEMS[0]}", error)


def _asked(stocks: ClientConversation, who: str, item: str) -> Heard:
    try:
        return _heard(who, f"request {item}", str(stocks.request(item)))
    except SteadError as error:
        return _refused(who, f"request {item}", error)


def _heard(who: str, label: str, answer: str) -> Heard:
    return Heard(who, "dde, impersonation", label, granted=True, answer=answer)


def _refused(who: str, label: str, error: SteadError) -> Heard:
    return Heard(who, "dde, impersonation", label, granted=False, answer=str(error),
                 record=error.record)  # fmt: skip
