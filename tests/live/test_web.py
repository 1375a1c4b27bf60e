"""The page's server: what it serves, to whom, and what it refuses. No browser is needed."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from raft.cluster.failures import VerbFailed
from raft.live import web
from raft.live.actions import ACTIONS, Order, request_of
from raft.live.address import address_at
from raft.live.files import FILES
from raft.live.sampler import Look, Record
from tests.live.pictures import picture_of, three

JSON = {"content-type": "application/json"}


class Source:
    """A cluster whose next looks are given."""

    def __init__(self) -> None:
        self.looks = 0
        self.closed = 0
        self.failure = ""
        self.text = "LEADER n1"

    def look(self) -> Look:
        self.looks += 1
        if self.failure:
            raise VerbFailed(self.failure)
        record = [Record(1.0, "event", "leader-elected", [1], self.text)] if self.looks == 1 else []
        return Look(picture_of(three(), t=10.0 + self.looks), record)

    def has_news(self) -> bool:
        return False

    def close(self) -> None:
        self.closed += 1


class Served:
    """A server on a port of its own, and requests to it."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.source = Source()
        self.orders: list[Order] = []
        self._open = contextlib.ExitStack()
        address = address_at("127.0.0.1:0")
        self.server = web.Server(address, self.source, self._act, read_only=read_only)
        self.port = address.port
        self.path = self.server.url.removeprefix(f"http://127.0.0.1:{self.port}")
        self.origin = f"http://127.0.0.1:{self.port}"
        self.server.start()

    def _act(self, order: Order) -> tuple[str, list[str]]:
        command, _ = request_of(order)
        self.orders.append(order)
        return f"raft-actors {command}", ["done"]

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        self._open.callback(connection.close)
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        self._open.callback(response.close)
        return response

    def close(self) -> None:
        self._open.close()
        self.server.close()

    def order(self, body: bytes, headers: dict[str, str]) -> Any:
        return self.ask("POST", f"{self.path}order", headers, body)

    def events(self, count: int) -> list[tuple[str, Any]]:
        """The first messages of the feed; then the connection is closed."""
        response = self.ask("GET", f"{self.path}feed")
        found: list[tuple[str, Any]] = []
        name = ""
        while len(found) < count:
            line = response.readline().decode().strip()
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
        return found


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.close()


def test_the_page_and_its_files_are_served_and_bind_the_browser(served: Served) -> None:
    for name in FILES:
        response = served.ask("GET", served.path + name)
        assert response.status == 200, name
        policy = response.getheader("content-security-policy")
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy
        assert response.getheader("set-cookie") is None
        assert response.getheader("referrer-policy") == "no-referrer"


def test_the_page_asks_no_other_host_and_reads_no_value_as_markup() -> None:
    for name, path in FILES.items():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        for word in ("http:", "https:", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval(",
                     "document.write", "style=", "onclick=\""):  # fmt: skip
            assert word not in text, (name, word)


@pytest.mark.parametrize("path", ["/", "/feed", "/wrong/", "/wrong/feed", "/wrong/order"])
def test_without_the_secret_nothing_is_served(served: Served, path: str) -> None:
    response = served.ask("GET", path)
    assert response.status == 403 and b"secret" in response.read()
    assert served.source.looks == 0


def test_a_host_name_that_leads_here_by_a_trick_is_refused(served: Served) -> None:
    for host, status in ((f"evil.example:{served.port}", 403), (f"localhost:{served.port}", 200)):
        assert served.ask("GET", served.path, {"host": host}).status == status


def test_numbers_as_host_names_pass_where_all_addresses_are_served_and_names_do_not() -> None:
    access = web.Access("t", frozenset({"*", "machine:80"}))
    allowed = ("10.0.0.7:80", "[fe80::1]:80", "machine:80")
    assert all(access.allows_host(host) for host in allowed)
    assert not any(access.allows_host(host) for host in ("evil.example:80", "10.0.0.7.evil:80", "", ":80"))
    assert not web.Access("t", frozenset({"127.0.0.1:80"})).allows_host("10.0.0.7:80")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**JSON, "origin": "OWN"}, 200),
        ({**JSON}, 403),
        ({**JSON, "origin": "http://evil.example"}, 403),
        ({**JSON, "origin": "null"}, 403),
        ({**JSON, "origin": "OWN", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "OWN", "content-type": "text/plain"}, 415),
    ],
)
def test_only_the_page_itself_may_order(served: Served, headers: dict[str, str], status: int) -> None:
    sent = {name: served.origin if value == "OWN" else value for name, value in headers.items()}
    response = served.order(b'{"action":"kill","nodes":[2]}', sent)
    assert response.status == status
    assert [order.nodes for order in served.orders] == ([[2]] if status == 200 else [])


def test_another_page_cannot_read_the_feed(served: Served) -> None:
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert served.ask("GET", f"{served.path}feed", headers).status == 403
    assert served.source.looks == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"action":"rm -rf","nodes":[1]}', 409),
        (b'{"action":"kill","nodes":[]}', 409),
        (b'{"action":"kill","nodes":["1; x"]}', 400),
        (b'{"action":"kill","nodes":[-1]}', 400),
        (b'{"action":"kill","nodes":[1],"more":1}', 400),
        (b"not json", 400),
        (b'{"action":"' + b"x" * 20_000 + b'"}', 413),
    ],
)
def test_an_order_outside_the_table_does_nothing(served: Served, body: bytes, status: int) -> None:
    response = served.order(body, {**JSON, "origin": served.origin})
    assert response.status == status and "error" in json.loads(response.read())
    assert served.orders == []


def test_an_order_is_answered_with_the_command_line_that_is_equal_to_it(served: Served) -> None:
    response = served.order(b'{"action":"pause","nodes":[1,3]}', {**JSON, "origin": served.origin})
    assert json.loads(response.read()) == {"command": "raft-actors pause 1,3", "lines": ["done"]}


def test_a_page_to_look_at_only_takes_no_order() -> None:
    one = Served(read_only=True)
    try:
        assert one.order(b'{"action":"kill","nodes":[2]}', {**JSON, "origin": one.origin}).status == 403
        assert one.orders == []
        assert one.events(1)[0][1]["read_only"] is True
    finally:
        one.close()


def test_each_action_of_the_menu_is_the_request_of_its_command_line() -> None:
    for action in ACTIONS:
        command, request = request_of(Order(action.name, [2], [3]))
        assert command.split()[0] == action.words.split()[0]
        assert msgspec.json.encode(request)


def test_the_feed_begins_with_the_whole_and_goes_on_with_what_has_changed(served: Served) -> None:
    served.source.text = "<img src=x onerror=alert(1)>"
    (hello, menu), (news, first), (_, second) = served.events(3)
    assert (hello, news) == ("hello", "news") and menu["menu"]
    assert first["picture"]["headline"] == "n1 leads term 1"
    assert first["records"][0]["text"] == served.source.text
    assert set(second) == {"patch"} and set(second["patch"]) == {"t"}


def test_without_a_cluster_the_page_says_so(served: Served) -> None:
    served.source.failure = "no cluster runs here"
    assert served.events(2)[1][1]["picture"]["incomplete"].startswith("no cluster runs here")
