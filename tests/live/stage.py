"""A page on a cluster that tests make up, and the windows that tests look at it with."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from raft.cluster.failures import VerbFailed
from raft.cluster.rpc.messages import FaultEntry
from raft.live import web
from raft.live.actions import Order, request_of
from raft.live.address import Address, bind
from raft.live.sampler import Look, Record
from raft.live.tour import GO_ON
from tests.live.browser import Browser
from tests.live.pictures import picture_of, three

TOKEN = "a-secret-of-the-tests"


class Stage:
    """A page on a cluster that tests make up; what is ordered is kept, and not done."""

    def __init__(self, port: int = 0) -> None:
        self.status = three()
        self.faults: list[FaultEntry] = []
        self.records: list[Record] = []
        self.more: dict[str, Any] = {}  # Of the picture, beside what the status tells.
        self.failure = ""
        self.token = TOKEN
        self.orders: list[Order] = []
        self.t = 10.0
        self.tick = 0.1  # Seconds from look to look; at 0.0 what the page shows for some seconds stays.
        self._lock = threading.Lock()
        self.read_only = False
        self.open(port)

    def open(self, port: int = 0) -> None:
        address = Address(bind("127.0.0.1", port), self.token)
        self.port = address.port
        self.server = web.Server(address, self, self._act, read_only=self.read_only)
        self.server.start()

    def look(self) -> Look:
        if self.failure:
            raise VerbFailed(self.failure)
        with self._lock:
            self.t += self.tick
            records, self.records = self.records, []
        picture = msgspec.structs.replace(picture_of(self.status, self.faults, self.t), **self.more)
        return Look(picture, records)

    def has_news(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""

    def _act(self, order: Order) -> tuple[str, list[str]]:
        self.orders.append(order)
        if order.action == GO_ON:
            return "tour", ["goes on"]
        return f"raft-actors {request_of(order)[0]}", ["done"]


def show(browser: Browser, stage: Stage) -> None:
    browser.driver.get("about:blank")
    browser.driver.get(stage.server.url)
    browser.until(lambda: browser.text("#ring [data-node='1']"))


def labels(browser: Browser) -> list[str]:
    script = "return [...document.querySelectorAll('#ring .node')].map((n) => n.getAttribute('aria-label'))"
    found: list[str] = browser.js(script)
    return found
