"""The page as a web server: the feed as server-sent events, orders by POST, and who may ask for either.

Owns the routes and the checks: a secret in the path, the Host header against names that lead here by a
trick (DNS rebinding), Origin and Sec-Fetch-Site against other pages. No cookies.
Imported only where a page is served: it alone needs starlette and uvicorn (the extra `web`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable

import msgspec
import uvicorn
from msgspec import Struct
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raft.cluster.failures import VerbFailed
from raft.live.actions import Order, menu
from raft.live.address import Address
from raft.live.files import FILES, KINDS
from raft.live.sampler import Sampler, Source

ORDER_BYTES_MAX = 10_000
QUIET_SECONDS = 1.0  # After which a viewer is told that the server lives, and the end is noticed.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}

Act = Callable[[Order], tuple[str, list[str]]]
"""Carries out an order: the command line that it was, and what the launcher says. Raises VerbFailed."""


class Access(Struct, frozen=True):
    """Who may ask: those that know the token, by one of these hosts (`name:port`), to look or to act."""

    token: str
    hosts: frozenset[str]
    read_only: bool = False

    def allows_host(self, host: str) -> bool:
        """Addresses written as numbers lead nowhere else; of names, only those that are known."""
        return host in self.hosts or ("*" in self.hosts and _is_address(host))


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if host.count(":") == 1 or host.startswith("[") else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class Guard:
    """Refuses what may not be asked before any route sees it, and adds the headers that bind the browser."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else ""
        if not refusal:
            await self._app(scope, receive, send_with_headers)
        else:
            await PlainTextResponse(refusal + "\n", 403)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> str:
        host = request.headers.get("host", "")
        if not self._access.allows_host(host):
            return "this page is not served under that host name"
        token = request.url.path.split("/")[1]
        if not secrets.compare_digest(token.encode(), self._access.token.encode()):
            return "open the address that was printed when the page was started: it ends with a secret"
        origin = request.headers.get("origin")
        own_origin = f"http://{host}"
        if origin not in (None, own_origin) or (request.method == "POST" and origin is None):
            return "only the page itself may ask for this"
        is_page = request.url.path == f"/{self._access.token}/"
        if not is_page and request.headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            return "only the page itself may ask for this"
        return ""


class Page:
    """The routes, with the viewers that look at present."""

    def __init__(self, source: Source, act: Act, access: Access) -> None:
        self.sampler = Sampler(source, self._changed)
        self._act = act
        self._access = access
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bells: set[asyncio.Event] = set()
        self.closing = False
        routes = [Route(f"/{access.token}/{name}", self._file) for name in FILES]
        routes.append(Route(f"/{access.token}/feed", self._feed))
        routes.append(Route(f"/{access.token}/order", self._order, methods=["POST"]))
        self.app = Guard(Starlette(routes=routes), access)

    def _changed(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()

    async def _file(self, request: Request) -> Response:
        path = FILES[request.url.path.rpartition("/")[2]]
        return Response(await run_in_threadpool(path.read_bytes), media_type=KINDS[path.suffix])

    async def _feed(self, _request: Request) -> Response:
        self._loop = asyncio.get_running_loop()
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[bytes]:
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            with self.sampler.viewer() as place:
                yield _event("hello", {"menu": menu(), "read_only": self._access.read_only})
                while not self.closing:
                    news = self.sampler.news(place)
                    yield _event("news", news) if news else b": still here\n\n"
                    try:
                        await asyncio.wait_for(bell.wait(), QUIET_SECONDS)
                    except TimeoutError:
                        continue
                    bell.clear()
        finally:
            self._bells.discard(bell)

    async def _order(self, request: Request) -> Response:
        if self._access.read_only:
            return JSONResponse({"error": "this page was started with --read-only"}, 403)
        if request.headers.get("content-type", "") != "application/json":
            return JSONResponse({"error": "an order is JSON"}, 415)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > ORDER_BYTES_MAX:
                return JSONResponse({"error": "an order is short"}, 413)
        try:
            order = msgspec.json.decode(body, type=Order)
        except (msgspec.DecodeError, RecursionError) as error:
            return JSONResponse({"error": f"this is no order: {error}"}, 400)
        try:
            command, lines = await run_in_threadpool(self._act, order)
        except VerbFailed as failure:
            return JSONResponse({"error": str(failure)}, 409)
        return JSONResponse({"command": command, "lines": lines})


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


class Server:
    """The page on a socket that is bound already; `url` holds the secret."""

    def __init__(self, address: Address, source: Source, act: Act, *, read_only: bool) -> None:
        self._listener = address.listener
        self.url = address.url
        self.page = Page(source, act, Access(address.token, address.hosts, read_only))
        config = uvicorn.Config(
            self.page.app, http="h11", ws="none", lifespan="off", log_config=None, log_level="critical",
            access_log=False, server_header=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = _Uvicorn(config, self.page)

    def run(self, on_started: Callable[[], object] | None = None) -> None:
        """Serve until Ctrl-C or SIGTERM, or until `close`; `on_started` is called once it does."""
        self._server.on_started = on_started
        self._server.run(sockets=[self._listener])

    def start(self) -> None:
        """Serve on a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no longer; of a server that was started on a thread."""
        self._server.should_exit = True
        self.page.closing = True
        self._thread.join(5.0)
        self._listener.close()


class _Uvicorn(uvicorn.Server):
    """Ends the streams first, for which it would wait otherwise."""

    def __init__(self, config: uvicorn.Config, page: Page) -> None:
        super().__init__(config)
        self._page = page
        self.on_started: Callable[[], object] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when the loop runs."""
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when the end was asked for."""
        self._page.closing = True
        await super().shutdown(sockets)
